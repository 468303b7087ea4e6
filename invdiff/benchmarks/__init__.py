"""Tables that compare: solvers with exact posteriors, priors with denoisers, operators with other libraries."""
