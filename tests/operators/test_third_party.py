"""An operator in a package of its own, installed by pip beside ours: listed, checked, reconstructed with and graded.

The package is built and installed without a network into a folder that stands on the path of new processes, as the
site-packages of a fresh environment would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
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
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "invdiff-vignette"
version = "1.0"
dependencies = ["invdiff"]

[project.entry-points."invdiff.operators"]
vignette = "invdiff_vignette:Vignette"

[tool.hatch.build.targets.wheel]
only-include = ["invdiff_vignette.py"]
"""
PIP = ("install", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variables of an environment in which the package is installed."""
    home = tmp_path_factory.mktemp("third_party")
    source, site = home / "source", home / "site"
    source.mkdir()
    (source / "invdiff_vignette.py").write_text(MODULE)
    (source / "pyproject.toml").write_text(PROJECT)
    command = [sys.executable, "-m", "pip", *PIP, "--target", str(site), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (site / "invdiff_vignette-1.0.dist-info" / "entry_points.txt").is_file()
    paths = [str(site), str(Path(invdiff.__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def invdiff_command(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "invdiff", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed_with_the_package_that_brings_it(environment: dict[str, str], tmp_path: Path) -> None:
    rows = {line.split()[0]: line for line in invdiff_command(environment, tmp_path, "list", "operators").splitlines()}
    assert "from invdiff-vignette" in rows["vignette"]
    assert "blur" in rows


def test_it_is_checked(environment: dict[str, str], tmp_path: Path) -> None:
    invdiff_command(environment, tmp_path, "check", "operator", "vignette:strength=0.8", "--shape", "1", "6", "5")


def test_it_reconstructs(environment: dict[str, str], tmp_path: Path) -> None:
    """The image comes back: brighter in the corners than it was measured."""
    image = np.linspace(60, 250, 24 * 25).reshape(24, 25).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    command = ("reconstruct", "image.png", "--operator", "vignette:strength=0.8", "--simulate", "--noise", "0.01")
    invdiff_command(environment, tmp_path, *command, "--solver", "diffpir", "--samples", "2", "--out", "out")
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["status"] == "ok"
    assert record["metrics"]["mean"]["psnr"] > record["metrics"]["measurement"]["psnr"] + 10


def test_it_is_graded(environment: dict[str, str], tmp_path: Path) -> None:
    command = ("grade", "--operator", "vignette:strength=0.8", "--shape", "1", "5", "6", "--solvers", "pnpdm")
    rows = [r.split() for r in invdiff_command(environment, tmp_path, *command, "--samples", "100").splitlines()]
    assert rows[1][:2] == ["pnpdm", "vignette"]
    assert float(rows[1][2]) < 0.3, "an exact solver's bias, by chance about 0.1 with 100 samples"
