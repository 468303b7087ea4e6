"""The request of `invdiff reconstruct`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...specs import Spec


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `invdiff reconstruct`; see its help."""

    image: Path
    operator: Spec
    solver: Spec | None = None
    prior: str | None = None
    out: Path
    noise: str | None = None
    samples: int = 4
    goal: str = "samples"
    effort: str = "normal"
    calibration: Path | None = None
    seed: int = 0
    simulate: bool = False
    mask: Path | None = None
    mask_invert: bool = False
    mask_grow: int = 0
    missing_color: str | None = None
    missing_tolerance: int = 0
    angles: str | None = None
    pixel_size: float | None = None
    convention: str | None = None
    transpose: bool = False
    units: str | None = None
    measurement_scale: float = 1.0
    gray: bool = False
    white_level: float | None = None
    black_level: float = 0.0
    device: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    memory: str | None = None
    workers: int = 1
    scheduler: str | None = None
    export: str = "npz"
    overwrite: bool = False
    command: str = ""

    @property
    def is_local(self) -> bool:
        """Whether this process solves, and no workers do."""
        return self.scheduler is None and self.workers == 1
