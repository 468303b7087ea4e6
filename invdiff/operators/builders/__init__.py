"""One function for each built-in operator: its options are keyword arguments with plain values and names of files.

Each module holds the builders of one family. A builder takes the image's shape, then the options. If the image's shape
is not that of the measurement, a second function returns it. A third one returns the options that the shape of the
measurement determines.
"""

from __future__ import annotations

from .base import Builder, Shape, square_shape
from .blurs import blur, blurred_shape, downsample, enlarged_shape, nonlinear_blur, space_varying_blur
from .compression import jpeg
from .fourier import mri, phase_retrieval, real_image, unpadded_shape
from .pixels import colour_image, demosaic, grayscale, identity, inpainting
from .tomography import fan_beam, sinogram_options, tomography

__all__ = ["BUILDERS", "Builder", "Shape"]

BUILDERS: dict[str, Builder] = {
    "identity": Builder(identity),
    "inpainting": Builder(inpainting),
    "blur": Builder(blur, blurred_shape),
    "downsample": Builder(downsample, enlarged_shape),
    "tomography": Builder(tomography, square_shape, inferred=sinogram_options),
    "fan_beam": Builder(fan_beam, square_shape, inferred=sinogram_options),
    "grayscale": Builder(grayscale, colour_image),
    "demosaic": Builder(demosaic, colour_image),
    "phase_retrieval": Builder(phase_retrieval, unpadded_shape),
    "mri": Builder(mri, real_image),
    "space_varying_blur": Builder(space_varying_blur),
    "nonlinear_blur": Builder(nonlinear_blur),
    "jpeg": Builder(jpeg),
}
