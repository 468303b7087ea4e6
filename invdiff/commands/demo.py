"""`invdiff demo`: a photograph that comes with scikit-image, inpainted and deblurred."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..specs import Spec, parse_spec
from . import terminal
from .arguments import Device, Seed, Threads, text
from .checks import check_at_least, check_out

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..figures import Panel
    from .reconstruction.answer import Answer

NOISE = 0.025
SAMPLES = 4
TASKS = {"inpainting": "inpainting:random=0.7", "deblurring": "blur:sigma=2"}
SOLVERS = {"inpainting": Spec("auto", {"effort": "fast"}), "deblurring": Spec("auto", {"effort": "normal"})}
"""Under a minute on two cores; a fast sample of a blur is grainy."""


def demo(
    out: Annotated[Path, text("Folder for the results.")] = Path("invdiff-demo"),
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Inpaint and deblur a photograph, in under a minute and without a download."""
    check_at_least("--seed", seed, 0)
    check_at_least("--threads", threads, 1)
    check_out(out, overwrite=True)
    return run(out, seed=seed, device=device, threads=threads)


def photograph() -> Tensor:
    """Return a photograph of scikit-image's wheel, the head of Chelsea the cat, `(1, 3, 256, 256)`."""
    import torch
    from skimage.data import chelsea

    pixels = torch.from_numpy(chelsea()[20:276, 90:346].copy())
    return pixels.permute(2, 0, 1)[None].float() / 255


def run(out: Path, *, seed: int, device: str, threads: int | None) -> int:
    """Run both tasks, print the table, and return the exit code."""
    import torch

    from ..interface import DEFAULT_PRIOR
    from ..operators.builders.factory import make_operator
    from ..priors import load_prior
    from ..problem import simulate
    from .devices import select_device
    from .endings import DIVERGED
    from .reconstruction.intervals import setting_of
    from .reconstruction.run import build_solver, solve

    begin = time.perf_counter()
    if threads is not None:
        torch.set_num_threads(threads)
    place = select_device(device)
    truth = photograph().to(place)
    prior = load_prior(DEFAULT_PRIOR).to(place)
    answers: dict[str, Answer] = {}
    for task, words in TASKS.items():
        spec = parse_spec(words)
        operator = make_operator(spec.name, tuple(truth.shape[1:]), spec.options, seed=seed)
        problem = simulate(operator, truth.cpu(), NOISE, seed).to(place)
        solver = build_solver(SOLVERS[task])
        setting = setting_of(words, None, str(NOISE), problem, DEFAULT_PRIOR, prior, solver, SAMPLES)
        answers[task] = solve(problem, solver, prior, truth=truth, samples=SAMPLES, seed=seed, setting=setting)
    write(out, answers, seed, place)
    terminal.scores({task: a.metrics for task, a in answers.items()})
    failed = [f"{task}: {a.result.message}" for task, a in answers.items() if a.result.status == "diverged"]
    for task, answer in answers.items():
        if answer.result.status == "misfit":
            terminal.warning(f"{task}: misfit: {answer.result.message}")
    terminal.line(f"{time.perf_counter() - begin:.0f} s for {len(TASKS)} x {SAMPLES} samples of the posterior.")
    terminal.line(f"Figure: {out / 'comparison.png'}")
    terminal.line("Next, an image of your own, or this one:")
    measured = out / "deblurring_measurement.png"
    terminal.line(f"  invdiff reconstruct {measured} --operator {TASKS['deblurring']} --noise {NOISE} --out result")
    for message in failed:
        terminal.error(message)
    return DIVERGED if failed else 0


def write(out: Path, answers: dict[str, Answer], seed: int, device: torch.device) -> None:
    """Write the images, the figure and `result.json`, atomically."""
    from ..figures import comparison
    from ..images import save_image, write_picture
    from ..interface import DEFAULT_PRIOR
    from .reconstruction.panels import panels
    from .reconstruction.results import environment, fields, staged, std_white, write_json, write_measurement

    rows: list[list[Panel]] = []
    record: dict[str, object] = {}
    with staged(out) as folder:
        for task, answer in answers.items():
            shown = {p.title: p for p in panels(answer)}
            shown["measurement"] = dataclasses.replace(shown["measurement"], title=TASKS[task])
            sample = next(t for t in shown if t.startswith("sample"))
            width = next(t for t in shown if t.startswith("half-width"))
            rows.append([shown[n] for n in ("clean", "measurement", "posterior mean", sample, width)])
            mean, std = answer.result.mean[0], answer.result.std[0]
            save_image(mean, folder / f"{task}_mean.png")
            save_image(std / (std_white(std) or 1.0), folder / f"{task}_std.png")
            write_measurement(answer.problem.measurement[0], answer.problem, folder / f"{task}_measurement.png")
            record[task] = {
                "operator": TASKS[task],
                "status": answer.result.status,
                "message": answer.result.message,
                "metrics": answer.metrics,
                "nfe_per_sample": answer.result.nfe,
                "seconds": round(answer.result.seconds, 3),
                "std_white": std_white(std),
                "method": answer.result.method,
                "solver": {
                    "name": SOLVERS[task].name,
                    "class": type(answer.solver).__name__,
                    "options": fields(answer.solver),
                },
                "interval": None if answer.interval is None else answer.interval.record(),
            }
            assert answer.truth is not None
            save_image(answer.truth[0], folder / "clean.png")
        names = ", ".join(dict.fromkeys(spec.name for spec in SOLVERS.values()))
        subtitle = f"noise {NOISE}   prior {DEFAULT_PRIOR}   solver {names}"
        write_picture(comparison(rows, title="invdiff demo", subtitle=subtitle), folder / "comparison.png")
        write_json(
            folder,
            {
                "tasks": record,
                "noise": NOISE,
                "prior": DEFAULT_PRIOR,
                "samples": SAMPLES,
                "seed": seed,
                **environment(device),
            },
        )
