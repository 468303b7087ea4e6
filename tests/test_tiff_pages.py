"""One page of a TIFF stack is decoded, not all of them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from invdiff.images import load_image

RNG = np.random.default_rng(2)
STACK = RNG.integers(0, 65536, (2, 3, 4, 20, 30), dtype=np.uint16)  # time, z, channel, row, column
COLOURS = RNG.integers(0, 65536, (5, 20, 30, 3), dtype=np.uint16)

FILES: dict[str, tuple[Any, dict[str, Any]]] = {
    "pages": (STACK, {"photometric": "minisblack"}),
    "deflate": (STACK, {"photometric": "minisblack", "compression": "zlib"}),
    "tiles": (STACK, {"photometric": "minisblack", "tile": (16, 16)}),
    "ome": (STACK, {"photometric": "minisblack", "ome": True, "metadata": {"axes": "TZCYX"}}),
    "imagej": (STACK, {"imagej": True, "metadata": {"axes": "TZCYX"}}),
    "big endian": (STACK, {"photometric": "minisblack", "byteorder": ">"}),
    "colours": (COLOURS, {"photometric": "rgb"}),
    "planes": (COLOURS.transpose(0, 3, 1, 2), {"photometric": "rgb", "planarconfig": "separate"}),
}


def written(tmp_path: Path, name: str) -> str:
    array, options = FILES[name]
    file = tmp_path / ("x.ome.tif" if "ome" in options else "x.tif")
    tifffile.imwrite(file, np.ascontiguousarray(array), **options)
    return str(file)


@pytest.mark.parametrize("name", FILES)
def test_one_page_is_read_without_the_others(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, name)

    def whole(self: Any, *args: Any, **options: Any) -> Any:
        raise AssertionError("the whole stack was decoded")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", whole)
    coloured = name in ("colours", "planes")
    flat = COLOURS.transpose(0, 3, 1, 2) if coloured else STACK.reshape(-1, 1, 20, 30)
    for i in (0, 3, len(flat) - 1):
        assert np.array_equal(np.rint(load_image(f"{file}#{i}")[0].numpy() * 65535.0), flat[i])


def test_axes_in_another_order_are_still_read(tmp_path: Path) -> None:
    volume = RNG.integers(0, 65536, (20, 30, 4), dtype=np.uint16)  # rows first: no page is a picture
    tifffile.imwrite(tmp_path / "x.tif", volume, photometric="minisblack", metadata={"axes": "YXZ"})
    with tifffile.TiffFile(tmp_path / "x.tif") as tif:
        assert tif.series[0].axes == "YXZ"
    assert np.array_equal(np.rint(load_image(f"{tmp_path / 'x.tif'}#2")[0, 0].numpy() * 65535.0), volume[..., 2])


def test_the_memory_is_that_of_one_page(tmp_path: Path) -> None:
    many = np.zeros((200, 128, 128), np.uint16)
    many[150] = 7
    tifffile.imwrite(tmp_path / "x.tif", many, photometric="minisblack", compression="zlib")
    load_image(f"{tmp_path / 'x.tif'}#0")  # imports
    tracemalloc.start()
    try:
        found = load_image(f"{tmp_path / 'x.tif'}#150")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(np.rint(found[0, 0].numpy() * 65535.0), many[150])
    assert peak < many.nbytes / 4  # 6.5 MB for all pages, 33 kB for one, and the table of pages
