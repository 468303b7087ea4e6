"""`invdiff check operator`: whether an operator keeps the contract, and what to do if it does not."""

from __future__ import annotations

from ..specs import parse_spec
from . import terminal

FAILED = 1


def run(text: str, *, shape: tuple[int, int, int] = (3, 16, 17), seed: int = 0) -> int:
    """Print the report of `invdiff.testing.check_operator` and return the exit code.

    Args:
        text: the operator, `NAME:key=value,...` or `path/to/file.py:Class`.
        shape: shape of the images to check it with, `(C, H, W)`.
        seed: seed of the random images.

    Returns:
        0 if every check passed, else 1.

    Raises:
        ValueError: an unknown name, option or value.
        TypeError: what the name stands for makes no operator.
    """
    from ..operators.factory import make_operator
    from ..testing.operator import check_operator

    spec = parse_spec(text)
    report = check_operator(make_operator(spec.name, shape, spec.options, seed=seed), seed=seed)
    for line in str(report).splitlines():
        terminal.line(line)
    return 0 if report.ok else FAILED
