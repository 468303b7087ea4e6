"""Deep image prior (DIP): an untrained network is fitted to the measurement.

    theta* = argmin ||y - A(f_theta(z))||^2,      x = f_theta*(z)

for a fixed random input `z`. The network fits structure before noise, so the fit must stop early. The average of its
last images is better than each of them. With the mean and the variance over a window of about `1 / a` iterations,

    m_k = m_{k-1} + a (x_k - m_{k-1}),      v_k = (1 - a) (v_{k-1} + a ||x_k - m_{k-1}||^2),

the fit returns the mean `m` at the iteration of the least `v`. It stops when `v` has not decreased for `patience`
iterations. Each sample is a separate fit, with other initial parameters and another input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..checks import check_count, check_number
from ..problem import Problem
from .base import Solver
from .common.adam import Moments, adam_step
from .common.hourglass import Hourglass
from .common.run import Run
from .common.search import Range, Ranges
from .iterative import repeat


class Fit(NamedTuple):
    """The fits of all rows after some iterations.

    Attributes:
        best: mean image at the iteration of least variance, `(N, C, H, W)`.
        theta: parameters, `(N, P)`.
        first: Adam's first moments.
        second: Adam's second moments.
        z: inputs.
        mean: mean over the window.
        variance: variance over the window, `(N,)`.
        least: lowest variance so far, `(N,)`.
        since: iterations since then, `(N,)`.
    """

    best: Tensor
    theta: Tensor
    first: Tensor
    second: Tensor
    z: Tensor
    mean: Tensor
    variance: Tensor
    least: Tensor
    since: Tensor


@dataclass(frozen=True, kw_only=True)
class DeepImagePrior(Solver):
    """Deep image prior with early stopping, for any differentiable operator; needs no prior.

    Attributes:
        steps: largest number of iterations; the authors take some thousand.
        rate: Adam's step size; the authors take 0.01.
        width: channels of the network; the authors take 128.
        depth: scales of the network; the authors take 5.
        jitter: standard deviation of the noise on the input at each iteration; the authors take 1/30 or 0.
        window: number of iterations over which image and variance are averaged.
        patience: iterations without a lower variance before the fit stops.

    References:
        Deep Image Prior (Ulyanov et al., 2018), https://arxiv.org/abs/1711.10925. Early stopping: Early Stopping for
        Deep Image Prior (Wang et al., 2023), https://arxiv.org/abs/2112.06074, the variant ES-EMV.

    Differs:
        The network has about a twentieth of the parameters of the authors'. The window of the stopping rule is
        exponential, as in the variant of its paper that stores no images; the fit runs for at least two windows.

    Example:
        >>> DeepImagePrior(steps=300).evaluations
        0
    """

    steps: int = 2000
    rate: float = 0.01
    width: int = 32
    depth: int = 4
    jitter: float = 0.03
    window: int = 100
    patience: int = 400

    name: ClassVar[str] = "dip"
    summary: ClassVar[str] = "deep image prior: an untrained network, stopped early; no prior needed"
    paper: ClassVar[str] = "Ulyanov et al. 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    approximates: ClassVar[bool] = True
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {"rate": Range(1e-3, 3e-2, log=True), "jitter": Range(0.0, 0.1)}

    def __post_init__(self) -> None:
        for name in ("steps", "width", "depth", "window", "patience"):
            check_count(self, name)
        check_number(self, "rate", 0, positive=True)
        check_number(self, "jitter", 0)

    @property
    def evaluations(self) -> int:
        """None: the prior is not used."""
        return 0

    def ticks(self, levels: tuple[float, ...]) -> int:
        """Return the largest number of iterations."""
        return self.steps

    def draw(self, run: Run) -> Tensor:
        """Fit the networks, from random parameters."""
        return repeat(self, run, self.start(run), self.step, self.steps).best

    def start(self, run: Run) -> Fit:
        """Draw parameters and inputs."""
        y, n = run.problem.measurement, run.rows
        net = self._network(run)
        theta = net.spread(y) * run.randn(y.new_zeros(n, net.size))
        z = 0.1 * run.streams.rand(y.new_zeros(n, *net.input_shape))
        image = y.new_zeros(n, *net.shape)
        row = y.new_zeros(n)
        m, v = Moments.zeros(theta)
        return Fit(image, theta, m, v, z, image, row, row + torch.inf, row)

    def step(self, run: Run, x: Fit, i: int) -> Fit:
        """Take one iteration of every fit that has not stopped, row by row, so no row depends on another."""
        net, scale, rows = self._network(run), run.problem.gain or 1.0, []
        noise = self.jitter * run.randn(x.z)
        for k in range(run.rows):
            row = Fit(*(value[k : k + 1] for value in x))
            done = float(row.since) >= self.patience
            rows.append(row if done else self._iterate(run.problem[k], scale, net, row, noise[k : k + 1], i))
        return Fit(*(torch.cat(parts) for parts in zip(*rows, strict=True))) if rows else x

    def _iterate(self, problem: Problem, scale: float, net: Hourglass, row: Fit, noise: Tensor, i: int) -> Fit:
        with torch.enable_grad():
            leaf = row.theta.detach().requires_grad_()
            image = net(leaf[0], row.z + noise)
            loss = problem.residual(image).square().mean() / scale**2  # in units of the image, as Adam's eps has units
            (gradient,) = torch.autograd.grad(loss, leaf)
        theta, moments = adam_step(row.theta, gradient, Moments(row.first, row.second), i + 1, self.rate)
        image = image.detach()
        a = max(1 / self.window, 1 / (i + 1))  # the plain mean until the window is full
        difference = image - row.mean
        mean = row.mean + a * difference
        variance = (1 - a) * (row.variance + a * difference.square().flatten(1).sum(1))
        better = (variance < row.least) | torch.tensor(i < 2 * self.window, device=variance.device)
        best = torch.where(better[:, None, None, None], mean, row.best)
        least = torch.where(better, variance, row.least)
        return Fit(best, theta, *moments, row.z, mean, variance, least, torch.where(better, 0, row.since + 1))

    def _network(self, run: Run) -> Hourglass:
        return Hourglass(run.problem.operator.in_shape, width=self.width, depth=self.depth)
