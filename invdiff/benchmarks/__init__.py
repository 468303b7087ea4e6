"""Benchmarks: tasks, suites, runs and reports that compare solvers, priors and operators with references."""
