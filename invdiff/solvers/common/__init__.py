"""Arithmetic and bookkeeping that several papers share."""
