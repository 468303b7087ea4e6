"""The programs that make the tables of docs/: python -m invdiff.benchmarks.studies NAME."""
