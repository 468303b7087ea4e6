"""The programs that write the tables of docs/: `python -m invdiff.benchmarks.studies NAME`."""
