"""Priors from other libraries: their functions (`functions`), files (`recognition`) and objects."""

from .deepinv_models import from_deepinv
from .functions import from_denoiser, from_epsilon, from_score, from_velocity

__all__ = ["from_deepinv", "from_denoiser", "from_epsilon", "from_score", "from_velocity"]
