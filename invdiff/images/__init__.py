"""Images from files and back, in [0, 1]; one module a family of formats."""

from .arrays import ARRAYS, load_array
from .conversions import check_finite
from .loading import Mode, load_image, load_image_and_mask, load_mask
from .saving import save_image, write_picture

__all__ = [
    "ARRAYS",
    "Mode",
    "check_finite",
    "load_array",
    "load_image",
    "load_image_and_mask",
    "load_mask",
    "save_image",
    "write_picture",
]
