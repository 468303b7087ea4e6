"""Gaussian mixtures: multimodal priors with all quantities in closed form.

For `p(x_0) = sum_k w_k N(x_0; m_k, C_k)` the noisy image has `p_sigma(x) = sum_k w_k N(x; m_k, C_k + sigma^2 I)`, and

    denoise(x, sigma) = sum_k r_k(x) [m_k + C_k (C_k + sigma^2 I)^{-1} (x - m_k)],
    r_k(x) proportional to w_k N(x; m_k, C_k + sigma^2 I).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UserError
from .base import Prior, expand_sigma


class MixturePrior(Prior):
    """A mixture of K Gaussians over small images.

    Args:
        weights: `(K,)`, positive; they are normalised.
        means: `(K, C, H, W)`.
        covariances: `(K, d, d)` with `d = C H W`; or `(K,)`, variances of isotropic components; or a number for all.

    Raises:
        ValueError: shapes that do not fit, weights that are not positive, or covariances that are not positive
            semi-definite.

    Example:
        >>> import torch
        >>> prior = MixturePrior(torch.ones(2), torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1), 0.01)
        >>> round(prior.denoise(torch.full((1, 1, 1, 1), 0.2), 0.1).item(), 3)
        0.6
    """

    analytic = True

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor | float) -> None:
        if means.ndim != 4:
            raise UserError(f"MixturePrior: means: expected shape (K, C, H, W), got {tuple(means.shape)}")
        k, d = means.shape[0], means[0].numel()
        if tuple(weights.shape) != (k,) or not bool((weights > 0).all()):
            raise UserError(f"MixturePrior: weights: expected {k} positive numbers, got {weights.tolist()}")
        c = torch.as_tensor(covariances, dtype=torch.float64)
        c = c.expand(k) if c.ndim == 0 else c
        if tuple(c.shape) not in ((k,), (k, d, d)):
            raise UserError(
                f"MixturePrior: covariances: expected a number, shape ({k},) or ({k}, {d}, {d}), got {tuple(c.shape)}"
            )
        self.weights = (weights / weights.sum()).double()
        self.means = means.double()
        self.covariances = c
        if c.ndim == 1:
            self._variance, self._q = c[:, None].expand(k, d), None
        else:
            if not torch.allclose(c, c.mT, rtol=1e-6, atol=1e-6 * float(c.abs().max())):
                raise UserError("MixturePrior: covariances: expected symmetric matrices")
            self._variance, self._q = torch.linalg.eigh((c + c.mT) / 2)
        if float(self._variance.min()) < -1e-6 * float(self._variance.max()):
            raise UserError(
                f"MixturePrior: covariances: expected no negative variance, got {float(self._variance.min()):.3g}"
            )
        self._variance = self._variance.clamp(min=0)
        self.shape = tuple(means.shape[1:])
        flat = self.means.flatten(1)
        center = self.weights @ flat
        spread = (self.weights[:, None] * (flat - center) ** 2).sum(0) + self.weights @ self._pixel_variance()
        self.std = math.sqrt(float(spread.mean()))
        self.sigma_min = 1e-4 * max(math.sqrt(float(self._variance.max())), 1e-6 * self.std)
        self.sigma_max = 1e2 * self.std

    def _pixel_variance(self) -> Tensor:
        if self._q is None:
            return self._variance
        return torch.diagonal(self.covariances, dim1=1, dim2=2)

    def eigen(self, k: int) -> tuple[Tensor, Tensor | None]:
        """Return the eigenvalues `(d,)` and eigenvectors `(d, d)` of a component's covariance; `None` for the identity.

        Args:
            k: index of the component.
        """
        return self._variance[k], None if self._q is None else self._q[k]

    def _centered(self, x: Tensor) -> Tensor:
        """Return `Q_k^T (x - m_k)`, `(B, K, d)`, in float64."""
        z = x.double().flatten(1)[:, None] - self.means.to(x.device).flatten(1)
        return z if self._q is None else torch.einsum("kij,bki->bkj", self._q.to(x.device), z)

    def _log_joint(self, z: Tensor, total: Tensor) -> Tensor:
        """Return `log w_k + log N(z; 0, total)`, `(B, K)`."""
        exponent = (z**2 / total + total.log() + math.log(2 * math.pi)).sum(-1)
        return self.weights.to(z.device).log() - 0.5 * exponent

    def _check(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"MixturePrior: x: expected images of shape {self.shape}, got {tuple(x.shape[1:])}")

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return the posterior mean over components and images."""
        self._check(x)
        if self._q is None:
            return self._denoise_isotropic(x, sigma)
        noise = expand_sigma(sigma, x.double().flatten(1)[:, None]) ** 2
        variance = self._variance.to(x.device)
        z = self._centered(x)
        r = self._log_joint(z, variance + noise).softmax(1)
        shrunk = torch.einsum("kij,bkj->bki", self._q.to(x.device), variance / (variance + noise) * z)
        mean = self.means.to(x.device).flatten(1) + shrunk
        return torch.einsum("bk,bkd->bd", r, mean).to(x.dtype).reshape(x.shape)

    def _denoise_isotropic(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Use `|x - m|^2 = |x|^2 - 2 x m + |m|^2`: matrix products only, no (B, K, d) array."""
        flat, means = x.double().flatten(1), self.means.to(x.device).flatten(1)
        noise = expand_sigma(sigma, flat) ** 2
        variance = self._variance[:, 0].to(x.device)
        total = variance + noise
        center = self.weights.to(x.device) @ means
        a, b = flat - center, means - center
        squared = (a**2).sum(1, keepdim=True) - 2 * a @ b.T + (b**2).sum(1)
        d = flat.shape[1]
        r = (self.weights.to(x.device).log() - 0.5 * (squared / total + d * total.log())).softmax(1)
        gain = variance / total
        out = (r * (1 - gain)) @ means + (r * gain).sum(1, keepdim=True) * flat
        return out.to(x.dtype).reshape(x.shape)

    def responsibilities(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Return the probability `r_k` of each component given the noisy image, `(B, K)`, in float64."""
        self._check(x)
        noise = expand_sigma(sigma, x.double().flatten(1)[:, None]) ** 2
        return self._log_joint(self._centered(x), self._variance.to(x.device) + noise).softmax(1)

    def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Return `log p_sigma(x)` of each image in nats, `(B,)`, in float64."""
        self._check(x)
        noise = expand_sigma(sigma, x.double().flatten(1)[:, None]) ** 2
        return self._log_joint(self._centered(x), self._variance.to(x.device) + noise).logsumexp(1)

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return `n` images, `(n, C, H, W)`."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.sample_components(k, generator).to(dtype)

    def sample_components(self, k: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one draw of component `k[i]` for each i, `(n, C, H, W)`, in float64."""
        z = torch.randn((len(k), self._variance.shape[1]), generator=generator, dtype=torch.float64)
        z = self._variance[k].sqrt() * z
        if self._q is not None:
            z = torch.einsum("nij,nj->ni", self._q[k], z)
        return self.means[k] + z.reshape(len(k), *self.means.shape[1:])
