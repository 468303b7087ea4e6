"""Priors over images, each given by its denoiser `E[x_0 | x_sigma = x]`; `load_prior` finds them by name or path."""

from .adapters import from_deepinv, from_denoiser, from_epsilon, from_score, from_velocity
from .base import Prior, expand_sigma
from .gaussian import ColourSpectrum, GaussianPrior, PowerLaw, StationaryGaussianPrior
from .gray import GrayPrior
from .loading import load_prior, photograph_gaussian
from .mixture import MixturePrior
from .network import NetworkPrior

__all__ = [
    "ColourSpectrum",
    "GaussianPrior",
    "GrayPrior",
    "MixturePrior",
    "NetworkPrior",
    "PowerLaw",
    "Prior",
    "StationaryGaussianPrior",
    "expand_sigma",
    "from_deepinv",
    "from_denoiser",
    "from_epsilon",
    "from_score",
    "from_velocity",
    "load_prior",
    "photograph_gaussian",
]
