"""Noise models: the distribution of a recorded measurement given the clean one, `A(x)`.

- `base`: the contract, and Gaussian noise with one standard deviation for each entry.
- `gaussian`: white Gaussian noise.
- `photons`: Poisson and Poisson-Gaussian noise of cameras, transmission noise of X-rays.
- `quantized`: quantisation to the levels of a file or a converter.
- `stacked`: several measurements, each with its own noise.
- `family`: noise with unknown parameters.
- `estimate`: the noise in a measurement: its level, its spectrum, and whether it is white, from `blocks`.
- `fits`: photon and read noise in a measurement; `stripes`: the noise of each of its columns or rows.

Levels are in the units of the measurement. A published "sigma = 0.05" on [-1, 1] images is 0.025 here.
"""

from .base import GaussianMap, Independent, Noise
from .estimate import estimate_noise, measure_noise
from .family import NoiseFamily
from .fits import fit_photons
from .gaussian import Gaussian
from .photons import Poisson, PoissonGaussian, TransmissionPoisson
from .quantized import Quantized
from .stacked import StackedNoise
from .stripes import fit_columns

__all__ = [
    "Gaussian",
    "GaussianMap",
    "Independent",
    "Noise",
    "NoiseFamily",
    "Poisson",
    "PoissonGaussian",
    "Quantized",
    "StackedNoise",
    "TransmissionPoisson",
    "estimate_noise",
    "fit_columns",
    "fit_photons",
    "measure_noise",
]
