"""The intervals of a reconstruction: calibrated, if a calibration holds for its setting."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...calibration import Calibration, Setting, describe_setting, embedded
from ...images.parts import split_part
from ...priors.base import Prior
from ...problem import Problem
from ...reconstruction import Reconstruction, share_inside
from ...solvers import Solver
from ...specs import Spec, canonical, parse_operator, parse_spec
from ...units import Units
from .found_noise import is_found
from .sinograms import read_angles

LEVEL = 0.9


@dataclass(frozen=True)
class Interval:
    """Lower and upper ends, and what is known of them.

    Attributes:
        lower: `(B, C, H, W)`.
        upper: `(B, C, H, W)`.
        level: fraction of the pixels that should lie inside.
        statement: what is guaranteed, or that nothing is.
        calibration: the calibration; `None` for the solver's own intervals.
    """

    lower: Tensor
    upper: Tensor
    level: float
    statement: str
    calibration: Calibration | None = None

    @property
    def half_width(self) -> Tensor:
        """Half the distance of the ends, `(B, C, H, W)`."""
        return (self.upper - self.lower) / 2

    def coverage(self, truth: Tensor) -> Tensor:
        """Return the fraction of pixels whose true value lies inside, `(B,)`."""
        return share_inside(truth, self.lower, self.upper)

    def record(self) -> dict[str, Any]:
        """Return the entry of `result.json`."""
        return {
            "level": self.level,
            "calibrated": self.calibration is not None,
            "factor": 1.0 if self.calibration is None else self.calibration.factor,
            "mean_half_width": float(self.half_width.mean()),
            "statement": self.statement,
        }


def setting_of(
    operator: str, mask: Path | None, noise: str, problem: Problem, prior_name: str, prior: Prior, solver: Solver,
    samples: int, grow: int = 0, invert: bool = False, geometry: Mapping[str, object] | None = None,
    units: Units | None = None,
) -> Setting:  # fmt: skip
    """Return what a calibration must have in common with a reconstruction; see `describe_setting`.

    Args:
        operator: as `NAME:key=value,...`; the setting has it in one notation, so other names and orders do not count.
        mask: file of a mask, whose content is part of the setting.
        noise: as on the command line.
        problem: the problem.
        prior_name: name of the prior.
        prior: the prior.
        solver: the solver.
        samples: number of samples.
        grow: pixels by which the missing regions of the mask were enlarged.
        invert: whether bright pixels of the mask are the missing ones.
        geometry: options of the operator that stand in options of the command, as the angles of `--angles`.
        units: in which the problem was stated. Gaussian noise and the measurement are converted from them, so they
            count only for other noise, which keeps them.
    """
    spec = parse_operator(operator)
    options = {k: _content(k, v) for k, v in {**spec.options, **(geometry or {})}.items()}
    if mask is not None:
        options |= {"mask": _digest(mask)} | ({"mask_grow": grow} if grow else {})
        options |= {"mask_invert": True} if invert else {}
    if units is not None and not problem.noise.is_gaussian:
        options["unit"] = units.slope
    if noise and not is_found(noise):
        law = parse_spec(noise)
        if any(isinstance(v, str) for v in law.options.values()):
            noise = canonical(Spec(law.name, {k: _content(k, v) for k, v in law.options.items()}))
    made = canonical(Spec(spec.name, options))
    return describe_setting(made, noise, problem, prior_name, prior, solver, samples)


def _content(key: str, value: object) -> object:
    """Return an option's value as it counts: a file by its content, a list of angles by its values."""
    if key == "angles" and isinstance(value, str):
        value = read_angles(value)
    if key == "angles" and isinstance(value, list | tuple):
        listed = ",".join(f"{float(v):.9g}" for v in value)
        return f"{len(value)}-{hashlib.sha256(listed.encode()).hexdigest()[:12]}"
    if isinstance(value, str) and (file := split_part(value)[0]).suffix and file.exists():
        return _digest(Path(value))
    return value


def _digest(mask: Path) -> str:
    """Return a hash of the content of a file, or of the files of a folder, and of the chosen part."""
    file, part = split_part(mask)
    files = sorted(f for f in file.rglob("*") if f.is_file()) if file.is_dir() else [file]
    content = b"".join(f.read_bytes() for f in files) + part.encode()
    return hashlib.sha256(content).hexdigest()[:12]


def find_interval(result: Reconstruction, setting: Setting, calibration: Calibration | None) -> Interval | None:
    """Return the interval of a result; `None` for a single sample or estimate.

    Args:
        result: with samples.
        setting: of the result.
        calibration: one that holds for the setting; by default an embedded one, if one holds.
    """
    if result.samples.shape[1] < 2 or not bool(result.std.any()):
        return None
    holding = (c for c in embedded() if c.setting is not None and not c.setting.differences(setting))
    found = next(holding, None) if calibration is None else calibration
    if found is None:
        statement = "not calibrated: the solver's own intervals, without a guarantee (see invdiff calibrate)"
        return Interval(*result.interval(LEVEL), LEVEL, statement)
    return Interval(*found.interval(result), found.level, found.statement, found)
