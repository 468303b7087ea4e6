"""One function for each built-in operator: its options are keyword arguments with plain values and names of files.

Each module holds the builders of one family. A builder takes the image's shape, then the options. If the image's shape
is not that of the measurement, a second function returns it. A third one returns the options that the shape of the
measurement determines.
"""

from __future__ import annotations

from ...unknowns import Unknown
from .base import Builder, Shape, square_shape
from .blurs import blur, blurred_shape, downsample, enlarged_shape, nonlinear_blur, space_varying_blur
from .compression import jpeg
from .fourier import mri, phase_retrieval, real_image, unpadded_shape
from .pixels import colour_image, demosaic, grayscale, identity, inpainting
from .tomography import fan_beam, sinogram_options, tomography

__all__ = ["BUILDERS", "Builder", "Shape"]

_BLURS = {
    "sigma": Unknown(0.3, 8.0, "log_uniform"),
    "length": Unknown(2.0, 40.0),
    "angle": Unknown(0.0, 180.0, periodic=True),
    "intensity": Unknown(0.0, 1.0),
    "radius": Unknown(0.7, 12.0, "log_uniform"),
    "fwhm": Unknown(0.7, 18.0, "log_uniform"),
    "beta": Unknown(1.2, 8.0, "log_uniform"),
}
_OFFSET = {"detector_offset": Unknown(-5.0, 5.0)}

BUILDERS: dict[str, Builder] = {
    "identity": Builder(identity),
    "inpainting": Builder(inpainting),
    "blur": Builder(blur, blurred_shape, ranges=_BLURS),
    "downsample": Builder(downsample, enlarged_shape),
    "tomography": Builder(tomography, square_shape, inferred=sinogram_options, ranges=_OFFSET),
    "fan_beam": Builder(fan_beam, square_shape, inferred=sinogram_options, ranges=_OFFSET),
    "grayscale": Builder(grayscale, colour_image),
    "demosaic": Builder(demosaic, colour_image),
    "phase_retrieval": Builder(phase_retrieval, unpadded_shape),
    "mri": Builder(mri, real_image),
    "space_varying_blur": Builder(space_varying_blur),
    "nonlinear_blur": Builder(nonlinear_blur, ranges={**_BLURS, "gamma": Unknown(1.0, 3.0)}),
    "jpeg": Builder(jpeg),
}
