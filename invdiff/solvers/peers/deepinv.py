"""Solvers of other libraries with the contract of `Solver`: the same prior, operator and measurement.

A peer's sampler runs completely inside `draw`. It gets

    prior.denoise(x, sigma)       as its denoiser on [0, 1], each call counted,
    operator, y, sigma_y          as its physics, with this package's adjoint, pseudo-inverse and proximal map,
    V, V^T, U^T, s                as its singular value decomposition, if it needs one,
    streams of this package       for its draws from torch's own generator,

so a sample is the same alone and in a batch, and its network evaluations are counted. The peer's method is not changed.
deepinv is imported when a peer runs.

With a thin `V` the coefficients of an image are `(V^T x, x - V V^T x)`: the second part has singular value 0, and the
map back, `V c_1 + (I - V V^T) c_2`, maps white coefficients to white images, as a square `V` does.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...checks import check_count, check_number
from ...loop import choose, divergence_bound, inside
from ...noise import Gaussian
from ...operators import to_deepinv
from ...operators.base import LinearOperator, Spectrum
from ...operators.numerics.linalg import watch_solves
from ...streams import Streams
from ..base import Solver
from ..common.run import Run
from ..common.search import SHARE, Range, Ranges


@dataclass(frozen=True, kw_only=True)
class Peer(Solver):
    """A sampler of deepinv's; a subclass builds it in `restore`."""

    def draw(self, run: Run) -> Tensor:
        """Return the peer's images, `(N, C, H, W)`; zeros for images that diverge."""
        y, noise = run.problem.measurement, run.problem.noise
        zeros = torch.zeros((run.rows, *run.problem.operator.in_shape), dtype=y.dtype, device=y.device)
        if not run.rows:
            return zeros
        with _OwnStreams(run.streams), watch_solves() as solves:
            restored = self.restore(_Denoiser(run), run, noise.std if isinstance(noise, Gaussian) else 0.0)
        run.record_solves(solves, "of the peer")
        images = restored.detach().to(zeros)
        good = inside(images, divergence_bound(run.prior.std, run.prior.sigma_max))
        if not bool(good.all()):
            self.note_divergence(run, good, "in its own loop", zeros, 0)
        return choose(good, images, zeros)

    @abc.abstractmethod
    def restore(self, denoiser: nn.Module, run: Run, noise: float) -> Tensor:
        """Return the images of the peer's sampler, `(N, C, H, W)`, in [0, 1].

        Args:
            denoiser: the prior, called as `denoiser(x, sigma)` with `x` on [0, 1].
            run: the batch.
            noise: standard deviation of the measurement's noise, 0 where it is not Gaussian.
        """


@dataclass(frozen=True, kw_only=True)
class DeepinvDPS(Peer):
    """`deepinv.sampling.DPS`: any differentiable operator.

    Attributes:
        steps: points in time of the variance-preserving SDE; deepinv's default is 1000. Each of the `steps - 1` moves
            evaluates the network once.
        weight: of the gradient of the residual's norm; deepinv's default is 1.

    References:
        deepinv 0.5, https://github.com/deepinv/deepinv, `deepinv/sampling/diffusion.py`.

    Example:
        >>> DeepinvDPS(steps=100, weight=30.0).evaluations
        99
    """

    steps: int = 1000
    weight: float = 1.0

    name: ClassVar[str] = "deepinv.dps"
    summary: ClassVar[str] = "peer: DPS of deepinv, in the same run"
    paper: ClassVar[str] = "Chung et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    lower: ClassVar[str] = "weight"
    search: ClassVar[Ranges] = {"weight": Range(1.0, 1e5, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps", 3)
        check_number(self, "weight", 0.0)

    @property
    def evaluations(self) -> int:
        """One for each move."""
        return self.steps - 1

    def restore(self, denoiser: nn.Module, run: Run, noise: float) -> Tensor:
        """Run deepinv's DPS; with a given shape of the state it needs no pseudo-inverse."""
        from deepinv.sampling import DPS

        y = run.problem.measurement
        sampler = DPS(denoiser, num_steps=self.steps, weight=self.weight, device=y.device)
        shape = (run.rows, *run.problem.operator.in_shape)
        restored: Tensor = sampler(y, to_deepinv(run.problem.operator), x_init=shape)
        return restored


@dataclass(frozen=True, kw_only=True)
class DeepinvDDRM(Peer):
    """`deepinv.sampling.DDRM`: linear operators with a spectrum, Gaussian noise.

    Attributes:
        steps: noise levels, and network evaluations; deepinv's default is 100.
        sigma_max: highest level, from which they decrease evenly to 0; deepinv's default is 1.
        eta: fraction of fresh noise where nothing was measured, in [0, 1].
        eta_b: weight of the data where they are less noisy than the state, in [0, 1].

    References:
        deepinv 0.5, https://github.com/deepinv/deepinv, `deepinv/sampling/diffusion.py`.

    Example:
        >>> DeepinvDDRM(steps=20).evaluations
        20
    """

    steps: int = 100
    sigma_max: float = 1.0
    eta: float = 0.85
    eta_b: float = 1.0

    name: ClassVar[str] = "deepinv.ddrm"
    summary: ClassVar[str] = "peer: DDRM of deepinv, in the same run"
    paper: ClassVar[str] = "Kawar et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "svd", "gaussian"})
    search: ClassVar[Ranges] = {"eta": SHARE, "eta_b": SHARE, "sigma_max": Range(0.2, 3.0, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps", 2)
        check_number(self, "sigma_max", 0.0, positive=True)
        check_number(self, "eta", 0.0, 1.0)
        check_number(self, "eta_b", 0.0, 1.0)

    def restore(self, denoiser: nn.Module, run: Run, noise: float) -> Tensor:
        """Run deepinv's DDRM in the singular vectors of the operator."""
        import numpy as np
        from deepinv.sampling import DDRM

        sigmas = np.linspace(self.sigma_max, 0, self.steps)
        sampler = DDRM(denoiser, sigmas=sigmas, eta=self.eta, etab=self.eta_b)
        operator = run.problem.operator
        assert isinstance(operator, LinearOperator) and operator.svd is not None
        restored: Tensor = sampler(
            run.problem.measurement, _Spectral(operator.svd, operator.in_shape, noise, run.problem.measurement)
        )
        return restored


@dataclass(frozen=True, kw_only=True)
class DeepinvDiffPIR(Peer):
    """`deepinv.sampling.DiffPIR`: linear operators, Gaussian noise.

    Attributes:
        steps: noise levels, and network evaluations; deepinv's default is 100.
        weight: `lambda`; deepinv's default is 7.
        zeta: fraction of fresh noise in [0, 1]; deepinv's default is 0.1.

    References:
        deepinv 0.5, https://github.com/deepinv/deepinv, `deepinv/sampling/diffusion.py`.

    Example:
        >>> DeepinvDiffPIR().steps
        100
    """

    steps: int = 100
    weight: float = 7.0
    zeta: float = 0.1

    name: ClassVar[str] = "deepinv.diffpir"
    summary: ClassVar[str] = "peer: DiffPIR of deepinv, in the same run"
    paper: ClassVar[str] = "Zhu et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"linear", "gaussian"})
    search: ClassVar[Ranges] = {"weight": Range(0.05, 200.0, log=True), "zeta": SHARE}

    def __post_init__(self) -> None:
        check_count(self, "steps", 2)
        check_number(self, "weight", 0.0, positive=True)
        check_number(self, "zeta", 0.0, 1.0)

    def restore(self, denoiser: nn.Module, run: Run, noise: float) -> Tensor:
        """Run deepinv's DiffPIR with the operator's proximal map."""
        from deepinv.optim.data_fidelity import L2
        from deepinv.sampling import DiffPIR

        y = run.problem.measurement
        noise = max(noise, 1e-4)  # their proximal map divides by its square
        sampler = DiffPIR(
            denoiser, L2(), sigma=noise, max_iter=self.steps, lambda_=self.weight, zeta=self.zeta, device=y.device
        )
        restored: Tensor = sampler(y, to_deepinv(run.problem.operator))
        return restored


class _Denoiser(nn.Module):
    """The prior of a run as a denoiser of deepinv's; every call is counted."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def forward(self, x: Tensor, sigma: Tensor | float, *args: Any, **kwargs: Any) -> Tensor:
        """Return the prior's estimate; a level below the prior's range is raised to its lowest level."""
        level = torch.as_tensor(sigma).flatten()
        assert bool((level == level[0]).all()), "the peers have one noise level for all images"
        return self._run.denoise(x, max(float(level[0]), self._run.prior.sigma_min))


class _OwnStreams(TorchFunctionMode):
    """Draws normal numbers from the streams of the rows instead of torch's generator."""

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self._streams = streams

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func is torch.randn_like:
            return self._streams.randn(args[0])
        if func is torch.Tensor.normal_:
            return args[0].copy_(self._streams.randn(args[0]))
        if func is torch.randn:
            like = torch.empty(args[0], dtype=options.get("dtype"), device=options.get("device"))
            return self._streams.randn(like)
        return func(*args, **options)


class _Noise:
    """The attributes of a noise model that deepinv's DDRM reads."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma


class _Spectral:
    """A spectrum with the names of deepinv's DDRM, with flat coefficients, `(N, K)`."""

    def __init__(self, spectrum: Spectrum, in_shape: tuple[int, ...], noise: float, like: Tensor) -> None:
        self._spectrum, self._in_shape = spectrum, in_shape
        s = spectrum.s.to(like).flatten()
        self._seen = s.numel()
        self._thin = self._seen < torch.Size(in_shape).numel()
        self.mask = torch.cat([s, s.new_zeros(torch.Size(in_shape).numel() if self._thin else 0)])[None]
        self.noise_model = _Noise(noise)

    def U_adjoint(self, y: Tensor) -> Tensor:
        """Return `U^T y`, 0 for unmeasured coefficients."""
        c = self._spectrum.Ut(y).flatten(1)
        return torch.cat([c, c.new_zeros(len(c), self.mask.shape[1] - self._seen)], 1)

    def V_adjoint(self, x: Tensor) -> Tensor:
        """Return the coefficients of images."""
        c = self._spectrum.Vt(x)
        return torch.cat([c.flatten(1), (x - self._spectrum.V(c)).flatten(1)], 1) if self._thin else c.flatten(1)

    def V(self, c: Tensor) -> Tensor:
        """Return the images of coefficients."""
        x = self._spectrum.V(c[:, : self._seen].reshape(-1, *self._spectrum.s.shape))
        if not self._thin:
            return x
        free = c[:, self._seen :].reshape(-1, *self._in_shape)
        return x + free - self._spectrum.V(self._spectrum.Vt(free))
