"""Adapters between our operators and the physics of deepinv, both ways."""
