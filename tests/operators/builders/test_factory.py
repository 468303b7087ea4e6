from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from invdiff.operators import Blur, Inpainting, Tomography, gaussian_kernel
from invdiff.operators.builders import BUILDERS
from invdiff.operators.builders.factory import make_operator, make_operator_for_measurement
from invdiff.registry import operators

CASES: list[tuple[str, tuple[int, int, int], dict[str, Any]]] = [
    ("identity", (3, 17, 21), {}),
    ("inpainting", (3, 17, 21), {"box": True}),
    ("inpainting", (3, 17, 21), {"box": 0.3, "corner": (2, 5)}),
    ("inpainting", (1, 17, 21), {"random": 0.7}),
    ("blur", (3, 17, 21), {"sigma": 1}),
    ("blur", (3, 17, 21), {"sigma": (1, 2.0), "size": 5, "border": "circular"}),
    ("blur", (3, 37, 41), {"kernel": "motion", "length": 15, "angle": 30}),
    ("blur", (3, 37, 41), {"kernel": "motion", "size": 15, "intensity": 0.5, "border": "valid"}),
    ("blur", (3, 37, 41), {"kernel": "uniform", "size": 4, "border": "valid"}),
    ("downsample", (3, 36, 40), {"factor": 4}),
    ("downsample", (3, 36, 40), {"factor": 4, "kernel": "average"}),
    ("grayscale", (3, 8, 9), {}),
    ("demosaic", (3, 8, 9), {"pattern": "bggr"}),
    ("mri", (1, 8, 16), {"acceleration": 2}),
    ("space_varying_blur", (3, 36, 40), {"sigma": (0.5, 2.0)}),
    ("nonlinear_blur", (3, 36, 40), {"sigma": 1.0}),
    ("high_dynamic_range", (3, 8, 8), {"gain": 3}),
    ("phase_retrieval", (3, 16, 21), {}),
    ("phase_retrieval", (1, 16, 21), {"oversampling": 8}),
    ("gamma_curve", (3, 8, 8), {}),
    ("jpeg", (3, 16, 16), {"quality": 20}),
    ("jpeg", (3, 17, 30), {"quality": 20, "subsampling": "4:2:0"}),
]


@pytest.mark.parametrize(("name", "shape", "options"), CASES)
def test_image_to_measurement_and_back(name: str, shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    a = make_operator(name, shape, options)
    assert a.in_shape == shape
    b = make_operator_for_measurement(name, a.out_shape, options)
    assert (b.in_shape, b.out_shape) == (a.in_shape, a.out_shape)
    x = torch.rand(1, *shape)
    assert torch.equal(a(x), b(x))


def test_tomography_takes_a_square_or_the_size_given() -> None:
    a = make_operator_for_measurement("tomography", (1, 12, 40), {"angles": 12})
    assert a.in_shape == (1, 40, 40)
    assert isinstance(a, Tomography)
    assert a.angles_deg.tolist() == [15.0 * i for i in range(12)]
    b = make_operator_for_measurement("tomography", (1, 12, 40), {"angles": 12, "image_size": (20, 30), "stop": 90})
    assert b.in_shape == (1, 20, 30)
    with pytest.raises(ValueError, match="give 12 angles, one for each row"):
        make_operator_for_measurement("tomography", (1, 12, 40), {"angles": 13})


def test_odd_image_size_for_downsampling() -> None:
    options = {"factor": 4, "image_size": [37, 41]}
    assert make_operator_for_measurement("downsample", (3, 10, 11), options).in_shape == (3, 37, 41)
    with pytest.raises(ValueError, match="image_size"):
        make_operator_for_measurement("downsample", (3, 10, 11), {"factor": 4, "image_size": [60, 60]})


def test_mask_given_with_the_image() -> None:
    mask = torch.rand(5, 6) > 0.5
    a = make_operator("inpainting", (3, 5, 6), {}, mask=mask)
    assert isinstance(a, Inpainting)
    assert torch.equal(a.mask, mask[None])
    with pytest.raises(ValueError, match="expected 4 x 6 pixels"):
        make_operator("inpainting", (3, 4, 6), {}, mask=mask)
    with pytest.raises(ValueError, match="it takes none"):
        make_operator("blur", (3, 5, 6), {"sigma": 1}, mask=mask)


def test_seed_draws_the_mask() -> None:
    one, two, other = (make_operator("inpainting", (1, 9, 9), {"random": 0.5}, seed=s) for s in (3, 3, 4))
    x = torch.ones(1, 1, 9, 9)
    assert torch.equal(one(x), two(x))
    assert not torch.equal(one(x), other(x))


def test_files(tmp_path: Path) -> None:
    k = gaussian_kernel(1.0, 5)
    np.save(tmp_path / "k.npy", k.numpy())
    Image.fromarray((255 * k / k.max()).round().byte().numpy()).save(tmp_path / "k.png")
    a = make_operator("blur", (1, 9, 9), {"kernel": str(tmp_path / "k.npy")})
    b = make_operator("blur", (1, 9, 9), {"kernel": str(tmp_path / "k.png")})
    assert isinstance(a, Blur)
    assert isinstance(b, Blur)
    torch.testing.assert_close(a.kernel[0], k)
    assert float(b.kernel.sum()) == pytest.approx(1)
    mask = np.zeros((9, 9), np.uint8)
    mask[2:] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    np.save(tmp_path / "m.npy", mask > 0)
    for name in ("m.png", "m.npy"):
        c = make_operator("inpainting", (3, 9, 9), {"mask": str(tmp_path / name)})
        assert isinstance(c, Inpainting)
        assert torch.equal(c.mask[0], torch.from_numpy(mask > 0))
    np.savetxt(tmp_path / "angles.txt", [0.0, 10.0, 50.0])
    d = make_operator("tomography", (1, 9, 9), {"angles": str(tmp_path / "angles.txt")})
    assert d.out_shape[1] == 3
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        make_operator("blur", (1, 9, 9), {"kernel": str(tmp_path / "broken.png")})


USER = """
import torch
from invdiff.operators import LinearOperator, Operator

class Gain(LinearOperator):
    def __init__(self, in_shape, strength=2.0):
        self.in_shape = self.out_shape = in_shape
        self.strength = strength
    def forward(self, x):
        return self.strength * x

class Fixed(Operator):
    in_shape = out_shape = (1, 4, 4)
    def forward(self, x):
        return x ** 2

class Needy(Operator):
    def __init__(self, in_shape, power):
        self.in_shape = self.out_shape = in_shape
    def forward(self, x):
        return x

class Formless(Operator):
    def __init__(self, shape):
        self.in_shape = shape
    def forward(self, x):
        return x

def nothing():
    return 3
"""


def test_operators_from_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(USER)
    gain = make_operator(f"{path}:Gain", (3, 5, 6), {"strength": 3})
    assert float(gain(torch.ones(1, 3, 5, 6)).mean()) == 3
    assert make_operator_for_measurement(f"{path}:Gain", (3, 5, 6)).in_shape == (3, 5, 6)
    assert make_operator(f"{path}:Fixed", (1, 4, 4)).in_shape == (1, 4, 4)
    for target, options, message in (
        ("Fixed", {}, "give an image of that size"),
        ("Gain", {"strenght": 3}, "did you mean 'strength'"),
        ("Needy", {}, "power: expected a value"),
        ("Gian", {}, "did you mean 'Gain'"),
    ):
        with pytest.raises(ValueError, match=message):
            make_operator(f"{path}:{target}", (3, 5, 6), options)
    with pytest.raises(TypeError, match="got no out_shape; set it in __init__"):
        make_operator(f"{path}:Formless", (3, 5, 6))
    with pytest.raises(TypeError, match="expected an Operator, got int"):
        make_operator(f"{path}:nothing", (3, 5, 6))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("blurr", {}, "did you mean 'blur'"),
        ("blur", {"sigm": 3}, "did you mean 'sigma'"),
        ("blur", {}, "expected the option sigma or kernel"),
        ("blur", {"sigma": -1}, "blur: sigma: expected a positive"),
        ("blur", {"sigma": [2, 0]}, "blur: sigma: expected a positive"),
        ("blur", {"sigma": 2, "size": 0}, "blur: size: expected a positive"),
        ("blur", {"sigma": "a"}, "sigma"),
        ("blur", {"kernel": "gausian"}, "did you mean 'gaussian'"),
        ("blur", {"kernel": "none.png"}, "found none"),
        ("blur", {"kernel": "uniform"}, "size"),
        ("blur", {"sigma": 2, "length": 5}, "does not go with"),
        ("blur", {"sigma": 2, "border": "mirror"}, "border"),
        ("downsample", {}, "factor"),
        ("downsample", {"factor": 2.5}, "factor"),
        ("downsample", {"factor": 2, "kernel": "bicubc"}, "did you mean 'bicubic'"),
        ("inpainting", {}, "box, random and mask"),
        ("inpainting", {"box": 3, "random": 0.4}, "box and random"),
        ("inpainting", {"random": 70}, "probability"),
        ("inpainting", {"random": 1.0}, "all of them missing"),
        ("inpainting", {"random": 0.5, "corner": (1, 1)}, "goes with the option box"),
        ("tomography", {}, "angles"),
        ("tomography", {"angles": -1}, "angles"),
        ("identity", {"a": 1}, "unknown option"),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_operator(name, (1, 16, 16), options)
    with pytest.raises(ValueError, match=message):
        make_operator_for_measurement(name, (1, 16, 16), options)


def test_other_geometries() -> None:
    a = make_operator("fan_beam", (1, 16, 16), {"angles": 8})
    assert make_operator_for_measurement("fan_beam", a.out_shape, {"angles": 8, "image_size": 16}).in_shape == (
        1,
        16,
        16,
    )
    assert make_operator("phase_retrieval", (3, 16, 16)).out_shape == (3, 24, 24)
    one, other = (make_operator("compressed_sensing", (1, 8, 8), {"ratio": 0.25}, seed=s) for s in (0, 1))
    assert one.out_shape == (16,)
    x = torch.rand(1, 1, 8, 8)
    assert not torch.equal(one(x), other(x))


def test_every_name_makes_an_operator() -> None:
    needed: dict[str, dict[str, Any]] = {
        "inpainting": {"box": True}, "blur": {"sigma": 1}, "downsample": {"factor": 2}, "tomography": {"angles": 4},
        "fan_beam": {"angles": 4}, "mri": {"acceleration": 2}, "compressed_sensing": {"ratio": 0.5},
        "nonlinear_blur": {"sigma": 1}, "jpeg": {"quality": 50},
    }  # fmt: skip
    builtin = [n for n, e in operators.entries().items() if e.source == "built in"]
    assert set(needed) <= set(builtin)
    for name in builtin:
        channels = 1 if name == "mri" else 3
        a = make_operator(name, (channels, 16, 16), needed.get(name, {}))
        assert a(torch.rand(2, channels, 16, 16)).shape == (2, *a.out_shape)


def test_every_builder_is_registered_under_its_name() -> None:
    assert set(BUILDERS) <= set(operators)


@pytest.mark.parametrize(("name", "shape", "options"), [*CASES, ("tomography", (1, 6, 13), {"angles": 6})])
def test_shapes_follow_from_options_that_stay_as_they_are(
    name: str, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    if name in BUILDERS:
        given = MappingProxyType({**BUILDERS[name].inferred(shape), **options})  # which nothing can be written to
        assert len(BUILDERS[name].image_shape(shape, given)) == 3
    kept = dict(options)
    for _ in range(2):
        make_operator(name, shape, options)
    assert options == kept


def test_a_sinogram_decides_the_detectors_unless_they_are_given() -> None:
    options = {"angles": 6}
    assert [make_operator_for_measurement("tomography", (1, 6, n), options).out_shape for n in (13, 9)] == [
        (1, 6, 13),
        (1, 6, 9),
    ]
    with pytest.raises(ValueError, match="expected measurements"):
        make_operator_for_measurement("tomography", (1, 6, 13), {**options, "detectors": 12})


def test_a_kernel_of_counts_is_normalised_in_every_format(tmp_path: Path) -> None:
    counts = np.array([[1.0, 2, 1], [2, 6, 2], [1, 2, 1]]) * 50
    np.save(tmp_path / "k.npy", counts)
    np.savetxt(tmp_path / "k.txt", counts)
    Image.fromarray(counts.astype(np.float32)).save(tmp_path / "k.tif")
    for name in ("k.npy", "k.txt", "k.tif"):
        given = {"kernel": str(tmp_path / name)}
        found = make_operator("blur", (1, 9, 9), given)
        torch.testing.assert_close(found.kernel[0], torch.from_numpy(counts / 900))  # type: ignore[attr-defined]
        kept = make_operator("blur", (1, 9, 9), {**given, "normalize": False})
        assert torch.equal(kept.kernel[0], torch.from_numpy(counts))  # type: ignore[attr-defined]
    np.save(tmp_path / "k.npy", counts - 101)
    with pytest.raises(ValueError, match=r"cannot be normalised; its sum is .*; normalize=false keeps it"):
        make_operator("blur", (1, 9, 9), {"kernel": str(tmp_path / "k.npy")})
