"""Line integrals through an image, as a sparse matrix that uses the symmetries of the square.

A ray is the line `x cos(theta) + y sin(theta) = t` (x to the right, y upwards, origin in the image's centre, lengths in
pixels). With `m = max(|cos|, |sin|)` and `o = min(|cos|, |sin|)`, the length of a ray inside a pixel of side 1 is a
trapezoid of the distance `d` between the ray and the pixel's centre,

    w(d) = clip(((m + o) / 2 - d) / o, 0, 1) / m

so a ray crosses at most two pixels in each row (or in each column, if it is closer to the horizontal).

A flip, a transposition or a half turn `g` of the image maps rays to rays: `(A x)(ray) = (A g x)(g ray)`. Rays that
coincide under the group share one row of the matrix, which is then applied to the images `g x` side by side. Evenly
spaced angles on a square image leave an eighth of the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..numerics.constants import Movable, linear
from ..numerics.sparse import csr_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

Group = tuple[tuple[bool, bool, bool], ...]
"""Elements of a symmetry group: transpose?, then flip columns?, then flip rows?"""

_ALONE: Group = ((False, False, False),)
_TURN: Group = (*_ALONE, (False, True, True))
_FLIPS: Group = (*_TURN, (False, True, False), (False, False, True))
_SQUARE: Group = (*_FLIPS, *((True, c, r) for _, c, r in _FLIPS))


class Rays(Movable):
    """The map from an image to its integrals along rays, and its transpose.

    Args:
        size: height and width of the image in pixels.
        theta: direction of each ray's normal in radians, `(R,)`.
        t: distance of each ray from the centre in pixels, signed, `(R,)`.
        length: side of a pixel, the unit of the integrals.
        memory: largest size in bytes of the stored matrix and its transpose; larger ones are computed in blocks at each
            use.
    """

    def __init__(
        self,
        size: tuple[int, int],
        theta: NDArray[np.float64],
        t: NDArray[np.float64],
        length: float,
        memory: int,
    ) -> None:
        self.size, self.theta, self.t, self.length, self.memory = size, theta, t, length, memory
        h, w = size
        candidates = [_ALONE, _TURN, _FLIPS] + ([_SQUARE] if h == w else [])
        # One more column costs about an eighth of reading the matrix again.
        best = min((_reduce(theta, t, g) for g in candidates), key=lambda r: len(r.theta) * (1 + len(r.group) / 8))
        self._reduced = best
        self._device = torch.device("cpu")
        self._blocks: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        self._tables: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device | str) -> Rays:
        """Return the map on another device."""
        if torch.device(device) == self._device:
            return self
        new = Rays.__new__(Rays)
        new.__setstate__(self.__getstate__())
        new._device = torch.device(device)
        return new

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_blocks": {}, "_tables": None}  # the matrix is larger than its inputs

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)

    @property
    def bytes(self) -> int:
        """Return the estimated size of the matrix and its transpose in float32."""
        return int(len(self._reduced.theta) * 1.3 * max(self.size) * 16)

    def project(self, x: Tensor) -> Tensor:
        """Return the integrals `(N, R)` of images `(N, H, W)`."""
        return linear(x, self._project, self._backproject)

    def backproject(self, y: Tensor) -> Tensor:
        """Return the transpose applied to `(N, R)`: images `(N, H, W)`."""
        return linear(y, self._backproject, self._project)

    def _project(self, x: Tensor) -> Tensor:
        count, group = len(x), self._reduced.group
        slots, _ = self._slots(x.device)
        views = torch.stack([_act(g, x) for g in group]).reshape(len(group) * count, -1)
        columns = views.T.contiguous()
        rows = torch.cat([a @ columns for a, _ in self._matrices(x)])
        flat = rows.reshape(-1, count)  # one line for each pair (base ray, group element)
        return flat[slots].T.contiguous()

    def _backproject(self, y: Tensor) -> Tensor:
        count, group = len(y), self._reduced.group
        _, sources = self._slots(y.device)
        padded = torch.cat([y.T, y.new_zeros(1, count)])
        rows = padded[sources].reshape(-1, len(group) * count)
        columns: Tensor | None = None
        start = 0
        for _, at in self._matrices(y):
            part = at @ rows[start : start + at.shape[1]]
            start += at.shape[1]
            columns = part if columns is None else columns + part
        assert columns is not None
        views = columns.T.reshape(len(group), count, *self.size)
        return torch.stack([_undo(g, v) for g, v in zip(group, views, strict=True)]).sum(0)

    def _slots(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the pair (base ray, group element) of each ray, and the ray of each pair, or R for none."""
        if self._tables is None or self._tables[0].device != device:
            r = self._reduced
            slots = r.base * len(r.group) + r.element
            sources = np.full(len(r.theta) * len(r.group), len(slots))
            sources[slots] = np.arange(len(slots))
            with torch.inference_mode(False):
                self._tables = torch.from_numpy(slots).to(device), torch.from_numpy(sources).to(device)
        return self._tables

    def _matrices(self, like: Tensor) -> list[tuple[Tensor, Tensor]] | _Blocks:
        """Return blocks of rows of the matrix, with their transposes."""
        if self.bytes > self.memory:
            return _Blocks(self, like)
        if like.dtype not in self._blocks or self._blocks[like.dtype][0][0].device != like.device:
            self._blocks[like.dtype] = [self._build(slice(None), like)]
        return self._blocks[like.dtype]

    def _build(self, rows: slice, like: Tensor) -> tuple[Tensor, Tensor]:
        from scipy.sparse import csr_matrix

        r = self._reduced
        values, columns, starts = ray_weights(self.size, r.theta[rows], r.t[rows])
        values *= np.float32(self.length)
        a = csr_matrix((values, columns, starts), shape=(len(starts) - 1, self.size[0] * self.size[1]))
        at = a.T.tocsr()
        with torch.inference_mode(False):
            one, two = ((m.data, m.indices, m.indptr, m.shape) for m in (a, at))
            return csr_tensor(one, like), csr_tensor(two, like)


class _Blocks:
    """Blocks of rows of a matrix that is too large to keep, built one after the other."""

    def __init__(self, rays: Rays, like: Tensor) -> None:
        self.rays, self.like = rays, like

    def __iter__(self):  # type: ignore[no-untyped-def]
        total = len(self.rays._reduced.theta)
        step = max(1, int(total * min(1.0, self.rays.memory / self.rays.bytes)))
        for start in range(0, total, step):
            yield self.rays._build(slice(start, start + step), self.like)


class _Reduced:
    """Rays up to symmetry: base rays, and for each ray its base and the group element that maps it there."""

    def __init__(
        self,
        group: Group,
        theta: NDArray[np.float64],
        t: NDArray[np.float64],
        base: NDArray[np.int64],
        element: NDArray[np.int64],
    ) -> None:
        self.group, self.theta, self.t, self.base, self.element = group, theta, t, base, element


def _reduce(theta: NDArray[np.float64], t: NDArray[np.float64], group: Group) -> _Reduced:
    nx, ny = np.cos(theta), np.sin(theta)
    angles, offsets, keys = [], [], []
    for transpose, columns, rows in group:
        gx, gy = (-ny, -nx) if transpose else (nx, ny)
        angle = np.arctan2(-gy if rows else gy, -gx if columns else gx)
        ticks = np.round(angle / np.pi * 2**31).astype(np.int64)
        wrap = (ticks < 0) | (ticks >= 2**31)  # the line (theta + pi, -t) is the line (theta, t)
        offset = np.where(wrap, -t, t)
        ticks = ticks % 2**31
        angles.append(np.where(wrap, angle + np.where(angle < 0, np.pi, -np.pi), angle))
        offsets.append(offset)
        keys.append((ticks << 32) + np.round(offset * 2**20).astype(np.int64) + 2**31)
    table = np.stack(keys)
    element = table.argmin(0)
    every = np.arange(len(theta))
    _, first, base = np.unique(table[element, every], return_index=True, return_inverse=True)
    return _Reduced(
        group, np.stack(angles)[element, every][first], np.stack(offsets)[element, every][first], base, element
    )


def _act(g: tuple[bool, bool, bool], x: Tensor) -> Tensor:
    transpose, columns, rows = g
    axes = [a for a, flip in ((-1, columns), (-2, rows)) if flip]
    return (x.mT if transpose else x).flip(axes)


def _undo(g: tuple[bool, bool, bool], x: Tensor) -> Tensor:
    transpose, columns, rows = g
    x = x.flip([a for a, flip in ((-1, columns), (-2, rows)) if flip])
    return x.mT if transpose else x


def ray_weights(
    size: tuple[int, int], theta: NDArray[np.float64], t: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """Return the lengths of rays inside the pixels of an image, in compressed rows.

    Args:
        size: height and width in pixels.
        theta: directions of the normals, `(R,)`.
        t: signed distances from the centre, `(R,)`.

    Returns:
        Lengths, indices of pixels, and the beginning of each ray, `(R + 1,)`.
    """
    h, w = size
    cos, sin = np.cos(theta), np.sin(theta)
    values, columns = [], []
    counts = np.zeros(len(theta) + 1, np.int64)
    chunk = max(1, 2**19 // max(h, w))
    for start in range(0, len(theta), chunk):
        part = slice(start, start + chunk)
        steep = (np.abs(cos[part]) >= np.abs(sin[part]))[:, None]  # the ray crosses every row, else every column
        c, s, d = cos[part, None], sin[part, None], t[part, None]
        main, other = np.where(steep, c, s), np.where(steep, s, c)
        step = np.arange(max(h, w))
        along = np.where(steep, (h - 1) / 2 - step, step - (w - 1) / 2)
        position = (d - along * other) / main
        position = np.where(steep, position + (w - 1) / 2, (h - 1) / 2 - position)
        low = np.floor(position)
        fraction = position - low
        m, o = np.abs(main), np.maximum(np.abs(other), 1e-9)  # at o = 0 a ray on an edge counts half for both pixels
        near = np.clip((0.5 * (m + o) - m * fraction) / o, 0, 1) / m
        far = np.clip((0.5 * (m + o) - m * (1 - fraction)) / o, 0, 1) / m
        weight = np.stack([near, far], -1)
        index = low.astype(np.int32)[..., None] + np.arange(2, dtype=np.int32)
        inside = (weight > 0) & (index >= 0) & (index < np.where(steep, w, h)[..., None])
        inside &= (step < np.where(steep, h, w))[..., None]
        where = step.astype(np.int32)[:, None]
        pixel = np.where(steep[..., None], where * w + index, index * w + where)
        values.append(weight[inside].astype(np.float32))
        columns.append(pixel[inside].astype(np.int32))
        counts[start + 1 : start + 1 + len(c)] = inside.sum((1, 2))
    return np.concatenate(values), np.concatenate(columns), counts.cumsum()
