"""`invdiff check`: checks of the contract of an operator or a prior, with remedies."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from ..memory import check_fits
from ..registry import unknown
from ..specs import parse_spec
from . import terminal
from .arguments import Device, Seed, Threads, text

if TYPE_CHECKING:
    import torch

    from ..priors import Prior
    from ..testing.prior import PriorReport
    from ..testing.prior_images import CleanImages

FAILED = 1
KINDS = ("operator", "prior")
FIGURE, SHEET, RECORD = "check.png", "samples.png", "check.json"


def check(
    kind: Annotated[str, typer.Argument(help="Kind of object: operator or prior.")],
    spec: Annotated[str, typer.Argument(help="NAME:key=value,... or path/to/file.py:Class; for a prior also weights.")],
    shape: Annotated[
        tuple[int, int, int] | None, text("Shape C H W of the images for the check; by default one that fits.")
    ] = None,
    seed: Seed = 0,
    images: Annotated[Path | None, text("For a prior: folder of clean images of the kind of its training.")] = None,
    out: Annotated[Path | None, text("For a prior: folder for the figure, the record and the samples.")] = None,
    samples: Annotated[int, text("For a prior: number of samples to draw and check, too.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Check an operator or a prior: a line for each property, the likely fault, and its remedy.

    Exit code 1 if a check failed.

    Example: invdiff check prior photo --out checked
    """
    return run(
        CheckRequest(
            kind=kind, spec=spec, shape=shape, seed=seed, images=images, out=out, samples=samples, device=device,
            threads=threads,
        )
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """The options of `invdiff check`; see its help."""

    kind: str
    spec: str
    shape: tuple[int, int, int] | None = None
    seed: int = 0
    images: Path | None = None
    out: Path | None = None
    samples: int = 0
    device: str = "auto"
    threads: int | None = None

    def check(self) -> None:
        """Raise a ValueError or OSError for invalid options, before a heavy import."""
        from .checks import check_at_least, check_out

        if self.kind not in KINDS:
            hint = "; solvers are graded: invdiff grade" if self.kind.startswith("solver") else ""
            raise UserError(unknown("kind of thing to check", self.kind, KINDS) + hint)
        for option, given in (("--images", self.images), ("--out", self.out), ("--samples", self.samples or None)):
            if self.kind != "prior" and given is not None:
                raise UserError(f"{option}: goes with check prior, got check {self.kind}; leave it out")
        check_at_least("--seed", self.seed, 0)
        check_at_least("--samples", self.samples, 0)
        check_at_least("--threads", self.threads, 1)
        if self.shape is not None and min(self.shape) < 1:
            raise UserError(f"--shape: expected three positive integers C H W, got {' '.join(map(str, self.shape))}")
        if self.shape is not None:
            check_fits("--shape", self.shape, "choose a smaller one")
        if self.out is not None:
            check_out(self.out, overwrite=True)


def run(request: CheckRequest) -> int:
    """Print the result of the checks, and return the exit code: 0 if every check passed, else 1.

    Raises:
        ValueError: an unknown name, option or value.
        TypeError: the object of that name makes no operator.
    """
    request.check()
    if request.threads is not None:
        import torch

        torch.set_num_threads(request.threads)
    return _check_operator(request) if request.kind == "operator" else _check_prior(request)


def _check_operator(request: CheckRequest) -> int:
    from ..operators.builders.factory import make_operator
    from ..testing.operator import check_operator

    spec = parse_spec(request.spec)
    shape = request.shape or (3, 16, 17)
    operator = make_operator(spec.name, shape, spec.options, seed=request.seed)
    report = check_operator(operator, seed=request.seed)
    for line in str(report).splitlines():
        terminal.line(line)
    for note in operator.notes:
        terminal.line(f"Note: {note}")
    return 0 if report.ok else FAILED


def _check_prior(request: CheckRequest) -> int:
    import torch

    from ..priors import load_prior
    from ..testing.prior import check_prior
    from ..testing.prior_contract import check_attributes
    from .devices import select_device

    device = select_device(request.device)
    prior = load_prior(request.spec)
    if check_attributes(prior).ok:
        prior = prior.to(device)
        clean = _images(request, prior, device)
        drawn = _draw(request, prior, str(device)) if request.samples else None
        terminal.progress_line(f"Checked with {clean.origin}, {' x '.join(map(str, clean.x.shape[1:]))}.")
        report = check_prior(prior, clean.to(device), seed=request.seed, samples=drawn)
    else:  # without them nothing can be drawn or measured; the report names the missing ones
        report, drawn = check_prior(prior, torch.empty(0)), None
    report = dataclasses.replace(report, subject=f"prior {request.spec}")
    _print(report)
    if request.out is not None:
        _write(request, report, drawn)
    return 0 if report.ok else FAILED


def _images(request: CheckRequest, prior: Prior, device: torch.device) -> CleanImages:
    from ..testing.prior_images import default_images, folder_images

    if request.images is not None:
        return folder_images(request.images, prior, request.shape)
    return default_images(prior, request.shape, seed=request.seed, device=device)


def _draw(request: CheckRequest, prior: Prior, device: str) -> torch.Tensor:
    """Return samples of the prior's reverse diffusion; those that diverge keep their last finite state."""
    from ..samplers import Heun
    from ..testing.prior_images import image_shape

    shape = image_shape(prior, request.shape)
    check_fits("--samples", (request.samples, *shape), "ask for fewer")
    return Heun(steps=18)(prior, request.samples, shape=shape, seed=request.seed, device=device).samples


def _print(report: PriorReport) -> None:
    """Print a line for each check, the table of the noise levels, and the verdict."""
    for line in str(report).splitlines()[:-1]:
        terminal.line(line)
    if report.readings:
        rows = [("sigma", "error", "expected", "told best", "+-", "gain dB")]
        for r in report.readings:
            expected = "-" if math.isnan(r.expected) else f"{r.expected:.3g}"
            rows.append(
                (
                    f"{r.sigma:.3g}",
                    f"{r.error:.3g}",
                    expected,
                    f"x {r.best_ratio:.3f}",
                    f"{r.uncertainty:.3f}",
                    f"{r.gain:.2f}",
                )
            )
        terminal.line("")
        terminal.table(rows)
        terminal.line("")
    terminal.line(f"Verdict: {report.verdict}")


def _write(request: CheckRequest, report: PriorReport, drawn: torch.Tensor | None) -> None:
    """Write the record, the figure and the sheet of samples into the folder, each atomically."""
    from ..atomic import atomic_path
    from ..figures import write_sheet
    from ..images import write_picture
    from ..testing.prior_figure import draw

    assert request.out is not None
    request.out.mkdir(parents=True, exist_ok=True)
    with atomic_path(request.out / RECORD) as temporary:
        temporary.write_text(json.dumps(_record(request, report), indent=2) + "\n", encoding="utf-8")
    written = [RECORD]
    if report.readings:
        write_picture(draw(report), request.out / FIGURE)
        written.append(FIGURE)
    if drawn is not None and drawn.shape[1] in (1, 3):
        write_sheet(drawn.nan_to_num(0.0), request.out / SHEET)
        written.append(SHEET)
    terminal.line(f"Written to {request.out}: {', '.join(written)}")


def _record(request: CheckRequest, report: PriorReport) -> dict[str, object]:
    """Return all measured values, for JSON."""
    keys = ("sigma", "error", "expected", "best_ratio", "uncertainty", "gain")
    figures = [{k: v if math.isfinite(v := getattr(r, k)) else None for k in keys} for r in report.readings]
    return {
        "prior": request.spec,
        "ok": report.ok,
        "verdict": report.verdict,
        "images": report.images.origin,
        "shape": list(report.images.x.shape),
        "seed": request.seed,
        "checks": [dataclasses.asdict(c) for c in report.checks],
        "levels": figures,
    }
