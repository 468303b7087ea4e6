"""Searching the parameters of a solver on a task."""
