"""Operators made of operators: sums, products and stacks, functions, separable maps."""
