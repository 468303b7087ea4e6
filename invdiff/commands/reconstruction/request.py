"""The request of `invdiff reconstruct`, with the checks that do not need torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...checks import number
from ...errors import UserError
from ...registry import is_weights, operators, priors, solvers
from ...specs import Spec, parse_spec
from ..checks import check_at_least, check_exists, check_name, check_out
from .noises import check_noise


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
    seed: int = 0
    simulate: bool = False
    mask: Path | None = None
    mask_invert: bool = False
    missing_color: str | None = None
    missing_tolerance: int = 0
    angles: str | None = None
    pixel_size: float | None = None
    measurement_scale: float = 1.0
    device: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    overwrite: bool = False
    command: str = ""

    def check(self) -> None:
        """Raise a ValueError or OSError for invalid options, before a heavy import."""
        check_exists(self.image)
        check_name(operators, self.operator.name)
        if self.solver is not None:
            check_name(solvers, self.solver.name)
        if self.prior is not None and not is_weights(self.prior):
            check_name(priors, parse_spec(self.prior).name)
        if self.noise is None:
            raise UserError(
                "--noise: expected the noise's standard deviation in the measurement's units (images are in [0, 1]), "
                "got none; give a number such as 0.025, or --noise auto to estimate it"
            )
        check_noise(self.noise)
        check_at_least("--samples", self.samples, 1)
        check_at_least("--seed", self.seed, 0)
        check_at_least("--threads", self.threads, 1)
        check_at_least("--batch-size", self.batch_size, 1)
        number("--measurement-scale", self.measurement_scale, positive=True)

        if self.simulate:
            if self.noise == "auto":
                raise UserError("--noise auto: estimates the noise of a measurement; with --simulate give a number")
            if self.measurement_scale != 1:
                raise UserError("--measurement-scale: goes with a measurement, got --simulate; leave it out")
            if self.missing_color is not None:
                raise UserError("--missing-color: marks pixels of a measurement, got --simulate; use --mask instead")
        self._check_goes_with()
        check_out(self.out, overwrite=self.overwrite)

    def _check_goes_with(self) -> None:
        """Raise for an option of another kind of operator, instead of ignoring it."""
        belong = {
            "inpainting": {
                "--mask": self.mask is not None,
                "--mask-invert": self.mask_invert,
                "--missing-color": self.missing_color is not None,
                "--missing-tolerance": self.missing_tolerance != 0,
            },
            "tomography": {"--angles": self.angles is not None, "--pixel-size": self.pixel_size is not None},
        }
        for kind, options in belong.items():
            for option, on in options.items():
                if on and not self._is(kind):
                    raise UserError(
                        f"{option}: goes with --operator {kind}, got --operator {self.operator.name}; leave it out"
                    )
        if self.mask is None and self.mask_invert:
            raise UserError("--mask-invert: goes with --mask, got none; add --mask or leave it out")
        if self.missing_color is None and self.missing_tolerance != 0:
            raise UserError("--missing-tolerance: goes with --missing-color, got none; add --missing-color")
        if self.mask is not None:
            check_exists(self.mask)
        if self.pixel_size is not None:
            number("--pixel-size", self.pixel_size, positive=True)

    def _is(self, kind: str) -> bool:
        """Return whether the operator is of the kind of a built-in one, by its own facts."""
        facts = operators.facts(self.operator.name)
        return facts.takes_mask if kind == "inpainting" else facts.sinogram
