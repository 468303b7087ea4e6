"""The standard tasks: from the size of an image, its index and a seed to a measurement, `y = A(x) + s n`.

All random parts (a mask, the path of a camera, the noise) come from streams that depend on

    (seed, index of the image, name of the task)

alone. So every solver gets the same bits, at any time, on every machine, and whichever other solvers run.

Intensities are in [0, 1]. Most of the literature has [-1, 1], where the published noise of the standard tasks is 0.05;
for an operator of gain 1 that is 0.025 here. Sizes in pixels are published for 256 x 256; the docstrings say which of
them scale with the image.
"""

from __future__ import annotations

import abc
import dataclasses
import zlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_number, integer
from ..errors import UserError
from ..noise import Gaussian
from ..operators import (
    Blur,
    Downsample,
    HighDynamicRange,
    Identity,
    Inpainting,
    Operator,
    PhaseRetrieval,
    Tomography,
    box_mask,
    gaussian_kernel,
    motion_kernel,
    random_mask,
)
from ..problem import Problem
from ..registry import tasks
from ..specs import Spec, build, parse_spec
from ..streams import generator

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """An inverse problem for images of any size: a frozen dataclass of options, with a method that draws the operator.

    Attributes:
        noise: standard deviation `s` of the Gaussian noise, in units of the measurement.

    Example:
        >>> Denoising(noise=0.1).problem(torch.zeros(1, 1, 8, 8), image=3, seed=0).measurement.std() < 0.2
        tensor(True)
    """

    noise: float = 0.025

    def __post_init__(self) -> None:
        check_number(self, "noise", 0)

    @abc.abstractmethod
    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the operator on images of this shape `(C, H, W)`; random parts are drawn from `generator`."""

    def problem(self, x: Tensor, *, image: int, seed: int) -> Problem:
        """Return the problem of an image.

        Args:
            x: the clean image, `(1, C, H, W)`, in [0, 1].
            image: its index, from 0.
            seed: non-negative integer.

        Raises:
            ValueError: more than one image, or an image of a size that does not fit the task.
        """
        if x.ndim != 4 or x.shape[0] != 1:
            raise ValueError(f"{type(self).__name__}: x: expected one image (1, C, H, W), got {tuple(x.shape)}")
        name = zlib.crc32(type(self).__name__.encode())
        shape = (int(x.shape[1]), int(x.shape[2]), int(x.shape[3]))
        operator = self.operator(shape, generator(seed, image, name, 0))
        law = Gaussian(float(self.noise))
        y = law.sample(operator(x.cpu()), generator(seed, image, name, 1))
        return Problem(operator, law, y, (image,)).to(x.device)


def make_task(spec: Spec | str) -> Task:
    """Return a task from `name:option=value,...`.

    Raises:
        ValueError: an unknown name or option, with the nearest known one, or an invalid value.

    Example:
        >>> make_task("random_inpainting:missing=0.92")
        RandomInpainting(noise=0.025, missing=0.92)
    """
    s = parse_spec(spec) if isinstance(spec, str) else spec
    cls = tasks[s.name]
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise UserError(f"task {s.name!r}: expected a subclass of invdiff.benchmarks.tasks.Task, got {cls!r}")
    made: Task = build(cls, s.options)
    return made


@dataclass(frozen=True, kw_only=True)
class Denoising(Task):
    """The image with noise.

    Attributes:
        noise: by default 0.1, which is 0.2 on [-1, 1], and 25.5 of 255 levels.
    """

    noise: float = 0.1

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the identity."""
        return Identity(shape)


@dataclass(frozen=True, kw_only=True)
class BoxInpainting(Task):
    """A box of missing pixels at a random place.

    Attributes:
        noise: 0.025, published as 0.05 on [-1, 1].
        box: side of the box as a fraction of the image's: 128 of 256.
        margin: least distance from the border, as a fraction of the image's side: 16 of 256.
    """

    box: float = 0.5
    margin: float = 0.0625

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.box < 1 and self.margin >= 0 and self.box + 2 * self.margin <= 1):
            raise UserError(
                "BoxInpainting: box, margin: expected shares of the image with box + 2 margin <= 1, "
                f"got {self.box} and {self.margin}"
            )

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the operator with a uniformly random place of the box."""
        sides, corner = [], []
        for n in shape[1:]:
            side, edge = max(1, round(self.box * n)), round(self.margin * n)
            free = max(0, n - side - 2 * edge)
            sides.append(side)
            corner.append(min(edge, (n - side) // 2) + int(torch.randint(free + 1, (), generator=generator)))
        mask = box_mask((shape[1], shape[2]), size=(sides[0], sides[1]), corner=(corner[0], corner[1]))
        return Inpainting(mask, channels=shape[0])


@dataclass(frozen=True, kw_only=True)
class RandomInpainting(Task):
    """Pixels that are missing independently, the same in all channels.

    Attributes:
        noise: 0.025, published as 0.05 on [-1, 1].
        missing: probability of a missing pixel; 0.7 and 0.92 are usual.
    """

    missing: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.missing < 1:
            raise UserError(f"RandomInpainting: missing: expected a share in [0, 1), got {self.missing}")

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the operator with a random mask."""
        mask = random_mask((shape[1], shape[2]), missing=self.missing, seed=_seed(generator))
        return Inpainting(mask, channels=shape[0])


@dataclass(frozen=True, kw_only=True)
class SuperResolution(Task):
    """Bicubic downsampling with antialiasing.

    Attributes:
        noise: 0.025, published as 0.05 on [-1, 1].
        factor: of the reduction of each side, which is rounded up.
    """

    factor: int = 4

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the downsampling."""
        return Downsample(shape, factor=self.factor, kernel="bicubic")


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Task):
    """Gaussian blur with reflected borders.

    Attributes:
        noise: 0.025, published as 0.05 on [-1, 1].
        sigma: standard deviation in pixels.
        size: side of the kernel in pixels; for a smaller image, the size of the image.
    """

    sigma: float = 3.0
    size: int = 61

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the blur."""
        return Blur(shape, kernel=gaussian_kernel(self.sigma, _fitting(self.size, shape)), border="reflect")


@dataclass(frozen=True, kw_only=True)
class MotionBlur(Task):
    """Blur of a moving camera along a random path, with reflected borders.

    Attributes:
        noise: 0.025, published as 0.05 on [-1, 1].
        size: side of the kernel in pixels; for a smaller image, the size of the image.
        intensity: curvature of the path, in [0, 1].
    """

    size: int = 61
    intensity: float = 0.5

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the blur of a random path, half as long as the kernel's side."""
        kernel = motion_kernel(_fitting(self.size, shape), intensity=self.intensity, seed=_seed(generator))
        return Blur(shape, kernel=kernel, border="reflect")


@dataclass(frozen=True, kw_only=True)
class _ParallelBeam(Task):
    """Parallel-beam projections at evenly spaced angles; lengths are in sides of the image."""

    noise: float = 0.005
    views: int = 23

    span: ClassVar[float] = 180.0

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{type(self).__name__}: views", self.views, 1, expected="a positive number of them")

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the projections."""
        angles = [self._degrees() * i / self.views for i in range(self.views)]
        return Tomography(shape, angles_deg=angles, pixel_size=1 / max(shape[1:]))

    def _degrees(self) -> float:
        return self.span


@dataclass(frozen=True, kw_only=True)
class SparseViewCT(_ParallelBeam):
    """Tomography from few views over half a turn.

    Attributes:
        noise: of the line integrals, in units of a white line as long as the image's side; by default 0.005.
        views: their number; 23 is published for 320 x 320.
    """


@dataclass(frozen=True, kw_only=True)
class LimitedAngleCT(_ParallelBeam):
    """Tomography from a part of half a turn.

    Attributes:
        noise: of the line integrals, in units of a white line as long as the image's side; by default 0.005.
        views: their number.
        degrees: range of the angles, from 0; 180 is the full range.
    """

    views: int = 90
    degrees: float = 90.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.degrees <= 180:
            raise UserError(f"LimitedAngleCT: degrees: expected an angle in (0, 180], got {self.degrees}")

    def _degrees(self) -> float:
        return self.degrees


@dataclass(frozen=True, kw_only=True)
class PhaseRetrievalTask(Task):
    """The magnitude of the oversampled Fourier transform.

    Attributes:
        noise: 0.025, published as 0.05 on [-1, 1].
        oversampling: the zero padding on each side is one eighth of it, times the side: 2 makes 256 pixels 384.
    """

    oversampling: float = 2.0

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the transform's magnitude."""
        return PhaseRetrieval(shape, oversampling=self.oversampling)


@dataclass(frozen=True, kw_only=True)
class HighDynamicRangeTask(Task):
    """Contrast beyond the range of the sensor.

    Attributes:
        noise: 0.025, published as 0.05 on [-1, 1].
        gain: of the contrast about middle gray; 2 is the published `clip(2 x, -1, 1)` on [-1, 1].
    """

    gain: float = 2.0

    def operator(self, shape: Shape, generator: torch.Generator) -> Operator:
        """Return the clipping."""
        return HighDynamicRange(shape, gain=self.gain)


def options_of(task: Task) -> dict[str, object]:
    """Return all options of a task by name."""
    return {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}


def _seed(g: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=g))


def _fitting(size: int, shape: Shape) -> int:
    """Return the odd side of a kernel, at most that of the image."""
    least = min(shape[1:])
    return min(size, least - 1 + least % 2)
