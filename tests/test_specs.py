from __future__ import annotations

import pytest

from invdiff.specs import parse_spec


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
