"""`invdiff list formats`."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from invdiff.cli import main
from invdiff.images import Ask, Content, Format, formats


class Mine(Format):
    """A format of another package that is written, too."""

    suffixes = (".mine",)
    needs = "a_library_that_nobody_has"

    def read(self, path: Any, ask: Ask) -> Content:
        raise NotImplementedError

    def write(self, pixels: Any, path: Any, kept: Any) -> None:
        raise NotImplementedError


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert main(["list", "formats", "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)["formats"]}


def test_formats_say_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys)
    assert list(found) == [*formats.entries(), "pillow"]
    assert {name for name, row in found.items() if row["writes"]} == {"tiff", "fits", "dicom", "nifti", "pillow"}
    assert ".nii.gz" in found["nifti"]["suffixes"] and {".png", ".jpg"} <= set(found["pillow"]["suffixes"])
    assert ".tif" not in found["pillow"]["suffixes"]  # another reader takes it
    for name, entry in formats.entries().items():
        assert tuple(found[name]["suffixes"]) == formats.described(entry).suffixes
    needed = {row["needs"] for row in found.values()} - {None}
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["science"]
    science = {re.split(r"[^a-z0-9-]", line)[0] for line in [*extra, *project["dependencies"]]}
    assert needed == {"astropy", "pydicom", "nibabel", "h5py", "zarr", "rawpy", "pillow-heif"} and needed <= science


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "zarr" else object())
    assert main(["list", "formats"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "zarr is missing: install invdiff[science]" in lines["zarr"]
    assert "h5py is installed" in lines["hdf5"] and "read and written" in lines["fits"]
    assert main(["list", "formats", "--options"]) == 0


def test_formats_of_other_packages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_table", dict(formats._table))
    formats.register("mine", f"{__name__}:Mine", "a format of mine")
    formats.register("broken", "no_such_module:Nothing", "another")
    found = rows(capsys)
    assert found["mine"]["suffixes"] == [".mine"] and found["mine"]["writes"]
    assert (found["mine"]["needs"], found["mine"]["installed"]) == ("a_library_that_nobody_has", False)
    assert "fails to load: ModuleNotFoundError" in found["broken"]["summary"]
    assert main(["list", "formatz"]) == 2
    assert "did you mean 'formats'" in capsys.readouterr().err
