from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest

from invdiff.commands.options import describe
from invdiff.registry import operators
from invdiff.schedules import karras_levels
from invdiff.solvers import MCGDiff
from invdiff.solvers.common.particles import multinomial
from invdiff.specs import ALIASES, Where, build, parse_operator, parse_spec


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("blur", "blur", {}),
        ("blur:", "blur", {}),
        ("blur:sigma=3", "blur", {"sigma": 3}),
        ("dps:steps=100,scale=1e-1,eta=0.5", "dps", {"steps": 100, "scale": 0.1, "eta": 0.5}),
        ("inpainting:box=true, corner=[3, 4]", "inpainting", {"box": True, "corner": (3, 4)}),
        ("a:b=none,c=FALSE,d=text,e=1:2:3", "a", {"b": None, "c": False, "d": "text", "e": "1:2:3"}),
        ("blur:kernel=dir/k.npy,border=valid", "blur", {"kernel": "dir/k.npy", "border": "valid"}),
        ("my/op.py:Fovea", "my/op.py:Fovea", {}),
        ("my/op.py:Fovea:radius=12,k=a=b", "my/op.py:Fovea", {"radius": 12, "k": "a=b"}),
        ("C:\\my\\op.py:Fovea:radius=1.5", "C:\\my\\op.py:Fovea", {"radius": 1.5}),
    ],
)
def test_specs(text: str, name: str, options: dict[str, object]) -> None:
    spec = parse_spec(text)
    assert (spec.name, spec.options) == (name, options)
    assert [type(v) for v in spec.options.values()] == [type(v) for v in options.values()]
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name"),
        (":sigma=3", "expected a name"),
        ("blur:3", "expected options as key=value"),
        ("blur:sigma=", "expected options as key=value"),
        ("inpainting:box", "expected a value, as in box=true"),
        ("blur:sigma=1,,border=zero", "expected options as key=value"),
        ("blur:sigma=1,sigma=2", "option 'sigma' is given twice"),
    ],
)
def test_bad_specs(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_spec(text)


@dataclasses.dataclass(frozen=True)
class Inner:
    depth: int = 1


@dataclasses.dataclass(frozen=True)
class Thing:
    count: int
    rate: float = 0.5
    share: float | None = None
    sides: tuple[int, ...] = (1, 2)
    named: object = len
    inner: Inner = dataclasses.field(default_factory=Inner)

    choices: ClassVar[dict[str, dict[str, object]]] = {"named": {"length": len, "total": sum}}


class Nested(Where):
    def inside(self, key: str) -> Nested:
        return Nested(f"{self.owner}.{key}")


def function(shape: tuple[int, ...], *, rate: float = 0.5, **rest: object) -> object:
    return shape, rate, rest


def test_options_make_objects() -> None:
    made = build(Thing, {"count": 3, "rate": 2, "share": 1, "sides": [4, 5], "named": "total"})
    assert made == Thing(3, 2.0, 1.0, (4, 5), sum)
    assert [type(v) for v in (made.rate, made.share)] == [float, float]
    assert build(Thing, {"count": 3, "inner": {"depth": 2}}, Nested("thing")).inner == Inner(2)
    assert build(function, {"rate": 1, "other": "x"}, Where("f"), first=((1, 2),)) == ((1, 2), 1.0, {"other": "x"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cont": 3}, "unknown parameter of Thing 'cont'; did you mean 'count'"),
        ({}, "Thing: count: expected a value, got none; give count=VALUE"),
        ({"count": "many"}, "Thing: count: expected int, got 'many'"),
        ({"count": 1.0}, "Thing: count: expected int, got 1.0"),
        ({"count": True}, "Thing: count: expected int, got True"),
        ({"count": 1, "share": "half"}, "Thing: share: expected float, got 'half'"),
        ({"count": 1, "sides": 4}, "Thing: sides: expected a list, got 4"),
        ({"count": 1, "named": "totl"}, "Thing: named: unknown named 'totl'; did you mean 'total'"),
    ],
)
def test_options_that_make_none(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Thing, options)


def test_tables_within_tables() -> None:
    with pytest.raises(ValueError, match=r"unknown parameter of thing.inner 'dpth'; did you mean 'depth'"):
        build(Thing, {"count": 1, "inner": {"dpth": 2}}, Nested("thing"))
    with pytest.raises(ValueError, match=r"thing: inner: expected a table, got 3"):
        build(Thing, {"count": 1, "inner": 3}, Nested("thing"))


def test_functions_by_name() -> None:
    assert build(MCGDiff, {"resample": "multinomial", "spacing": "karras"}) == MCGDiff(
        resample=multinomial, spacing=karras_levels
    )
    with pytest.raises(ValueError, match="MCGDiff: resample: unknown resample 'sistematic'; did you mean 'systematic'"):
        build(MCGDiff, {"resample": "sistematic"})
    assert "spacing=karras, " in describe("samplers", "heun")
    assert "resample=systematic, " in describe("solvers", "mcgdiff")


def test_other_names_of_operators_are_those_of_registered_ones() -> None:
    assert set(ALIASES.values()) <= set(operators) and not set(ALIASES) & set(operators)
    spec = parse_operator("gaussian_blur:sigma=3")
    assert (spec.name, spec.options, str(spec)) == ("blur", {"sigma": 3}, "gaussian_blur:sigma=3")
    assert parse_operator("blurr").name == "blurr"


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("deblur", "blur"), ("gaussian_blur", "blur"), ("denoise", "identity"), ("sr", "downsample"),
        ("superresolution", "downsample"), ("inpaint", "inpainting"), ("ct", "tomography"), ("radon", "tomography"),
    ],
)  # fmt: skip
def test_names_of_the_field(name: str, operator: str) -> None:
    assert parse_operator(f"{name}:a=1").name == operator
