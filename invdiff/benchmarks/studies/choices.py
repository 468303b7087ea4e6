"""The table of `auto`: candidates measured on photographs, and what is best of them for each kind of problem.

    python -m invdiff.benchmarks.studies choices --photos FOLDER --ct FOLDER --mri FOLDER --work DIR [--images 6]

With `--kinds` only these kinds are measured, and their rows of the table replaced. For each problem and candidate, the
images' errors and figures are kept in DIR, so the same command continues after an interruption. `tuning.choosing` has
the rule by which the table follows from them. Evaluations are those of one of four samples; an estimate that is the
same for all samples is computed once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...fingerprint import fingerprint
from ...images import middle_square
from ...metrics import crps
from ...noise import Gaussian, GaussianMap, Noise, Poisson
from ...operators import (
    MRI,
    Blur,
    CompressedSensing,
    Demosaic,
    Downsample,
    HighDynamicRange,
    Identity,
    Inpainting,
    Operator,
    Tomography,
    box_mask,
    cartesian_mask,
    gaussian_kernel,
    motion_kernel,
    random_mask,
)
from ...priors import Prior, from_denoiser, load_prior
from ...problem import Problem, simulate
from ...reconstruction import Reconstruction
from ...solvers.base import solver_of
from ...solvers.choice.kinds import Kind, kind_of
from ...solvers.choice.table import Choice
from ...solvers.common.noise_models import solve_white, white_problems
from ...solvers.common.progress import Progress
from ...spacing import evenly_spaced
from ..images import load_pictures
from ..results.markdown import markdown_page, markdown_table, write_page
from ..tuning.choosing import DRAWN, Cell, choose, coverage, psnr

TEXT = """\
`auto`, the default solver, runs what was measured to be best for the kind of problem, and says so in the terminal and
in `result.json`. The kind follows from the operator and the noise. The mean is a weighted mean of several
estimates. Samples come from a solver whose 90 % intervals, around this mean and around that of the samples, hold 80 to
97 % of the true values (if none does, from the one that comes closest), and whose mean is at most 0.1 dB below the
best; of these from the one with the least continuous ranked probability score. The figures are means over the problems
of a kind: the share of the true values in the 90 % interval around that mean, its PSNR, and that of the best single
solver measured. Efforts are at most 15, 60 and 250 evaluations of the network for one of four samples, and
twice as many with products of its transposed Jacobian."""

PIXELWISE = ("pixelwise:steps=10", "pixelwise:steps=30", "pixelwise:steps=100")
SDA = ("sda:steps=6", "sda:steps=23")
DAPS = ("daps:steps=6", "daps:steps=23", "daps:steps=80")
MGPS = ("mgps:steps=12", "mgps:steps=23")
DPS = ("dps:steps=20", "dps:steps=30", "dps:steps=45")
PIGDM = ("pigdm:steps=20", "pigdm:steps=45")
RMPS = ("rmps:steps=10", "rmps:steps=40", "rmps:steps=150")
SAMPLERS: dict[Kind, tuple[str, ...]] = {
    Kind.DENOISING: (*PIXELWISE, "sda:steps=23"),
    **dict.fromkeys((Kind.SCATTERED, Kind.FEW), (*PIXELWISE, *SDA, "sda:steps=19", *DAPS[:2], *MGPS, *DPS)),
    Kind.UNEVEN: (*PIXELWISE, *SDA, *DAPS[:2], "mgps:steps=23"),
    Kind.HOLES: (*SDA, "sda:steps=19", *DAPS[:2], *MGPS, *DPS, "dps:steps=10"),
    Kind.SPECTRAL: (*RMPS, "rmps:steps=20", "daps:steps=23", *PIGDM),
    Kind.ORTHOGONAL: (*RMPS, *SDA, *DAPS[:2]),
    Kind.TRANSFORM: (*RMPS, *SDA, *DAPS[:2], *PIGDM, "mmps:steps=13"),
    Kind.LINEAR: (*DAPS, *SDA, *PIGDM, "mmps:steps=13"),
    Kind.NONLINEAR: (*DAPS, *SDA, "diffpir:steps=45"),
    Kind.LIKELIHOOD: (*DAPS, "mmps:steps=13", "sda:steps=23"),
}
"""Candidates for the samples.

For holes, levels for each pixel are no candidates: the network was trained on crops of 64 pixels, and takes the mean
colour of all photographs for a wide hole, so that a hole in a sky is gray (24 dB, where dps has 40).
"""

ESTIMATES: dict[Kind, tuple[str, ...]] = {
    Kind.DENOISING: ("pixelwise:steps=1", "pnp", "pnp:steps=24", "ddrm:steps=10", "ddrm:steps=20"),
    **dict.fromkeys(
        (Kind.SCATTERED, Kind.FEW), ("pixelwise:steps=1", "pnp", "pnp:steps=24", "pnp:steps=49", "ddrm:steps=20")
    ),
    Kind.HOLES: ("pnp", "pnp:steps=24", "pnp:steps=49", "ddrm:steps=10", "ddrm:steps=20"),
    Kind.UNEVEN: ("pixelwise:steps=1", "pnp", "pnp:steps=24", "ddrm:steps=20"),
    Kind.SPECTRAL: ("pnp", "pnp:steps=24", "ddrm:steps=5", "ddrm:steps=10", "ddrm:steps=20"),
    **dict.fromkeys(
        (Kind.ORTHOGONAL, Kind.TRANSFORM), ("pnp", "pnp:steps=24", "pnp:steps=49", "ddrm:steps=10", "ddrm:steps=20")
    ),
    Kind.LINEAR: ("pnp", "pnp:steps=24", "pnp:steps=49"),
    Kind.NONLINEAR: ("pnp", "pnp:steps=49"),
    Kind.LIKELIHOOD: ("pnp", "pnp:steps=24", "pnp:steps=49"),
}
"""Candidates for the mean."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A problem on which candidates are compared.

    Attributes:
        name: of the problem.
        operator: forward operator.
        noise: its noise.
        prior: name of the prior.
        maps: whether this prior has a noise level for each pixel and the kind of problem has use for it.
        flat: whether its images are flat parts of the photographs, such as skies.
    """

    name: str
    operator: Operator
    noise: Noise
    prior: str
    maps: bool | None = None
    flat: bool = False


def settings(size: int, prior: str, ct: str, mri: str) -> list[Setting]:
    """Return the problems, for images of one size.

    Args:
        size: side of the images.
        prior: of the photographs, with a noise level for each pixel.
        ct: of CT slices.
        mri: of MRI slices.
    """
    shape, slice_ = (3, size, size), (1, size, size)
    scattered = {
        f"random {m:g}": Inpainting(random_mask((size, size), missing=m, seed=1), channels=3)
        for m in (0.5, 0.7, 0.85, 0.92)
    }
    box = Inpainting(box_mask((size, size), size=(size // 3, size // 3), corner=(size // 4, size // 3)), channels=3)
    wide = Inpainting(box_mask((size, size), size=(size // 2, size // 2), corner=(size // 4, size // 5)), channels=3)
    blur = Blur(shape, kernel=gaussian_kernel(2.0, 25), border="reflect")
    rays = [180 * i / 30 for i in range(30)]
    out = [Setting(f"denoising {s:g}", Identity(shape), Gaussian(s), prior) for s in (0.05, 0.1, 0.25)]
    uneven = GaussianMap(torch.linspace(math.log(0.03), math.log(0.3), size).exp().expand(shape))
    for has in (False, True):
        out.append(Setting("uneven", Identity(shape), uneven, prior, has))
        out += [Setting(name, a, Gaussian(0.025), prior, has) for name, a in scattered.items()]
    out += [
        Setting("box", box, Gaussian(0.025), prior),
        Setting("wide box", wide, Gaussian(0.025), prior),
        Setting("flat box", wide, Gaussian(0.025), prior, flat=True),
        Setting("x4", Downsample(shape, factor=4, kernel="bicubic"), Gaussian(0.025), prior),
        Setting("x2", Downsample(shape, factor=2, kernel="bicubic"), Gaussian(0.025), prior),
        Setting("blur", blur, Gaussian(0.025), prior),
        Setting("mosaic", Demosaic(shape), Gaussian(0.025), prior),
        Setting("x4 average", Downsample(shape, factor=4, kernel="average"), Gaussian(0.025), prior),
        Setting("projections", CompressedSensing(shape, ratio=0.25), Gaussian(0.025), prior),
        Setting("MRI", MRI(slice_, mask=cartesian_mask(slice_[1:], acceleration=4)), Gaussian(0.01), mri),
        Setting("motion", Blur(shape, kernel=motion_kernel(25, seed=3), border="reflect"), Gaussian(0.025), prior),
        Setting("sparse CT", Tomography(slice_, angles_deg=rays, pixel_size=1 / size), Gaussian(0.005), ct),
        Setting("high dynamic range", HighDynamicRange(shape), Gaussian(0.025), prior),
        Setting("photons", Identity(shape), Poisson(30.0), prior),
        Setting("blurred photons", blur, Poisson(200.0), prior),
    ]
    return out


def one_level(prior: Prior) -> Prior:
    """Return a prior without its noise maps, as most priors of users are."""
    low, high = prior.sigma_min, prior.sigma_max
    return from_denoiser(
        prior.denoise, prior.shape, sigma_min=low, sigma_max=high, value_range=(0.0, 1.0), std=prior.std
    )


def measure(setting: Setting, prior: Prior, images: Tensor, candidate: str) -> Cell | None:
    """Run a candidate on all images; `None` if it cannot do the problem."""
    solver, problem = solver_of(candidate), simulate(setting.operator, images, setting.noise, seed=0)
    white = white_problems(problem, approximates=True)
    if solver.unmet(problem if white is None else white[0].problem):
        return None

    def solve(part: Problem, bar: bool | Progress) -> Reconstruction:
        return solver(part, prior, samples=1 if solver.point else DRAWN, seed=0)

    result = solve(problem, False) if white is None else solve_white(white, solve, False)
    errors = (result.mean.clamp(0, 1) - images).flatten(1).cpu().numpy()
    if solver.point:
        work = (result.nfe + result.vjps) / DRAWN
        return Cell(errors, result.nfe / DRAWN, work, False, np.zeros((0, 0), np.float32), math.nan)
    low, high = result.interval(0.9)
    widths = ((high - low) / 2).flatten(1).cpu().numpy()
    score = float(crps(result.samples, images).mean())
    is_sampler = candidate in SAMPLERS[kind_of(problem)]
    return Cell(errors, float(result.nfe), float(result.nfe + result.vjps), is_sampler, widths, score)


def cells(setting: Setting, images: Tensor, work: Path, prior: Prior, log: Any) -> dict[str, Cell]:
    """Return the cells of a problem, those of an earlier run from their files."""
    kind = kind_of(simulate(setting.operator, images[:1], setting.noise))
    found: dict[str, Cell] = {}
    for candidate in SAMPLERS[kind] + ESTIMATES[kind]:
        if candidate.startswith("pixelwise") and setting.maps is False:
            continue  # without a level for each pixel it adds noise to all of them
        form = "--one level" if setting.maps is False else ""
        safe = f"{setting.name}--{setting.prior}{form}--{candidate}".replace(" ", "_").replace("/", "_")
        file = work / f"{safe}.npz"
        if not file.exists():
            cell = measure(setting, prior, images, candidate)
            if cell is None:
                continue
            np.savez(file.with_suffix(".part.npz"), **dataclasses.asdict(cell))
            file.with_suffix(".part.npz").replace(file)
        with np.load(file) as stored:
            values = {f.name: stored[f.name] for f in dataclasses.fields(Cell)}
        cell = found[candidate] = Cell(
            errors=values["errors"],
            cost=float(values["cost"]),
            work=float(values["work"]),
            sampler=bool(values["sampler"]),
            widths=values["widths"],
            crps=float(values["crps"]),
        )
        covered = coverage(found, candidate, {candidate: 1.0}) if cell.widths.size else math.nan
        text = f"{setting.name:20} {setting.prior:10} {candidate:20} {psnr(cell.errors):6.2f} dB  {covered:.3f}"
        print(f"{text}  {cell.crps:.5f}", file=log, flush=True)
    return found


def spaced(source: str, count: int, size: int, channels: int, prior: Prior) -> Tensor:
    """Return evenly spaced images of a folder, in turn whole ones, reduced, and middles, `(count, C, size, size)`.

    Reduced photographs have more detail in a pixel than people's, and middles have less than thumbnails.
    """
    whole = load_pictures(source, None, size=size, channels=channels, prior=prior)
    large = load_pictures(source, None, size=None, channels=channels, prior=prior)
    out = []
    for k, i in enumerate(evenly_spaced(range(len(whole)), count)):
        pixels = large[i].pixels
        out.append(middle_square(pixels, size) if k % 2 and min(pixels.shape[-2:]) >= size else whole[i].pixels)
    return torch.stack(out)


def flat_parts(source: str, count: int, size: int, prior: Prior) -> Tensor:
    """Return flat squares, such as skies, from the photographs of a folder, `(count, 3, size, size)`.

    Each photograph has its flattest square, by the sum of absolute differences of neighbours, at steps of a quarter of
    the side; the result is evenly spaced among the flattest tenth of these.
    """
    found: list[tuple[float, Tensor]] = []
    for picture in load_pictures(source, None, size=None, channels=3, prior=prior):
        if min(picture.pixels.shape[-2:]) >= size:
            squares = picture.pixels.unfold(1, size, size // 4).unfold(2, size, size // 4).flatten(1, 2)
            change = squares.diff(dim=-1).abs().mean((0, 2, 3)) + squares.diff(dim=-2).abs().mean((0, 2, 3))
            found.append((float(change.min()), squares[:, change.argmin()]))
    found.sort(key=lambda pair: pair[0])
    return torch.stack([square for _, square in evenly_spaced(found[: max(count, len(found) // 10)], count)])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies choices", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--photos", type=str, required=True, help="folder of photographs")
    parser.add_argument("--ct", type=str, required=True, help="folder of CT slices")
    parser.add_argument("--mri", type=str, required=True, help="folder of MRI slices")
    parser.add_argument("--work", type=Path, required=True, help="folder of what was measured; continued")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--prior-ct", default="ct")
    parser.add_argument("--prior-mri", default="mri")
    parser.add_argument("--kinds", nargs="+", choices=[str(k) for k in Kind], help="other rows of the table are kept")
    parser.add_argument("--with-maps", action="store_true", help="leave out the rows of priors without noise maps")
    parser.add_argument("--only", help="problems whose name holds this text are measured, and no table is written")
    parser.add_argument("--page", type=Path, default=Path("docs/auto.md"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "solvers" / "choice" / "choices.json")
    given = parser.parse_args(argv)
    given.work.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", category=UserWarning)
    sources = {given.prior: (given.photos, 3), given.prior_ct: (given.ct, 1), given.prior_mri: (given.mri, 1)}
    priors = {name: load_prior(name) for name in sources}
    pictures = {
        name: spaced(folder, given.images, given.size, channels, priors[name])
        for name, (folder, channels) in sources.items()
    }
    flat = flat_parts(given.photos, given.images, given.size, priors[given.prior])
    groups: dict[tuple[Kind, bool | None], list[dict[str, Cell]]] = {}
    kinds = [Kind(k) for k in given.kinds or Kind]
    for setting in settings(given.size, given.prior, given.prior_ct, given.prior_mri):
        if (given.only and given.only not in setting.name) or (given.with_maps and setting.maps is False):
            continue
        images = flat if setting.flat else pictures[setting.prior]
        kind = kind_of(simulate(setting.operator, images[:1], setting.noise))
        if kind not in kinds:
            continue
        prior = priors[setting.prior]
        if setting.maps is False:
            prior = one_level(prior)
        found = cells(setting, images, given.work, prior, sys.stdout)
        groups.setdefault((kind, setting.maps), []).append(found)
    if given.only:
        return
    rows = choose(groups)
    for row in rows:
        row["measured"] |= {"images": given.images, "side": given.size}
    if given.kinds or given.with_maps:
        rows = merged(json.loads(given.out.read_text(encoding="utf-8"))["choices"], rows)
    record = {
        "command": "python -m invdiff.benchmarks.studies choices",
        "priors": {n: fingerprint(p) for n, p in priors.items()},
        "choices": rows,
    }
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write_page(given.page, page(record))


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of an earlier table, those of the same kind, effort and kind of prior replaced by new ones."""

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["kind"], row["effort"], row["maps"]

    by_key = {key(row): row for row in new}
    whole = {(row["kind"], row["effort"]) for row in new if row["maps"] is None}
    kept = [row for row in old if row["maps"] is None or (row["kind"], row["effort"]) not in whole]
    return [by_key.pop(key(row), row) for row in kept] + list(by_key.values())


def page(record: Mapping[str, Any]) -> str:
    """Return the page on the table."""
    rows = [
        [
            "kind of problem",
            "effort",
            "samples",
            "mean",
            "estimate alone",
            "in 90 % interval",
            "PSNR dB",
            "best single solver",
            "images, side",
        ]
    ]
    for row in record["choices"]:
        choice = Choice(**{k: v for k, v in row.items() if k not in ("kind", "effort")})
        network = {True: ", prior with noise maps", False: ", prior without noise maps", None: ""}[choice.maps]
        mean = choice.method("samples").partition(", mean ")[2] or "of the samples"
        figures = choice.measured
        rows.append(
            [
                row["kind"] + network, row["effort"], f"`{choice.sampler}`", mean, choice.method("estimate"),
                f"{figures['coverage']:.2f} (least {figures['least_coverage']:.2f})",
                f"{figures['psnr']:.2f}", f"{figures['psnr_best_single']:.2f}",
                f"{figures['images']}, {figures['side']}",
            ]
        )  # fmt: skip
    priors = ", ".join(f"`{name}` ({digest})" for name, digest in record["priors"].items())
    return markdown_page("What `auto` takes", TEXT, f"Priors: {priors}.", markdown_table(rows))
