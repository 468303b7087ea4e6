"""Evaluating the rows of a benchmark: leaderboards with intervals, tables for other programs, pages."""
