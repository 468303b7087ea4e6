"""Gaussian denoising of photographs, compared with classical denoisers, and the cost of one evaluation.

    python -m invdiff.benchmarks.studies denoisers [--prior photo] [--photos FOLDER] [--limit N] [--json FILE]

A prior of one channel is measured on gray images. Every method gets the same noisy images (seeded, not clipped).
Classical methods get the true noise level, as the prior does. PSNR is that of the result, clipped to [0, 1]; the table
has its mean over images in dB.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...priors import Prior, embedded, load_prior
from ...priors.network import NetworkPrior
from ...spacing import evenly_spaced
from ..results.markdown import markdown_table

LEVELS = (15, 25, 50)
SKIMAGE = ("astronaut", "coffee", "chelsea", "rocket")
Array: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Callable[[Array, float], Array]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        images: name of the set of images.
        method: name of the denoiser.
        psnr: dB for each of `LEVELS`.
        seconds: for one image, median.
    """

    images: str
    method: str
    psnr: tuple[float, ...]
    seconds: float


def skimage_photographs(side: int = 256, *, gray: bool = False) -> list[Array]:
    """Return the central squares of scikit-image's colour photographs, `(side, side, 3 or 1)` in [0, 1]."""
    import skimage.data

    return [_pixels(Image.fromarray(getattr(skimage.data, name)()), gray, side) for name in SKIMAGE]


def folder_photographs(folder: Path, limit: int | None, side: int = 256, *, gray: bool = False) -> list[Array]:
    """Return the central squares (or smaller ones) of evenly spaced images of a folder, as `skimage_photographs`.

    Raises:
        FileNotFoundError: if the folder holds no images.
    """
    files = sorted(f for f in folder.glob("*") if f.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        raise FileNotFoundError(f"photos: expected a folder of JPEG or PNG images, found none in {folder}")
    images = []
    for file in evenly_spaced(files, limit):
        with Image.open(file) as image:
            images.append(_pixels(image, gray, side))
    return images


def _pixels(picture: Image.Image, gray: bool, side: int) -> Array:
    image = np.asarray(picture.convert("L" if gray else "RGB"), dtype=np.float64) / 255.0
    image = image.reshape(*image.shape[:2], -1)
    h, w = (min(side, n) for n in image.shape[:2])
    top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    return image[top : top + h, left : left + w]


def find_prior(name_or_path: str) -> Prior:
    """Return an embedded prior, an exported one, or another prior of `load_prior`."""
    if name_or_path in embedded.names():
        return embedded.load(name_or_path)
    return NetworkPrior.load(name_or_path) if Path(name_or_path).exists() else load_prior(name_or_path)


def prior_method(prior: Prior) -> Method:
    """Return a prior's denoiser on arrays `(H, W, C)`."""

    @torch.no_grad()
    def denoise(noisy: Array, sigma: float) -> Array:
        x = torch.from_numpy(noisy).permute(2, 0, 1)[None].to(torch.float32)
        return prior.denoise(x, sigma)[0].permute(1, 2, 0).double().numpy()

    return denoise


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


def compare(name: str, images: Sequence[Array], methods: dict[str, Method]) -> list[Row]:
    """Return one row for each method, and one for the noisy images."""
    errors: dict[str, list[list[float]]] = {m: [[] for _ in LEVELS] for m in ("noisy", *methods)}
    times: dict[str, list[float]] = {m: [0.0] for m in errors}
    for i, clean in enumerate(images):
        for k, level in enumerate(LEVELS):
            noise = np.random.default_rng((level, i)).standard_normal(clean.shape)
            noisy = clean + level / 255 * noise
            errors["noisy"][k].append(psnr(noisy, clean))
            for method, denoise in methods.items():
                start = time.perf_counter()
                out = denoise(noisy, level / 255)
                times[method].append(time.perf_counter() - start)
                errors[method][k].append(psnr(out, clean))
    return [
        Row(name, m, tuple(statistics.fmean(e) for e in rows), statistics.median(times[m][1:] or [0.0]))
        for m, rows in errors.items()
    ]


def psnr(image: Array, clean: Array) -> float:
    """Return the peak signal-to-noise ratio of `image` clipped to [0, 1], in dB."""
    return -10.0 * math.log10(max(float(np.square(image.clip(0, 1) - clean).mean()), 1e-12))


def cost(prior: NetworkPrior, side: int = 256, repeats: int = 7) -> dict[str, float]:
    """Return milliseconds, and fractions of the matrix peak, of one evaluation at `(C, side, side)`.

    The peak is the throughput of a 2048x2048 matrix product in the same type, on the same threads, in the same run.
    """
    x = torch.rand(1, prior.shape[0] or 3, side, side)
    figures: dict[str, float] = {"threads": float(torch.get_num_threads())}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        prior.denoise(x, 0.1)
    flop = counter.get_total_flops()
    figures["GFLOP"] = flop / 1e9
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        p = prior.with_precision(precision)  # type: ignore[arg-type]
        a = torch.rand(2048, 2048).to(dtype)
        peak = 2 * 2048**3 / _median_seconds(lambda a=a: a @ a, repeats)  # type: ignore[misc]
        with torch.no_grad():
            forward = _median_seconds(lambda p=p: p.denoise(x, 0.1), repeats)  # type: ignore[misc]
        vjp = _median_seconds(lambda p=p: _vjp(p, x), repeats)  # type: ignore[misc]
        figures |= {
            f"{precision} forward ms": 1e3 * forward,
            f"{precision} forward+vjp ms": 1e3 * vjp,
            f"{precision} peak GFLOP/s": peak / 1e9,
            f"{precision} share of peak": flop / forward / peak,
        }
    return figures


def _vjp(prior: NetworkPrior, x: Tensor) -> Tensor:
    z = x.clone().requires_grad_()
    return torch.autograd.grad(prior.denoise(z, 0.1), z, x)[0]


def _median_seconds(call: Callable[[], object], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["images", "method", *(f"sigma {v}" for v in LEVELS), "ms an image"]
    body = [[r.images, r.method, *(f"{v:.2f}" for v in r.psnr), f"{1e3 * r.seconds:.0f}"] for r in rows]
    return markdown_table([head, *body])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies denoisers", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--prior", default="photo", help="name or path of a prior of colour or gray images")
    parser.add_argument("--photos", type=Path, help="folder of held-out photographs")
    parser.add_argument("--limit", type=int, help="number of photographs, evenly spaced")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--no-peers", action="store_true", help="leave the classical denoisers out")
    parser.add_argument("--no-skimage", action="store_true", help="leave scikit-image's photographs out")
    parser.add_argument("--no-cost", action="store_true", help="leave the timing out")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    prior = find_prior(options.prior)
    methods = {"prior": prior_method(prior)} | ({} if options.no_peers else classical_methods())
    gray = prior.shape[0] == 1
    sets = {} if options.no_skimage else {"scikit-image": skimage_photographs(gray=gray)}
    if options.photos is not None:
        sets[options.photos.name] = folder_photographs(options.photos, options.limit, gray=gray)
    rows = [row for name, images in sets.items() for row in compare(f"{name} ({len(images)})", images, methods)]
    print(markdown(rows))
    result: dict[str, Any] = {"rows": [dataclasses.asdict(r) for r in rows]}
    if not options.no_cost and isinstance(prior, NetworkPrior):
        result["cost"] = cost(prior)
        print("\n" + "\n".join(f"{k}: {v:.3g}" for k, v in result["cost"].items()))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
