from __future__ import annotations

from pathlib import Path

import pytest

from invdiff.commands.check import CheckRequest
from invdiff.commands.check import run as run_request

CODE = """
from invdiff.operators import LinearOperator

class Good(LinearOperator):
    def __init__(self, in_shape, gain=2.0):
        self.in_shape = self.out_shape = in_shape
        self.gain = gain
    def forward(self, x):
        return self.gain * x.flip(-1)

class Bad(Good):
    def adjoint(self, y):
        return y
"""


def run(spec: str, shape: tuple[int, int, int] | None = None) -> int:
    return run_request(CheckRequest(kind="operator", spec=spec, shape=shape))


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    assert run(f"{path}:Good:gain=3", shape=(1, 6, 7)) == 0
    assert "every check passed" in capsys.readouterr().out
    assert run(f"{path}:Bad") == 1
    out = capsys.readouterr().out
    assert "FAILED  adjoint" in out
    assert "compare it with the transposed matrix" in out
    with pytest.raises(ValueError, match="did you mean 'gain'"):
        run(f"{path}:Good:gian=3")
    assert run("blur:sigma=1.5,border=circular") == 0
