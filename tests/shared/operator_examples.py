"""One example at least of every public operator, small and on the CPU, which several tests go through."""

from __future__ import annotations

from collections.abc import Callable

import scipy.sparse
import torch
from torch import Tensor

from invdiff.operators import (
    JPEG,
    MRI,
    Adjoint,
    Blur,
    Chain,
    Composition,
    CompressedSensing,
    Demosaic,
    Downsample,
    FanBeamTomography,
    Gain,
    GammaCurve,
    Grayscale,
    HighDynamicRange,
    Identity,
    Inpainting,
    LinearOperator,
    NonlinearBlur,
    NonlinearStack,
    Operator,
    PhaseRetrieval,
    Projection,
    Scaled,
    Separable,
    SpaceVaryingBlur,
    Stack,
    Sum,
    Tomography,
    box_mask,
    cartesian_mask,
    gaussian_kernel,
    motion_kernel,
    random_mask,
    tile_weights,
)
from invdiff.operators.jpeg_coefficients import JPEGCoefficients

SHAPE = (2, 7, 10)


class Square(Operator):
    in_shape = out_shape = SHAPE

    def forward(self, x: Tensor) -> Tensor:
        return x**2


class FlipGain(LinearOperator):
    in_shape = out_shape = SHAPE

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.flip(-1)


def _kernel(*size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.3


def _symmetric() -> Tensor:
    """Symmetric in both axes, of rank two, wider than the image is high."""
    k = _kernel(2, 9, 5)
    return k + k.flip(-1) + k.flip(-2) + k.flip(-1, -2)


def _double(x: Tensor) -> Tensor:
    return 2 * x


def _coils(*size: int) -> Tensor:
    return torch.complex(_kernel(*size), _kernel(*size).flip(-1))


def _mask() -> Tensor:
    return random_mask(SHAPE[1:], missing=0.4, seed=1)


EXAMPLES: dict[str, Callable[[], Operator]] = {
    "identity": lambda: Identity(SHAPE),
    "inpainting shared mask": lambda: Inpainting(_mask(), channels=2),
    "inpainting own masks": lambda: Inpainting(torch.stack([_mask(), ~_mask()])),
    "inpainting box": lambda: Inpainting(box_mask(SHAPE[1:], size=(3, 4)).float(), channels=2),
    "inpainting nothing known": lambda: Inpainting(torch.zeros(3, 4)),
    "blur circular": lambda: Blur(SHAPE, kernel=_kernel(3, 4), border="circular"),
    "blur circular one per channel": lambda: Blur(SHAPE, kernel=_kernel(2, 5, 5), border="circular"),
    "blur circular larger than image": lambda: Blur(SHAPE, kernel=_kernel(9, 23), border="circular"),
    "blur reflect": lambda: Blur(SHAPE, kernel=_kernel(4, 3), border="reflect"),
    "blur reflect symmetric": lambda: Blur(SHAPE, kernel=_symmetric(), border="reflect"),
    "blur reflect larger than image": lambda: Blur(SHAPE, kernel=_kernel(9, 25), border="reflect"),
    "blur reflect one per channel": lambda: Blur(SHAPE, kernel=_kernel(2, 3, 3), border="reflect"),
    "blur zero": lambda: Blur(SHAPE, kernel=motion_kernel(5, intensity=0.5), border="zero"),
    "blur valid": lambda: Blur(SHAPE, kernel=_kernel(3, 2), border="valid"),
    "blur gaussian reflect": lambda: Blur(SHAPE, kernel=gaussian_kernel(0.7), border="reflect"),
    "blur gaussian zero": lambda: Blur(SHAPE, kernel=gaussian_kernel((0.7, 1.2)), border="zero"),
    "blur gaussian valid": lambda: Blur(SHAPE, kernel=gaussian_kernel(0.7, 5), border="valid"),
    "downsample bicubic": lambda: Downsample(SHAPE, factor=2),
    "downsample average": lambda: Downsample(SHAPE, factor=3, kernel="average"),
    "downsample by one": lambda: Downsample(SHAPE, factor=1, kernel="average"),
    "downsample own kernel": lambda: Downsample(SHAPE, factor=2, kernel=torch.tensor([1.0, 2.0, 1.0])),
    "downsample kernel of rank two": lambda: Downsample(SHAPE, factor=3, kernel=_kernel(4, 5).abs()),
    "tomography": lambda: Tomography(SHAPE, angles_deg=torch.arange(0, 180, 20.0), pixel_size=0.5),
    "tomography few detectors": lambda: Tomography((1, 8, 8), angles_deg=[3.0, 50], detectors=5, detector_offset=0.3),
    "tomography in blocks": lambda: Tomography((1, 8, 8), angles_deg=torch.arange(0, 180, 15.0), memory=2000),
    "separable": lambda: Separable(SHAPE, rows=_kernel(4, 7), columns=_kernel(12, 10)),
    "adjoint": lambda: Adjoint(Downsample(SHAPE, factor=2)),
    "adjoint by autograd": lambda: Adjoint(FlipGain()),
    "scaled": lambda: Scaled(Blur(SHAPE, kernel=_kernel(3, 3), border="circular"), -2.5),
    "scaled by zero": lambda: Scaled(Identity(SHAPE), 0.0),
    "sum": lambda: Sum(Identity(SHAPE), Blur(SHAPE, kernel=gaussian_kernel(0.7))),
    "composition separable": lambda: Composition(
        Downsample(SHAPE, factor=2), Blur(SHAPE, kernel=gaussian_kernel(0.7), border="reflect")
    ),
    "composition general": lambda: Composition(
        Inpainting(_mask(), channels=2), Blur(SHAPE, kernel=_kernel(3, 3), border="circular")
    ),
    "composition isometry outside": lambda: Composition(
        2 * Identity(SHAPE), Blur(SHAPE, kernel=_kernel(3, 3), border="circular")
    ),
    "composition isometry inside": lambda: Composition(Inpainting(_mask(), channels=2), -3 * Identity(SHAPE)),
    "chain": lambda: Chain(Square(), Blur(SHAPE, kernel=gaussian_kernel(0.7))),
    "stack": lambda: Stack([Inpainting(_mask(), channels=2), Downsample(SHAPE, factor=2)]),
    "stack, not linear": lambda: NonlinearStack([Square(), Identity(SHAPE)]),
    "gain": lambda: Gain(SHAPE, gain=_kernel(7, 10).where(_mask(), 0)),
    "function": lambda: Operator.from_function(torch.sin, SHAPE),
    "linear function": lambda: LinearOperator.from_function(_double, SHAPE),
    "linear function with adjoint": lambda: LinearOperator.from_function(_double, SHAPE, adjoint=_double),
    "matrix": lambda: LinearOperator.from_matrix(_kernel(6, 140).numpy(), SHAPE, out_shape=(2, 3)),
    "sparse matrix": lambda: LinearOperator.from_matrix(scipy.sparse.random(30, 140, 0.1, rng=0), SHAPE),
    "projection": lambda: Projection((1, 5, 6), theta=_kernel(4, 3), t=4 * _kernel(4, 3)),
    "fan beam": lambda: FanBeamTomography(SHAPE, angles_deg=torch.arange(0, 360, 30.0), source_distance=15),
    "fan beam, few detectors": lambda: FanBeamTomography(
        (1, 8, 8), angles_deg=[3.0, 50], source_distance=5, detector_distance=2, pixel_size=0.5, detectors=5
    ),
    "grayscale": lambda: Grayscale((3, 4, 5)),
    "grayscale, own weights": lambda: Grayscale((2, 4, 5), weights=(1.0, -3.0)),
    "demosaic": lambda: Demosaic((3, 5, 6)),
    "mri": lambda: MRI((2, 7, 8), mask=cartesian_mask((7, 8), acceleration=2)),
    "mri, real image": lambda: MRI((1, 7, 8), mask=random_mask((7, 8), missing=0.5)),
    "mri, coils": lambda: MRI((2, 6, 8), mask=cartesian_mask((6, 8), acceleration=2), sensitivities=_coils(3, 6, 8)),
    "mri, coils, real image": lambda: MRI((1, 6, 7), mask=torch.ones(6, 7), sensitivities=_coils(2, 6, 7)),
    "space-varying blur": lambda: SpaceVaryingBlur(
        SHAPE, kernels=_kernel(4, 3, 4), weights=tile_weights(SHAPE[1:], (2, 2)), border="zero"
    ),
    "compressed sensing": lambda: CompressedSensing(SHAPE, ratio=0.3),
    "compressed sensing, dense": lambda: CompressedSensing((1, 4, 5), measurements=7, kind="dense"),
    "phase retrieval": lambda: PhaseRetrieval(SHAPE),
    "high dynamic range": lambda: HighDynamicRange(SHAPE),
    "gamma curve": lambda: GammaCurve(SHAPE),
    "gamma curve, brighter": lambda: GammaCurve(SHAPE, gamma=0.45),
    "nonlinear blur": lambda: NonlinearBlur(SHAPE, kernel=gaussian_kernel(0.8)),
    "jpeg": lambda: JPEG((3, 9, 17), quality=30),
    "jpeg, gray": lambda: JPEG((1, 8, 8), quality=90),
    "jpeg, 4:2:0": lambda: JPEG((3, 19, 21), tables=[[3] * 64, [5] * 64], subsampling="4:2:0", orientation=6),
    "jpeg coefficients": lambda: JPEGCoefficients(
        JPEG((3, 19, 21), tables=[[3] * 64, [5] * 64], subsampling="4:2:0", orientation=6)
    ),
    "third party": FlipGain,
    "third party, not linear": Square,
}
