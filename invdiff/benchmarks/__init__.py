"""Benchmarks: tasks, suites, runs and reports that compare solvers, priors and operators with references."""

if __name__ != "invdiff.benchmarks":  # by the link of that name at the top of the repository
    raise ImportError("benchmarks: the folder here is a link into the package; import invdiff.benchmarks")
