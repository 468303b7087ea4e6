"""Images from files and back, in [0, 1]; one module a family of formats."""

from .arrays import ARRAYS
from .content import Content, Format, Kept, formats
from .conversions import Ask, check_finite
from .loading import Loaded, Mode, load_array, load_image, load_image_and_mask, load_mask, open_image
from .masks import grow_mask
from .saving import save_image, write_picture
from .squares import middle_square

__all__ = [
    "ARRAYS",
    "Ask",
    "Content",
    "Format",
    "Kept",
    "Loaded",
    "Mode",
    "check_finite",
    "formats",
    "grow_mask",
    "load_array",
    "load_image",
    "load_image_and_mask",
    "load_mask",
    "middle_square",
    "open_image",
    "save_image",
    "write_picture",
]
