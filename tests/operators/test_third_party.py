"""An operator in a package of its own, installed beside ours: it is listed and built by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import invdiff

MODULE = '''
import torch
from invdiff.operators import LinearOperator

class Vignette(LinearOperator):
    """Darkening towards the corners: y = g * x."""

    def __init__(self, in_shape, strength=0.5):
        self.in_shape = self.out_shape = in_shape
        h, w = in_shape[1:]
        r2 = torch.linspace(-1, 1, h)[:, None] ** 2 + torch.linspace(-1, 1, w) ** 2
        self.gain = 1 - strength * r2 / 2

    def forward(self, x):
        return self.gain.to(x) * x
'''
SCRIPT = """
import torch
from invdiff.operators.factory import make_operator
from invdiff.registry import operators
from invdiff.testing.operator import check_operator

entry = operators.entries()["vignette"]
assert entry.source == "invdiff-vignette", entry
a = make_operator("vignette", (3, 8, 9), {"strength": 0.8})
report = check_operator(a)
assert report.ok, report
print(operators["vignette"].__name__, a.pinv(a(torch.ones(1, 3, 8, 9))).mean().round(decimals=3).item())
"""


def install(folder: Path) -> None:
    """Lay a package out as pip does: a module, and metadata that declare its entry point."""
    (folder / "invdiff_vignette.py").write_text(MODULE)
    info = folder / "invdiff_vignette-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: invdiff-vignette\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[invdiff.operators]\nvignette = invdiff_vignette:Vignette\n")


def run(folder: Path, *command: str) -> str:
    paths = [str(folder), str(Path(invdiff.__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_third_party_package(tmp_path: Path) -> None:
    install(tmp_path)
    assert run(tmp_path, "-c", SCRIPT).strip() == "Vignette 1.0"


def test_third_party_package_is_listed(tmp_path: Path) -> None:
    install(tmp_path)
    listed = run(tmp_path, "-c", "from invdiff.cli import main; main(['list', 'operators'])")
    assert "vignette" in listed


def test_third_party_package_reconstructs(tmp_path: Path) -> None:
    install(tmp_path)
    image = np.linspace(0, 255, 24 * 25).reshape(24, 25).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    command = ["reconstruct", "image.png", "--operator", "vignette:strength=0.5", "--simulate", "--noise", "0.02"]
    command += ["--solver", "pinv", "--samples", "1", "--out", "out"]
    run(tmp_path, "-c", f"import sys; from invdiff.cli import main; sys.exit(main({command!r}))")
    assert (tmp_path / "out" / "mean.png").is_file()
