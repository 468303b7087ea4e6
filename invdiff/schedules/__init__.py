"""Noise levels, and the diffusions that define them.

- `levels`: spacings of a sampler's levels: geometric, Karras, uniform in the time of the variance-preserving SDE.
- `diffusions`: the VP, sub-VP, VE and EDM diffusions in closed form, and their variance-exploding coordinates.
- `chains`: DDPM's discrete chain, with linear and cosine rates.
"""

from .chains import Chain, cosine_betas, linear_betas
from .diffusions import EDM, VE, VP, Diffusion, SubVP
from .levels import SPACINGS, Spacing, alpha_levels, geometric_levels, karras_levels, scaled_levels, vp_levels

__all__ = [
    "EDM",
    "SPACINGS",
    "VE",
    "VP",
    "Chain",
    "Diffusion",
    "Spacing",
    "SubVP",
    "alpha_levels",
    "cosine_betas",
    "geometric_levels",
    "karras_levels",
    "linear_betas",
    "scaled_levels",
    "vp_levels",
]
