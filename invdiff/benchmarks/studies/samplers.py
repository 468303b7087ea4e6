"""All samplers compared on a known mixture.

The distance is the sliced Wasserstein distance between samples of a sampler and exact samples, the mean over directions
`u` of

    W_1(u . x, u . y) = mean_i |(u . x)_(i) - (u . y)_(i)|,     values in order,

in units of the standard deviation of the mixture. The floor is the distance of two exact sets of the same size, which
is not 0 for a finite number of samples. A sampler below the floor is indistinguishable from a perfect one.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...metrics import sliced_wasserstein
from ...priors import MixturePrior
from ...samplers.base import Sampler
from ...samplers.ddim import DDIM, Ancestral
from ...samplers.langevin import ULA, AnnealedLangevin, AnnealedMALA
from ...samplers.ode import AdaptiveODE, Euler, Heun
from ...samplers.sde import PredictorCorrector, ReverseSDE
from ...schedules import VE, SubVP
from ...streams import generator
from ..results.markdown import markdown_table, write_page


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        sampler: its label.
        nfe: evaluations of the denoiser for one sample.
        distance: sliced Wasserstein distance, in standard deviations of the data.
        weight: fraction of samples in the heavier mode.
        seconds: wall time.
    """

    sampler: str
    nfe: int
    distance: float
    weight: float
    seconds: float


def two_modes() -> MixturePrior:
    """Return the mixture: two correlated modes over two pixels, of weights 0.7 and 0.3, eleven widths apart."""
    means = torch.tensor([[0.25, 0.3], [0.8, 0.7]]).reshape(2, 1, 1, 2)
    covariances = torch.tensor([[[0.004, 0.002], [0.002, 0.003]], [[0.003, -0.001], [-0.001, 0.002]]])
    return MixturePrior(torch.tensor([0.7, 0.3]), means, covariances)


def contestants(low: float, high: float) -> dict[str, Sampler]:
    """Return the samplers of the table, by label.

    Args:
        low: lowest positive noise level of all of them, in units of the data.
        high: highest noise level of all of them, in units of the data.
    """
    out: dict[str, Sampler] = {f"ancestral (DDPM), {k}": Ancestral(steps=k) for k in (20, 100, 500)}
    for k in (20, 100):
        out[f"DDIM eta 0, {k}"] = DDIM(steps=k)
        out[f"DDIM eta 0.5, {k}"] = DDIM(steps=k, eta=0.5)
        out[f"Euler, {k}"] = Euler(steps=k)
    for k in (10, 20, 50):
        out[f"Heun (EDM), {k}"] = Heun(steps=k)
    out["Heun with churn 20, 50"] = Heun(steps=50, churn=20.0)
    out["adaptive ODE (scipy)"] = AdaptiveODE(together=2**16)
    for k in (100, 500):
        out[f"reverse SDE, VP, {k}"] = ReverseSDE(steps=k)
    out["reverse SDE, sub-VP, 500"] = ReverseSDE(steps=500, diffusion=SubVP())
    out["reverse SDE, VE, 500"] = ReverseSDE(steps=500, diffusion=VE())
    out["predictor-corrector, VP, 100"] = PredictorCorrector(steps=100)
    out["predictor-corrector, VE, 100"] = PredictorCorrector(steps=100, diffusion=VE())
    out["annealed Langevin, SMLD's noise, 20 x 5"] = AnnealedLangevin(steps=20, consistent=False)
    out["annealed Langevin, SMLD's noise, 60 x 20"] = AnnealedLangevin(steps=60, inner=20, rate=0.3, consistent=False)
    out["annealed Langevin, 20 x 5"] = AnnealedLangevin(steps=20)
    out["annealed Langevin, 60 x 20"] = AnnealedLangevin(steps=60, inner=20)
    out["annealed MALA, 40 x 20"] = AnnealedMALA(steps=40, inner=20, rate=1.0)
    out["ULA from white noise, 1000"] = ULA(steps=1000, gamma=0.01, sigma=low, warm=0)
    out["ULA behind Euler, 1000"] = ULA(steps=1000, gamma=0.01, sigma=low)
    return {label: dataclasses.replace(s, sigma_min=low, sigma_max=high) for label, s in out.items()}


def compare(n: int = 4000, seed: int = 0, directions: int = 200) -> list[Row]:
    """Return the table; its first row is the floor, with the same number of exact samples.

    Args:
        n: samples of each sampler.
        seed: of all random numbers.
        directions: of the sliced distance.
    """
    prior = two_modes()
    exact = prior.sample(n, generator(seed, 1), torch.float64)

    def row(label: str, x: Tensor, nfe: int, seconds: float) -> Row:
        distance = sliced_wasserstein(x.flatten(1), exact.flatten(1), slices=directions) / prior.std
        return Row(label, nfe, distance, _weight(x, prior), seconds)

    rows = [row("exact samples (floor)", prior.sample(n, generator(seed, 2), torch.float64), 0, 0.0)]
    for label, sampler in contestants(0.01 * prior.std, 20 * prior.std).items():
        result = sampler(prior, n, seed=seed, dtype=torch.float64)
        rows.append(row(label, result.samples, result.nfe, result.seconds))
    return rows


def _weight(x: Tensor, prior: MixturePrior) -> float:
    nearest = torch.cdist(x.double().flatten(1), prior.means.flatten(1)).argmin(1)
    return float((nearest == int(prior.weights.argmax())).double().mean())


def to_markdown(rows: list[Row]) -> str:
    """Return the table in Markdown."""
    head = ["sampler", "evaluations", "distance", "heavier mode", "seconds"]
    body = [[r.sampler, str(r.nfe), f"{r.distance:.4f}", f"{r.weight:.3f}", f"{r.seconds:.2f}"] for r in rows]
    return markdown_table([head, *body], align="lrrrr") + "\n"


def to_page(rows: list[Row], n: int, seed: int) -> str:
    """Return the page: the command, an explanation, and the table."""
    head = f"""# Samplers on a mixture of two modes

`python -m invdiff.benchmarks.studies samplers --n {n} --seed {seed} --out docs/samplers.md`

{n} samples of each sampler from a mixture of two modes of weights 0.7 and 0.3 over two pixels, whose scores are exact.
Distance is the sliced Wasserstein-1 distance to exact samples, in standard deviations of the mixture. The floor is the
distance of two exact sets; a sampler below it is indistinguishable from a perfect one. Heavier mode is the fraction of
samples in the mode of weight 0.7. Evaluations are those of the denoiser for one sample; seconds are those of a busy
machine, for all samples.

"""
    return head + to_markdown(rows)


def show(rows: list[Row]) -> None:
    """Print the table to the terminal."""
    from rich.console import Console
    from rich.table import Table

    title = "Sliced Wasserstein distance to a mixture of two modes (0.7, 0.3), in standard deviations"
    table = Table(title=title, title_justify="left")
    table.add_column("sampler")
    for name in ("evaluations", "distance", "heavier", "seconds"):
        table.add_column(name, justify="right")
    for r in rows:
        table.add_row(r.sampler, str(r.nfe), f"{r.distance:.4f}", f"{r.weight:.3f}", f"{r.seconds:.2f}")
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare all samplers on the mixture: evaluations and sliced Wasserstein distance."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies samplers", description="All samplers on a mixture."
    )
    parser.add_argument("--n", type=int, default=4000, help="samples of each sampler, at least 2")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    args = parser.parse_args(argv)
    if args.n < 2 or args.seed < 0:
        parser.error(f"expected --n >= 2 and --seed >= 0, got {args.n} and {args.seed}")
    rows = compare(args.n, args.seed)
    if args.markdown:
        print(to_markdown(rows), end="")
    else:
        show(rows)
    if args.out is not None:
        write_page(args.out, to_page(rows, args.n, args.seed))
    return 0
