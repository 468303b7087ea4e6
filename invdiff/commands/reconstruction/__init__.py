"""The parts of `invdiff reconstruct`: the request, the inputs, the run, and the results."""
