"""Solvers of other libraries, as rows of the benchmark."""
