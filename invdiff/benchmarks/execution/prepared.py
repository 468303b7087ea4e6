"""Objects that the cells of one process share: the prior, measurements, and the warm-up.

A process makes one `Prepared` and gives it to each of its cells. The key of a part includes everything that it depends
on, for a measurement also the pixels of the image. Only the newest parts are kept, because cells come image by image.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from ...fingerprint import fingerprint
from ...newest import Newest
from ...operators.base import LinearOperator
from ...priors import Prior, load_prior
from ...problem import Problem
from ..tasks import make_task


class Prepared:
    """Objects that the cells of one process share."""

    def __init__(self) -> None:
        self._priors, self._problems, self._warm = Newest[Prior](2), Newest[Problem](16), Newest[None](16)

    def prior(self, name: str, expected: str, device: torch.device) -> Prior:
        """Return a prior on a device.

        Args:
            name: of the prior, or its path.
            expected: its fingerprint.
            device: of the computation.

        Raises:
            RuntimeError: a prior with another fingerprint.
        """

        def make() -> Prior:
            prior = load_prior(name)
            found = fingerprint(prior)
            if found != expected:
                raise RuntimeError(
                    f"prior {name!r}: expected the one of hash {expected}, found {found}; give all workers one file"
                )
            return prior.to(device)

        return self._priors.get((name, expected, device), make)

    def problem(self, task: str, truth: NDArray[np.float32], number: int, seed: int, device: torch.device) -> Problem:
        """Return the measurement of an image, the same for all solvers, with the operator's tables computed.

        Args:
            task: its name with options.
            truth: the clean image, `(C, H, W)`.
            number: index of the image, for its random streams.
            seed: of the measurement.
            device: of the tensors.
        """

        def make() -> Problem:
            x = torch.from_numpy(truth)[None]
            problem = make_task(task).problem(x, image=number, seed=seed).to(device)
            operator, y = problem.operator, problem.measurement
            x = x.to(device)
            operator(x)
            if isinstance(operator, LinearOperator):
                operator.adjoint(y)
                operator.solve(x, 1.0)
            return problem

        pixels = hashlib.sha256(truth.tobytes()).hexdigest()
        return self._problems.get((task, truth.shape, pixels, number, seed, device), make)

    def warm(self, name: str, expected: str, shape: tuple[int, ...], threads: int, device: torch.device) -> None:
        """Denoise and differentiate once at a size, because the first time buffers are made and kernels selected.

        Args:
            name: of the prior, or its path.
            expected: its fingerprint.
            shape: of the images, `(N, C, H, W)`.
            threads: of torch on the CPU.
            device: of the prior.
        """
        prior = self.prior(name, expected, device)

        def make() -> None:
            x = torch.full(shape, 0.5, device=device, requires_grad=True)
            out = prior.denoise(x, prior.std)
            if out.requires_grad:
                torch.autograd.grad(out.sum(), x)
            with torch.no_grad():
                prior.denoise(x, prior.std)
            wait(device)

        self._warm.get((name, expected, shape, threads, device), make)


def wait(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
