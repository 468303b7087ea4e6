"""Training: data, objective, optimiser, the loop, recipes."""
