"""The choice of solvers for a problem, by a measured table: `choices.json`, which a study writes."""
