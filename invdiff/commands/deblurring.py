"""`invdiff deblur`: from a blurred photograph to its kernel and samples of the sharp image, in files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..deblurring import KernelEstimate, deblurred, estimate_with_spread
from ..deblurring.regions import SIDE, gray_light, guessed_size, textured_regions
from ..deblurring.solve import TOLERANCE, blur_problem
from ..figures import Panel, comparison
from ..images import Kept, open_image, save_image, write_picture
from ..interface import default_prior
from ..noise import measure_noise
from ..priors import load_prior
from ..problem import Problem
from ..reconstruction import Reconstruction
from ..specs import Spec
from . import terminal
from .devices import select_device
from .endings import DIVERGED
from .reconstruction.answer import Answer
from .reconstruction.channels import prior_for
from .reconstruction.panels import panels
from .reconstruction.results import digest_of, environment, fields, staged, write_arrays, write_json
from .reconstruction.run import build_solver

DOUBT = 0.7
"""Agreement of the estimates below which the kernel is called uncertain."""

POINT = 0.5
"""Concentration of a kernel above which it is called no blur."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `invdiff deblur`; see its help. `noise` is `None` to estimate it."""

    image: Path
    out: Path
    size: int | None
    gamma: float
    regions: int
    noise: float | None
    solver: Spec
    prior: str | None
    samples: int
    seed: int
    device: str
    threads: int | None
    batch_size: int | None
    command: str


def run(request: Request) -> int:
    """Run the request and return the exit code: 0, also for a misfit, or 3 if the solver diverged."""
    started = datetime.now(UTC)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    device = select_device(request.device)
    solver = build_solver(request.solver)
    loaded = open_image(request.image)
    y = loaded.image.float()
    name = request.prior or default_prior(tuple(y.shape[1:]))
    prior, name = prior_for(y.shape[1], load_prior(name), name)
    std = measure_noise(y).recommended if request.noise is None else request.noise
    *_, h, w = y.shape
    terminal.facts(
        [
            ("image", f"{request.image.name}, {w} x {h}"),
            ("noise", f"{std:.3g}" + (", estimated from the image" if request.noise is None else "")),
            ("light", f"value^{request.gamma:g}"),
            ("prior", name),
            *(("note", note) for note in loaded.notes),
        ]
    )
    estimate = find_kernel(request, y)
    size = estimate.kernel.shape[-1]
    terminal.line(
        f"Kernel: {size} x {size} pixels, {len(estimate.members) - 1} further estimates with a mean similarity of "
        f"{estimate.agreement:.2f}."
    )
    for note in notes(estimate):
        terminal.warning(note)

    def solve(problem: Problem, count: int, member: int) -> Reconstruction:
        return solver(
            problem.to(device), prior.to(device), samples=count, seed=request.seed + member,
            batch_size=request.batch_size, progress=True,
        )  # fmt: skip

    result = deblurred(y, estimate, std, solve, samples=request.samples)
    answer = Answer(blur_problem(y, estimate.kernel, TOLERANCE * std), solver, result)
    write(request, answer, estimate, record(request, answer, estimate, std, name, started, device), loaded.kept)
    terminal.line(f"{result.seconds:.1f} s, {result.nfe} network evaluations for each sample.")
    terminal.line(f"Figure: {request.out / 'comparison.png'}")
    terminal.line(f"The kernel again: --operator blur:kernel={request.out / 'kernel.npy'}")
    if result.status == "misfit":
        terminal.warning(f"{result.status}: {result.message}")
    elif result.status != "ok":
        terminal.error(f"{result.status}: {result.message}")
    return DIVERGED if result.status == "diverged" else 0


def find_kernel(request: Request, y: Tensor) -> KernelEstimate:
    """Return the kernel from the parts with the most texture, in light; its values are not clipped there."""
    light = gray_light(y, request.gamma)
    level = measure_noise(light[None, None]).recommended if request.noise is None else _in_light(request, y)
    size = request.size or guessed_size(light, level)
    parts = textured_regions(light, max(SIDE, 4 * size), request.regions)
    return estimate_with_spread(parts, size, level, load_prior("photo-gray"), seed=request.seed)


def _in_light(request: Request, y: Tensor) -> float:
    """Return the noise of the luma in light, from that of the values: times the mean slope of the curve."""
    assert request.noise is not None
    slope = request.gamma * float(gray_light(y, 1.0).clamp(0, 1).pow(2 * request.gamma - 2).mean().sqrt())
    return request.noise * slope * (1.0 if y.shape[1] == 1 else 0.67)  # 0.67: the norm of the luma's weights


def notes(estimate: KernelEstimate) -> list[str]:
    """Return what is doubtful about a kernel."""
    out = []
    if estimate.concentration > POINT:
        out.append("the kernel is nearly one pixel: the photograph has no blur that shows, or it was not found")
    if estimate.agreement < DOUBT:
        out.append(
            f"estimates from parts of the data differ (similarity {estimate.agreement:.2f}): the kernel is uncertain; "
            "state --size, or try more --regions"
        )
    return out


def record(
    request: Request, answer: Answer, estimate: KernelEstimate, std: float, prior: str, started: datetime,
    device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of `result.json`."""
    result = answer.result
    return {
        "status": result.status,
        "message": result.message,
        "command": request.command,
        "started": started.isoformat(timespec="seconds"),
        "image": {
            "path": str(request.image),
            "sha256": digest_of(request.image),
            "shape": list(answer.problem.measurement.shape[1:]),
        },
        "parameters": {"kernel": {"mean": estimate.kernel.tolist(), "std": estimate.std.tolist()}},
        "kernel": {
            "size": estimate.kernel.shape[-1],
            "estimates": len(estimate.members),
            "agreement": estimate.agreement,
            "concentration": estimate.concentration,
            "notes": notes(estimate),
        },
        "gamma": request.gamma,
        "noise": {"name": "Gaussian", "std": std, "estimated": request.noise is None},
        "prior": prior,
        "solver": {"name": request.solver.name, "options": fields(answer.solver), "method": result.method},
        "samples": request.samples,
        "seed": request.seed,
        "nfe_per_sample": result.nfe,
        "vjps_per_sample": result.vjps,
        "seconds": round(result.seconds, 3),
        **environment(device),
    }


def write(
    request: Request, answer: Answer, estimate: KernelEstimate, record: dict[str, Any], kept: Kept | None
) -> None:
    """Write all files atomically."""
    shown = panels(answer)
    kernel, std = estimate.kernel, estimate.std
    shown[1:1] = [Panel("kernel", kernel, f"{kernel.shape[-1]} pixels", white=float(kernel.max()))]
    shown.append(Panel("kernel std", std, white=float(kernel.max())))
    rows = [shown[i : i + 4] for i in range(0, min(len(shown), 8), 4)]
    subtitle = f"{answer.problem.noise}   gamma {request.gamma:g}   {answer.result.nfe} evaluations per sample"
    with staged(request.out) as folder:
        white = write_arrays(folder, answer.problem, answer.result, kept=kept)
        for name, k in (("kernel", kernel), ("kernel_std", std)):
            white[f"{name}.png"] = float(k.max())
            big = (k / (float(k.max()) or 1.0)).repeat_interleave(8, 0).repeat_interleave(8, 1)
            save_image(big[None], folder / f"{name}.png")
        np.save(folder / "kernel.npy", kernel.numpy())
        write_picture(comparison(rows, title="invdiff deblur", subtitle=subtitle), folder / "comparison.png")
        write_json(folder, {**record, "white_level": white})
