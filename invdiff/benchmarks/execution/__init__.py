"""Running a benchmark: the rows that it writes, where they are kept, and the processes that share the work."""
