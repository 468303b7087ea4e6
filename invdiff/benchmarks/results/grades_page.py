"""The page of the grades on exact problems, docs/grades.md, and the words that explain a screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from ...testing.exact import ORDINARY
from ...testing.hard import HARD
from .grades import COLUMNS, EXACT, Graded, long_table, reasons, screen
from .markdown import markdown_page, markdown_table

TITLES = {"ordinary": "Ordinary problems", "hard": "Hard problems", "more": "More problems", "own": "This operator"}
CELL = "variance ratio in the worst direction, bias in posterior deviations, coverage of 90 % intervals in per cent"
"""What a cell of a screen holds."""
LEGEND = (
    "1.0 .00 90 is perfect; a coverage of 100 shows as 99. gains: the worse of the two. modes: share of the samples in "
    "the right modes, in the right numbers. exact: exact samples, which show what chance does. Marks: ! misfit, "
    "x diverged, - does not apply."
)
"""How to read a screen."""
READING = """\
- Bias of the mean and distance (sliced Wasserstein-1) are in posterior standard deviations. The bias is corrected
  for the finite number of samples. Variance is that of the samples, summed over pixels, over the exact one.
- A perfect solver has bias 0, variance 1, coverage 50 % and 90 %, and a distance at its floor.
- The variance ratio in the worst direction is that along the principal axis of the exact posterior covariance where it
  is farthest from 1; half counts as much as twice. The mean over pixels hides such a direction. The ratio is about the
  samples' own mean, so that it does not count the bias again. `invdiff.testing.axes` has the formulas.
- Particle methods have few independent samples here. Their bias includes the error from that, and their worst ratio
  goes beyond the range of chance.
- Status `misfit`: the samples do not explain the measurement. Status `diverged`: the iteration left the finite
  numbers."""


def chance(graded: Iterable[Graded]) -> str:
    """Return a sentence with the ranges of the worst ratio of exact samples."""
    found = sorted({g.grade.chance for g in graded if g.solver == EXACT and g.grade is not None}, reverse=True)
    ranges = [f"{low:.2f} to {high:.2f}" for low, high in dict.fromkeys((found[0], found[-1]))]
    return (
        f"The worst ratio of exact samples of a Gaussian is in 99 of 100 cases from {', or from '.join(ranges)}, "
        "depending on the number of directions."
    )


def grades_page(graded: Mapping[str, Sequence[Graded]], samples: int) -> str:
    """Return the page of all tables.

    Args:
        graded: grades by the name of the set of problems.
        samples: number of samples of each image.
    """
    note = (
        f"Solvers with their defaults, on problems with a closed-form posterior; at least {samples} samples of each "
        f"image. Made by `invdiff grade --samples {samples} --out docs/grades.md`. Seconds are those of "
        f"{torch.get_num_threads()} thread(s). `dip` trains a network for each sample: it draws 4 samples of each "
        "image, for two of the problems."
    )
    parts = [note, READING]
    for name, part in graded.items():
        parts += [f"## {TITLES.get(name, name)}", *_section(name, part)]
    return markdown_page("The errors of solvers", *parts)


def _section(name: str, graded: Sequence[Graded]) -> list[str]:
    """Return the paragraphs of one set of problems."""
    texts = {**ORDINARY, **HARD}
    problems = dict.fromkeys(g.problem for g in graded)
    listed = "\n".join(f"- `{p}`: {texts[p]}." for p in problems if p in texts)
    parts = [listed] if listed else []
    if name not in COLUMNS:
        return [*parts, markdown_table(long_table(graded))]
    columns = "; ".join(f"{c.head}: {' and '.join(f'`{p}`' for p in c.problems)}" for c in COLUMNS[name])
    parts += [f"Columns: {columns}.", f"A cell holds, in this order, {CELL}. {LEGEND} {chance(graded)}"]
    parts += [markdown_table(screen(graded, COLUMNS[name]))]
    left_out = "\n".join(f"- {line}" for line in reasons(graded))
    return [*parts, f"Does not apply:\n\n{left_out}"] if left_out else parts
