"""Running a benchmark: cells and rows, the store, and the processes that share the work."""
