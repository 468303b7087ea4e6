"""The calibrations that come with the package, and their coverage on photographs that they were not made from.

    python -m invdiff.benchmarks.studies calibrations --photos FOLDER --work DIR

Every third photograph of the folder is for the test, the others are for the calibration, evenly spaced. The test also
has noise, operators and sizes at the ends of the range within which a calibration is taken to hold. What was measured
is kept in DIR, so the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...calibration import Calibration, Misses, Setting, describe_setting, misses
from ...calibration.misses import append_misses, inside, read_rows
from ...images import load_image, middle_square
from ...interface import DEFAULT_SOLVER
from ...operators.builders.factory import make_operator
from ...priors import load_prior
from ...problem import Problem, simulate
from ...registry import solvers
from ...spacing import evenly_spaced
from ...specs import parse_spec
from ..results.markdown import markdown_page, markdown_table, write_page

EMBEDDED = Path(__file__).parents[2] / "calibration" / "embedded"
LEVEL, CONFIDENCE, SAMPLES = 0.9, 0.9, 4
HEAD = [
    "operator", "noise", "uncalibrated", "factor", "calibrated", "mean half-width", "least at the ends",
]  # fmt: skip
TEXT = """\
The shares are of the pixels of test photographs whose true value lies in the 90 % interval of `auto` with four samples,
averaged over the photographs: with the solver's own intervals, and with those of the calibrations that come with the
package. The last column is the lowest share of calibrated intervals at the ends of the range within which a calibration
is taken to hold: noise levels and real-valued options of the operator that differ by a factor of 1.1, images of half
and of twice the side."""


@dataclass(frozen=True)
class Case:
    """A problem with a calibration.

    Attributes:
        name: of the file.
        operator: as on the command line.
        noise: standard deviation.
        near: another operator at the end of the range; "" if the operator has no option that is a real number.
    """

    name: str
    operator: str
    noise: float
    near: str = ""


CASES = (
    Case("denoising-0.05", "identity", 0.05),
    Case("denoising-0.1", "identity", 0.1),
    Case("inpainting", "inpainting:random=0.7", 0.025, "inpainting:random=0.77"),
    Case("super-resolution", "downsample:factor=4", 0.025),
    Case("deblurring", "blur:sigma=2.0", 0.025, "blur:sigma=2.2"),
)


class Study:
    """Photographs, their prior, and what was measured so far.

    Args:
        prior_name: name of the prior.
        work: folder of what was measured.
    """

    def __init__(self, prior_name: str, work: Path) -> None:
        self.prior_name, self.prior, self.work = prior_name, load_prior(prior_name), work

    def misses(self, name: str, operator: str, noise: float, files: Sequence[Path], size: int) -> list[Misses]:
        """Return the misses of photographs; those of an earlier run come from its file."""
        file_kept = self.work / f"{name}.jsonl"
        found = read_rows(file_kept.read_text(encoding="utf-8").splitlines())[0] if file_kept.is_file() else {}
        for number, file in enumerate(files):
            if file.name in found:
                continue
            problem, image = posed(operator, noise, file, size, number)
            result = solvers[DEFAULT_SOLVER]()(problem, self.prior, samples=SAMPLES, seed=number)
            found[file.name] = misses(result, image, LEVEL)[0]
            append_misses(file_kept, file.name, found[file.name])
        out = [found[f.name] for f in files]
        print(f"{name}: {inside(out, 1.0):.3f} of the pixels inside", flush=True)
        return out

    def setting(self, operator: str, noise: float, file: Path, size: int) -> Setting:
        """Return the setting of a calibration."""
        problem, _ = posed(operator, noise, file, size, 0)
        solver = solvers[DEFAULT_SOLVER]()
        return describe_setting(operator, str(noise), problem, self.prior_name, self.prior, solver, SAMPLES)


def posed(operator: str, noise: float, file: Path, size: int, number: int) -> tuple[Problem, Tensor]:
    """Return the problem of one photograph, and its pixels."""
    image, spec = square(file, size), parse_spec(operator)
    made = make_operator(spec.name, tuple(image.shape[1:]), dict(spec.options), seed=number)
    return simulate(made, image, noise, number), image


def square(file: Path, size: int) -> Tensor:
    """Return the square in the middle of a photograph at half its resolution, `(1, 3, size, size)`."""
    image = torch.nn.functional.avg_pool2d(load_image(file, mode="rgb").float(), 2)
    return middle_square(image, size)


def ends(study: Study, case: Case, test: Sequence[Path], size: int) -> dict[str, list[Misses]]:
    """Return the misses at the ends of the range of a calibration."""
    few = test[:: max(1, len(test) // 4)]
    found = {
        "noise / 1.1": study.misses(f"{case.name}--less", case.operator, case.noise / 1.1, test, size),
        "noise x 1.1": study.misses(f"{case.name}--more", case.operator, case.noise * 1.1, test, size),
        "half the side": study.misses(f"{case.name}--half", case.operator, case.noise, test, size // 2),
        "twice the side": study.misses(f"{case.name}--twice", case.operator, case.noise, few, 2 * size),
    }
    if case.near:
        found[case.near] = study.misses(f"{case.name}--near", case.near, case.noise, test, size)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Calibrate and test, and write the files and the table."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies calibrations", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of what was measured; continued")
    parser.add_argument("--prior", default="photo")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=40, help="for the calibration")
    parser.add_argument("--tested", type=int, default=16, help="for the test")
    parser.add_argument("--out", type=Path, default=Path("docs/uncertainty.md"))
    given = parser.parse_args(argv)
    given.work.mkdir(parents=True, exist_ok=True)
    EMBEDDED.mkdir(exist_ok=True)
    study = Study(given.prior, given.work)
    every = [f for f in sorted(given.photos.glob("*.jpg")) if min(load_image(f).shape[-2:]) >= 4 * given.size]
    test = evenly_spaced(every[::3], given.tested)
    rest = evenly_spaced([f for i, f in enumerate(every) if i % 3], given.images)
    rows = [HEAD]
    for case in CASES:
        used = study.misses(f"{case.name}--calibration", case.operator, case.noise, rest, given.size)
        setting = study.setting(case.operator, case.noise, rest[0], given.size)
        made = Calibration.from_misses(used, level=LEVEL, confidence=CONFIDENCE, setting=setting)
        made.save(EMBEDDED / f"{given.prior}-{case.name}.json")
        new = study.misses(f"{case.name}--test", case.operator, case.noise, test, given.size)
        shares = {k: inside(m, made.factor) for k, m in ends(study, case, test, given.size).items()}
        worst = min(shares, key=shares.__getitem__)
        rows.append(
            [
                f"`{case.operator}`", f"{case.noise:g}", f"{inside(new, 1.0):.3f}", f"{made.factor:.2f}",
                f"{inside(new, made.factor):.3f}", f"{made.width:.3f}", f"{shares[worst]:.3f} ({worst})",
            ]
        )  # fmt: skip
    facts = f"Calibrated on {len(rest)} and tested on {len(test)} photographs of {given.size} x {given.size} pixels."
    write_page(given.out, markdown_page("Coverage of the intervals", TEXT, facts, markdown_table(rows)))
