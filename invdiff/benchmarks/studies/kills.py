"""A folder of pictures that is killed at random times, and started again, has the bits of one that was not.

    python -m invdiff.benchmarks.studies kills [--pictures 200] [--size 256] [--kills 20] [--effort normal]
        [--every 60] [--longest 60] [--seed 0] --out FOLDER

The pictures are crops of scikit-image's photographs, blurred and with noise. The command runs once without a stop, and
once with a SIGKILL after a time that is uniform in [0, longest] seconds from its first line, until it comes to its end.
All arrays are compared bit by bit. `--every` is the time between two states on disk.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from skimage.data import astronaut, chelsea, coffee

from ...images import save_image
from ...operators import Blur, gaussian_kernel
from ...problem import simulate

OPTIONS = ("--operator", "blur:sigma=2", "--noise", "0.02", "--goal", "estimate", "--device", "cpu", "--threads", "1")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and return 0 if all bits are the same, else 1."""
    parser = argparse.ArgumentParser(prog="python -m invdiff.benchmarks.studies kills")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--effort", default="normal")
    parser.add_argument("--every", type=float, default=60.0)
    parser.add_argument("--longest", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    folder = args.out / "pictures"
    make_pictures(folder, args.pictures, args.size, args.seed)
    words = ["reconstruct", str(folder), *OPTIONS, "--effort", args.effort]
    print(run([*words, "--out", str(args.out / "whole")], args.every, None)[1].strip(), flush=True)
    rng = random.Random(args.seed)
    killed = [*words, "--out", str(args.out / "killed")]
    for number in range(args.kills):
        if run(killed, args.every, rng.uniform(0, args.longest))[0] >= 0:
            print(f"came to its end after {number} kills")
            break
    code, said = run(killed, args.every, None)
    print(said.strip())
    same = [p.name for p in sorted(folder.iterdir()) if equal(args.out, p.stem)]
    print(f"exit code {code}; {len(same)} of {args.pictures} pictures have the same bits")
    return 0 if len(same) == args.pictures else 1


def make_pictures(folder: Path, count: int, size: int, seed: int) -> None:
    """Write blurred and noisy crops of photographs, `00000.png` and so on."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    photographs = [np.asarray(p, dtype=np.float32) / 255 for p in (astronaut(), chelsea(), coffee())]
    blur = Blur((3, size, size), kernel=gaussian_kernel(2.0))
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        y, x = (int(rng.integers(0, n - size + 1)) for n in photograph.shape[:2])
        clean = torch.from_numpy(photograph[y : y + size, x : x + size].transpose(2, 0, 1).copy())[None]
        save_image(simulate(blur, clean, 0.02, seed=number).measurement[0], folder / f"{number:05d}.png")


def run(words: Sequence[str], every: float, kill_after: float | None) -> tuple[int, str]:
    """Run the command, kill it some seconds after its first line, and return its exit code and its standard output."""
    code = f"import sys, invdiff.journal as j; j.EVERY = {every}; from invdiff.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        process.stderr.readline()
        if kill_after is not None:
            end = time.monotonic() + kill_after
            while time.monotonic() < end and process.poll() is None:
                time.sleep(0.05)
            process.kill()
        out, _ = process.communicate()
    return process.returncode, out


def equal(folder: Path, name: str) -> bool:
    """Return whether a picture has the same arrays, bit by bit, in both runs."""
    whole, killed = (arrays(folder / run / name / "result.npz") for run in ("whole", "killed"))
    return bool(whole) and whole == killed


def arrays(file: Path) -> dict[str, bytes]:
    """Return the arrays of a file as bytes, none if it is missing."""
    if not file.exists():
        return {}
    with np.load(file) as opened:
        return {name: array.tobytes() for name, array in opened.items()}
