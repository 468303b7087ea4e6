"""Arithmetic and bookkeeping that several solvers share."""
