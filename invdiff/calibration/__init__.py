"""Intervals that hold the truth as often as they say: calibrations, what they hold for, and the bound behind them."""

from .bounds import images_needed, upper_bound
from .entrywise import Widening
from .intervals import Calibration, embedded
from .misses import Misses, half_width, misses
from .settings import Setting, describe_setting

__all__ = [
    "Calibration",
    "Misses",
    "Setting",
    "Widening",
    "describe_setting",
    "embedded",
    "half_width",
    "images_needed",
    "misses",
    "upper_bound",
]
