"""Kernels of any shape, estimated from one blurred picture: similarity of the kernel, and the error of the image.

    python -m invdiff.benchmarks.studies blind_kernels --photos FOLDER [--limit 12] [--first 0] [--json FILE]

Photographs are blurred by drawn kernels of at most 25 pixels (`shake_kernel`, extents of 11 to 22 pixels), only pixels
that need no extension are kept, and noise of 0.01 is added. Photographs of more than 600 pixels are halved first. The
kernel of the picture's luma is estimated by `estimate_kernel` with and without the networks, and by blind
Richardson-Lucy. Images are then estimated by one solver with the true and with each estimated kernel (with twice the
noise for the latter, as in `deblurred`), and by scikit-image's `unsupervised_wiener` with the estimated kernel. The
similarity is the maximal normalised cross-correlation. PSNR is taken inside of a margin of the kernel's side, after the
best shift by whole pixels, for each method alike. With `--json` finished cases are kept, and not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...deblurring import estimate_kernel, kernel_similarity
from ...deblurring.regions import gray_light
from ...deblurring.solve import TOLERANCE, blur_problem
from ...errors import UserError
from ...images import middle_square
from ...interface import reconstruct
from ...metrics import psnr
from ...operators import Blur, shake_kernel
from ...operators.color import LUMA
from ...priors import load_prior
from ...problem import Problem, simulate
from ...solvers.base import solver_of
from ...spacing import evenly_spaced
from ..results.markdown import markdown_table
from .denoisers import folder_photographs, picture_tensor

SIZE, NOISE = 25, 0.01
LUMA_NOISE = NOISE * math.hypot(*LUMA)
EXTENTS, SMOOTHNESS = (0.45, 0.6, 0.75, 0.9), (0.3, 0.5, 0.2)


def drawn_kernel(index: int) -> Tensor:
    """Return the kernel of a case, `(25, 25)`."""
    return shake_kernel(SIZE, extent=EXTENTS[index % 4] * SIZE, smoothness=SMOOTHNESS[index % 3], seed=index)


def cases(folder: Path, limit: int, side: int) -> list[tuple[Tensor, Tensor, Problem]]:
    """Return image, kernel and blurred picture of `side` pixels, for evenly spaced photographs that are large enough.

    Raises:
        ValueError: no photograph is large enough.
    """
    wide = side + SIZE - 1
    found = []
    for array in folder_photographs(folder, None, 10**6):
        x = picture_tensor(array)
        if max(x.shape[-2:]) > 600:
            x = torch.nn.functional.avg_pool2d(x, 2)
        if min(x.shape[-2:]) >= wide:
            found.append(middle_square(x, wide))
    if not found:
        raise UserError(f"photos: expected photographs of at least {wide} x {wide} pixels in {folder}, found none")
    out = []
    for i, x in enumerate(evenly_spaced(found, limit)):
        kernel = drawn_kernel(i)
        out.append((x, kernel, simulate(Blur(tuple(x.shape[1:]), kernel=kernel, border="valid"), x, NOISE, seed=i)))
    return out


def richardson_lucy(y: Tensor, rounds: int = 10, inner: int = 10) -> Tensor:
    """Return the kernel of a gray picture `(H, W)` by blind Richardson-Lucy, from a wide Gaussian.

    References:
        Blind deconvolution by means of the Richardson-Lucy algorithm (Fish, Brinicombe, Pike, Walker, 1995),
        https://doi.org/10.1364/JOSAA.12.000058.
    """
    shape, half = tuple(y.shape), SIZE // 2
    at = torch.arange(SIZE, dtype=y.dtype) - half
    k = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * (SIZE / 5) ** 2))
    k, x = k / k.sum(), y.clamp(min=1e-3).clone()

    def padded(kernel: Tensor) -> Tensor:
        z = torch.zeros(shape, dtype=y.dtype)
        z[:SIZE, :SIZE] = kernel
        response: Tensor = torch.fft.rfft2(torch.roll(z, (-half, -half), (0, 1)))
        return response

    def ratio(image: Tensor, response: Tensor) -> Tensor:
        blurred = torch.fft.irfft2(torch.fft.rfft2(image) * response, s=shape)
        quotient: Tensor = torch.fft.rfft2(y.clamp(min=0) / blurred.clamp(min=1e-4))
        return quotient

    for _ in range(rounds):
        for _ in range(inner):
            spectrum = torch.fft.rfft2(x)
            gain = torch.fft.irfft2(ratio(x, padded(k)) * spectrum.conj(), s=shape) / x.sum()
            k = k * torch.roll(gain, (half, half), (0, 1))[:SIZE, :SIZE].clamp(min=0)
            k = k / k.sum()
        for _ in range(inner):
            response = padded(k)
            x = x * torch.fft.irfft2(ratio(x, response) * response.conj(), s=shape).clamp(min=0)
    return k


def wiener(problem: Problem, kernel: Tensor) -> Tensor:
    """Return scikit-image's `unsupervised_wiener` of each channel, `(1, C, h, w)`, the size of the measurement."""
    from skimage.restoration import unsupervised_wiener

    planes = [
        unsupervised_wiener(p, kernel.double().numpy(), rng=0)[0] for p in problem.measurement[0].double().numpy()
    ]
    return torch.from_numpy(np.stack(planes))[None].float()


def aligned_psnr(estimate: Tensor, truth: Tensor) -> float:
    """Return the PSNR inside of a margin, after the shift by whole pixels that is best, up to a quarter of the kernel.

    Args:
        estimate: `(1, C, h, w)`, of the size of the measurement, or of the image.
        truth: `(1, C, h + n - 1, w + n - 1)`.
    """
    half = SIZE // 2
    if estimate.shape != truth.shape:
        estimate = torch.nn.functional.pad(estimate, (half, half, half, half))
    inside = slice(SIZE, -SIZE)
    reach = SIZE // 4
    estimate, truth = estimate.clamp(0, 1), truth[..., inside, inside]
    return max(
        float(psnr(torch.roll(estimate, (i, j), (-2, -1))[..., inside, inside], truth))
        for i in range(-reach, reach + 1)
        for j in range(-reach, reach + 1)
    )


def measure(x: Tensor, kernel: Tensor, problem: Problem, solver: str) -> dict[str, dict[str, float]]:
    """Return similarity of the kernel and PSNR by method."""
    y = problem.measurement
    gray = gray_light(y, 1.0)
    prior = load_prior("photo-gray")
    kernels = {
        "true kernel": kernel.float(),
        "with the network": estimate_kernel(gray[None], SIZE, LUMA_NOISE, prior),
        "variational": estimate_kernel(gray[None], SIZE, LUMA_NOISE),
        "blind Richardson-Lucy": richardson_lucy(gray),
        "no blur": torch.nn.functional.pad(torch.ones(1, 1), (SIZE // 2,) * 4),
    }
    rows = {}
    for name, k in kernels.items():
        rows[name] = {"similarity": kernel_similarity(k, kernel), "concentration": float(k.square().sum())}
        if name == "no blur":
            rows[name]["psnr"] = aligned_psnr(y, x)
            continue
        noise = NOISE if name == "true kernel" else TOLERANCE * NOISE
        image = reconstruct(blur_problem(y, k, noise), "photo", solver_of(solver), seed=0).mean
        rows[name]["psnr"] = aligned_psnr(image, x)
    best = kernels["with the network"]
    rows["unsupervised Wiener, our kernel"] = {
        "similarity": rows["with the network"]["similarity"],
        "psnr": aligned_psnr(wiener(problem, best), x),
    }
    return rows


def markdown(done: Sequence[dict[str, dict[str, float]]]) -> str:
    """Return the means over cases as a Markdown table."""
    head = ["method", "similarity", "least", "PSNR, dB", "below the true kernel, dB", "returned no blur"]
    body = []
    for name in done[0]:
        similar = [d[name]["similarity"] for d in done]
        quality = [d[name]["psnr"] for d in done]
        lost = [d["true kernel"]["psnr"] - q for d, q in zip(done, quality, strict=True)]
        single = sum(d[name].get("concentration", 0.0) > 0.5 for d in done)
        row = [f"{statistics.fmean(similar):.3f}", f"{min(similar):.2f}", f"{statistics.fmean(quality):.2f}"]
        body.append([name, *row, f"{statistics.fmean(lost):.2f}", f"{single} of {len(done)}"])
    return markdown_table([head, *body])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m invdiff.benchmarks.studies blind_kernels", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of held-out photographs")
    parser.add_argument("--limit", type=int, default=12, help="number of photographs, evenly spaced")
    parser.add_argument("--first", type=int, default=0, help="index of the first case that is measured")
    parser.add_argument("--side", type=int, default=192, help="side of the blurred picture")
    parser.add_argument("--solver", default="diffpir:steps=30", help="NAME:key=value,...")
    parser.add_argument("--json", type=Path, help="file of the finished cases, read and written")
    options = parser.parse_args(arguments)
    kept = options.json is not None and options.json.exists()
    done: list[dict[str, dict[str, float]]] = json.loads(options.json.read_text("utf-8")) if kept else []
    for x, kernel, problem in cases(options.photos, options.limit, options.side)[options.first + len(done) :]:
        done.append(measure(x, kernel, problem, options.solver))
        print(
            len(done), {name: f"{r['similarity']:.3f} {r['psnr']:.2f} dB" for name, r in done[-1].items()}, flush=True
        )
        if options.json is not None:
            options.json.write_text(json.dumps(done, indent=1), encoding="utf-8")
    print(f"{len(done)} photographs, {options.side} x {options.side} pixels, noise {NOISE}\n\n{markdown(done)}")
