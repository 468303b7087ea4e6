"""Every bad input: exit code 2, one line on standard error that says what to do, and nothing written."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import invdiff.priors
from invdiff.cli import main

H, W = 16, 20


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray(pixels[:10, :12, 0]).save("small_mask.png")
    Image.fromarray(np.full((H, W), 255, np.uint8)).save("mask.png")
    Image.fromarray(np.zeros((H, W), np.uint8)).save("black.png")
    Path("text.png").write_text("no image")
    Path("empty.png").touch()
    Path("folder").mkdir()
    np.save("nan.npy", np.where(np.eye(H, W) > 0, np.nan, 0.5))
    np.save("inf.npy", np.where(np.eye(H, W) > 0, np.inf, 0.5))
    np.save("bytes.npy", np.full((H, W), 200.0))
    np.save("sinogram.npy", np.ones((9, 16)))
    np.save("square.npy", np.sin(np.pi * np.arange(16)[:, None] / 16) * np.ones(16))
    np.save("full.npy", np.ones((2, H, W)))
    np.save("radians.npy", np.pi * np.arange(9) / 9)
    np.save("nan_sinogram.npy", np.full((9, 16), np.nan))
    np.save("nan_angles.npy", np.full(9, np.nan))
    Path("words.txt").write_text("ninety degrees\n")
    Path("mine.py").write_text(
        "import torch\n"
        "from invdiff.operators import Operator\n"
        "from invdiff.priors import Prior\n"
        "class Square(Operator):\n"
        "    def __init__(self, in_shape):\n"
        "        self.in_shape = self.out_shape = in_shape\n"
        "    def forward(self, x):\n"
        "        return x ** 2\n"
        "def three():\n"
        "    return 3\n"
        "class Upside:\n"
        "    shape, std, sigma_min, sigma_max, denoise = (3, None, None), 0.25, 2.0, 1.0, len\n"
        "class Duck:\n"
        "    shape, std, sigma_min, sigma_max, denoise = (3, None, None), 0.25, 0.01, 50.0, len\n"
        "class Wrong(Prior):\n"
        "    shape, std, sigma_min, sigma_max = (3, None, None), 0.25, 0.01, 50.0\n"
        "    def denoise(self, x, sigma):\n"
        "        return x[:, :1]\n"
        "class Fails(Wrong):\n"
        "    def denoise(self, x, sigma):\n"
        "        return {}['weight']\n"
        "class Operates(Square):\n"
        "    def forward(self, x):\n"
        "        raise RuntimeError('two\\nlines')\n"
        "def fails():\n"
        "    raise RuntimeError('no\\nweights')\n"
        "def needs(weights):\n"
        "    return 3\n"
        "def upside():\n"
        "    return Upside()\n"
    )
    Path("broken.py").write_text("import nothing_of_the_kind\n")
    Path("exits.py").write_text("import sys\nsys.exit(5)\n")
    Path("junk.npz").write_bytes(b"PKjunk")
    weights()


def weights() -> None:
    """Write files of weights that cannot be read."""
    save_file({"a": torch.zeros(3)}, "plain.safetensors")
    Path("cut.safetensors").write_bytes(Path("plain.safetensors").read_bytes()[:-5])
    Path("code.pkl").write_bytes(pickle.dumps(Fraction(1, 2), protocol=4))
    torch.save({"net": torch.nn.Linear(2, 2)}, "module.pt")
    Path("junk.pt").write_bytes(b"junk" * 50)
    file = Path(invdiff.priors.__file__).parent / "weights" / "fashion.safetensors"
    card = json.loads(file.with_suffix(".json").read_text())
    network = {**card["network"], "widths": [8, 8]}
    cards: dict[str, str | None] = {
        "cardless": None, "cut": '{"format": ', "list": "[]", "bare": json.dumps({"format": card["format"]}),
        "other": json.dumps({**card, "network": network}), "more": json.dumps({**card, "scaling": {"mena": 0.5}}),
    }  # fmt: skip
    for name, text in cards.items():
        Path(name).mkdir()
        (Path(name) / "net.safetensors").symlink_to(file)
        if text is not None:
            (Path(name) / "net.json").write_text(text)


BLUR = "--operator blur:sigma=1"
OPTIONS = {"--operator": "identity", "--noise": "0.1", "--solver": "dps:steps=2", "--out": "out", "--samples": "1"}

CASES = [
    # images
    ("none.png", "none.png: no such file"),
    ("folder", "folder: expected a folder with pictures, got none in it; see: invdiff list formats"),
    ("photo.png --mask folder --operator inpainting", "folder: expected a file, got a folder; name one file in it"),
    ("photo.png --export npy", "--export: expected npz, zarr, tiff, none, got 'npy'"),
    ("photo.png#all --out photo.png", "--out: expected a folder, got the file 'photo.png'"),
    ("text.png", "text.png: not an image that can be read; expected PNG"),
    ("empty.png", "empty.png: the file is empty (0 bytes)"),
    ("nan.npy", "nan.npy: expected finite values, got 16 NaN or infinite, the first at (0, 0"),
    ("inf.npy", "inf.npy: expected finite values, got 16 NaN or infinite"),
    ("junk.npz", "junk.npz: cannot be read as a numpy array: it is none, or damaged"),
    ("bytes.npy", "bytes.npy: expected intensities in [0, 1], got values up to 200; divide by the white level"),
    # names and options
    ("photo.png --operator blurr", "unknown operator 'blurr'; did you mean 'blur'?"),
    ("photo.png --operator blur:sigm=3", "unknown option 'sigm'; did you mean 'sigma'?"),
    ("photo.png --operator blur:sigma", "'blur:sigma': expected a value, as in sigma=true or sigma=3"),
    ("photo.png --operator blur:sigma=-1", "blur: sigma: expected a positive number of pixels, got -1"),
    ("photo.png --operator downsample", "downsample: factor: expected, as in downsample:factor=4"),
    ("photo.png --operator none.py:Thing", "no file 'none.py'; expected path/to/file.py:Name"),
    ("photo.png --operator mine.py:Squar", "did you mean 'Square'?"),
    ("photo.png --operator broken.py:Thing", "broken.py: fails to import: ModuleNotFoundError"),
    ("photo.png --operator mine.py:three", "mine.py:three"),
    ("photo.png --solver dpss", "unknown solver 'dpss'; did you mean 'dps'?"),
    ("photo.png --solver dps:step=3", "unknown parameter of DPS 'step'; did you mean 'steps'?"),
    ("photo.png --solver dps:steps=many", "DPS: steps: expected int, got 'many'"),
    ("photo.png --solver dps:steps=0", "DPS: steps: expected at least 1, got 0"),
    ("photo.png --solver mine.py:Square", "--solver: expected a subclass of invdiff.solvers.Solver, got"),
    ("photo.png --prior gausian", "unknown prior 'gausian'; did you mean 'gaussian'?"),
    ("photo.png --prior mine.py:three", "expected a Prior, got int"),
    ("photo.png --prior mine.py:upside", "sigma_min, sigma_max: expected 0 < sigma_min < sigma_max, got 2 and 1"),
    ("photo.png --nois 1", "No such option: --nois (Possible options: --noise"),
    ("photo.png --samples many", "Invalid value for '--samples'"),
    ("photo.png --samples 0", "--samples: expected an integer >= 1, got 0"),
    ("photo.png --seed -1", "--seed: expected an integer >= 0, got -1"),
    ("photo.png --threads 0", "--threads: expected an integer >= 1, got 0"),
    ("photo.png --batch-size 0", "--batch-size: expected an integer >= 1, got 0"),
    ("photo.png --device tpu", "--device: expected auto, cpu, cuda or cuda:N, got 'tpu'"),
    ("photo.png --prior mine.py:Duck", "got Duck; make it a subclass of invdiff.priors.Prior"),
    ("photo.png --prior mine.py:Wrong", "Wrong.denoise: expected images (1, 3, 16, 20) like its input, got (1, 1, 16,"),
    ("photo.png --prior mine.py:fails", "error: mine.py:26: RuntimeError: no weights; see all of it with: invdiff"),
    ("photo.png --prior mine.py:needs", "mine.py:needs': weights: expected a value, which it needs, got none"),
    ("photo.png --prior mine.py:Fails", "error: mine.py:21: KeyError: 'weight'; see all of it with: invdiff"),
    ("photo.png --operator mine.py:Operates", "error: mine.py:24: RuntimeError: two lines; see all of it with"),
    ("photo.png --prior exits.py:thing", "exits.py: fails to import: SystemExit: 5"),
    ("photo.png --prior none.pt", "no file or folder 'none.pt'"),
    ("photo.png --prior folder", "folder: prior: got a folder with nothing; recognised are"),
    ("photo.png --prior plain.safetensors", "plain.safetensors: prior: got 1 tensors named a; recognised are"),
    ("photo.png --prior cut.safetensors", "cut.safetensors: prior: expected a safetensors file, got a damaged one"),
    ("photo.png --prior code.pkl", "code.pkl: prior: expected tensors alone, got a pickle that runs code when it is r"),
    ("photo.png --prior module.pt", "a pickle that runs code when it is read (torch.nn.modules.linear.Linear), which"),
    ("photo.png --prior junk.pt", "junk.pt: prior: expected weights that torch.save wrote, got 200 bytes of something"),
    ("photo.png --prior cardless/net.safetensors", "but not their metadata: put net.json beside the file"),
    ("photo.png --prior cut", "net.json: expected JSON, got a damaged file"),
    ("photo.png --prior list", "net.json: expected format 'invdiff.network-prior/1', got 'list'"),
    ("photo.png --prior bare", "net.json: expected sha256, network, scaling, shape, found none; export the pri"),
    ("photo.png --prior other", "net.json: expected the network and scaling of net.safetensors: UNetConfig: widths"),
    ("photo.png --prior more", "net.json: expected the network and scaling of net.safetensors: Preconditioning"),
    # sizes that no memory holds
    ("photo.png --samples 99999999999", "DPS: samples: expected what fits in the memory, got 1 x 99999999999 x 3 x 16"),
    ("photo.png --operator downsample:factor=1000000", "operator 'downsample': image: expected what fits in"),
    ("photo.png --operator blur:sigma=1e9", "gaussian_kernel: std: expected what fits in the memory"),
    ("photo.png --simulate --operator tomography --angles 99999999999", "--angles: expected what fits in the memory"),
    ("photo.png --simulate --operator tomography --angles 0:180:1e-9", "--angles: expected what fits in the memory"),
    ("photo.png --simulate --operator fan_beam:angles=99999999999", "fan_beam: angles: expected what fits in"),
    ("photo.png --operator mine.py", "operator 'mine.py': expected path/to/file.py:Name, got no name behind the file"),
    ("photo.png --out /proc/out", "--out: cannot write in '/proc'; choose another folder"),
    # noise
    ("photo.png --noise -0.1", "--noise: expected a finite number >= 0, got -0.1"),
    ("photo.png --noise nan", "--noise: expected a finite number >= 0, got nan"),
    ("photo.png --noise inf", "--noise: expected a finite number >= 0, got inf"),
    ("photo.png --noise atuo", "--noise: unknown noise 'atuo'; did you mean 'auto'?"),
    ("photo.png --noise poisson", "--noise: poisson needs a number, as in poisson:photons=1"),
    ("photo.png --noise poisson:photons=0", "--noise: expected a finite number > 0, got 0"),
    ("photo.png --noise poisson:fotons=9", "unknown parameter of poisson 'fotons'; did you mean 'photons'?"),
    ("photo.png --noise gaussian:std=none.npy", "--noise: std: none.npy: no such file"),
    ("photo.png --noise gaussian:std=dark", "--noise: std: expected a number, or an array of them (.npy, .npz)"),
    ("photo.png --noise gaussian:std=0.1,approximate=true", "unknown parameter of gaussian 'approximate'; known: std"),
    ("photo.png --noise poisson:photons=9,approximate=2", "approximate: expected true or false, got 2"),
    ("photo.png --noise poisson_gaussian:photons=9", "a number, as in poisson_gaussian:photons=1,std=1, got None"),
    ("photo.png --noise quantized:levels=1.5", "levels: expected an integer >= 2, got 1.5"),
    ("photo.png --noise transmision:photons=9", "unknown noise 'transmision'; did you mean 'transmission'?"),
    ("photo.png --noise poisson:photons=9 --solver diffpir", "DiffPIR needs Gaussian noise; got Identity"),
    ("photo.png --noise auto --simulate", "--noise auto: estimates the noise of a measurement"),
    ("photo.png --noise 25", "--noise 25: expected the noise's standard deviation for pictures in [0, 1], got 25, m"),
    ("photo.png --noise 25", "on 0 to 255 is invdiff reconstruct photo.png --noise 0.09804 --operator identity"),
    ("photo.png --noise gaussian:std=25", "on 0 to 255 is invdiff reconstruct photo.png --noise gaussian:std=0.09804"),
    ("photo.png --simulate --noise poisson_gaussian:std=2,photons=9", "--noise poisson_gaussian:std=0.007843,ph"),
    # masks
    ("photo.png --operator inpainting --mask small_mask.png", "small_mask.png: mask: expected 20 x 16 pixels"),
    ("photo.png --operator inpainting --mask small_mask.png", "of photo.png, got 12 x 10; resize the mask"),
    ("photo.png --operator inpainting --mask black.png", "black.png: mask: expected some known pixels, got none"),
    ("photo.png --operator inpainting --mask none.png", "none.png: no such file"),
    ("photo.png --operator inpainting --mask mask.png --mask-invert", "leave --mask-invert out"),
    ("photo.png --operator inpainting", "expected to know which pixels are missing, got no mask; give --mask MASK.png"),
    ("photo.png --operator inpainting --missing-color #010203", "no pixel has the colour '#010203'"),
    ("photo.png --operator inpainting --missing-color pinkish", "expected a colour such as '#ff00ff'"),
    ("photo.png --operator inpainting --missing-tolerance 3", "--missing-tolerance: goes with --missing-color"),
    ("photo.png --operator inpainting --mask-invert", "--mask-invert: goes with --mask"),
    (f"photo.png {BLUR} --mask mask.png", "--mask: goes with --operator inpainting, got --operator blur"),
    ("photo.png --operator inpainting:random=0.5", "random: draws a mask that the measured file does not have"),
    ("full.npy --operator mri:acceleration=3", "full.npy: mri: expected to know which frequencies were measured, got"),
    # channels
    ("photo.png --operator demosaic", "makes (1, 16, 20); give a measurement of 1 channel (gray); a clean image"),
    ("photo.png --operator grayscale", "makes (1, 16, 20); give a measurement of 1 channel (gray); a clean image"),
    # tomography
    ("sinogram.npy --operator tomography --angles 10", "expected 10 rows, one for each angle, got 9 rows of 16"),
    ("sinogram.npy --operator tomography --angles 16", "transpose the sinogram"),
    ("sinogram.npy --operator tomography:angles=10", "give 9 angles, one for each row of the sinogram"),
    ("sinogram.npy --operator tomography", "9 equally spaced ones are --angles 9"),
    ("sinogram.npy --operator tomography --angles 0", "--angles: expected at least 1 angle, got 0"),
    ("sinogram.npy --operator tomography --angles 0:180:-20", "--angles: expected start:stop:step"),
    ("sinogram.npy --operator tomography --angles none.txt", "got 'none.txt'; no such file"),
    ("sinogram.npy --operator tomography --angles words.txt", "words.txt: --angles: expected numbers in degrees"),
    ("sinogram.npy --operator tomography --angles nan_angles.npy", "nan_angles.npy: --angles: expected finite numbers"),
    ("sinogram.npy --operator tomography --angles 9 --pixel-size 0", "--pixel-size: expected a finite number > 0"),
    ("sinogram.npy --operator tomography --angles radians.npy", "which look like radians; write tomography:angle_u"),
    ("sinogram.npy --operator tomography:convention=astra --angles 0:180:20", "which look like degrees; write tomog"),
    ("sinogram.npy --operator tomography --angles 9 --convention matlab", "unknown convention 'matlab'; did you mean"),
    ("sinogram.npy --operator tomography:angle_unit=turns --angles 0:180:20", "unknown unit 'turns'; did you mean"),
    ("square.npy --operator tomography --angles 16", "the sinogram is transposed; add --transpose"),
    (f"photo.png {BLUR} --transpose", "--transpose: goes with --operator tomography, got --operator blur"),
    ("photo.png --simulate --operator tomography --angles 9 --transpose", "--transpose: goes with a measured sinogram"),
    ("nan_sinogram.npy --operator tomography --angles 9", "nan_sinogram.npy: expected finite values, got 144 NaN"),
    (f"photo.png {BLUR} --angles 9", "--angles: goes with --operator tomography, got --operator blur"),
    # what a solver needs
    ("photo.png --operator mine.py:Square --solver pinv", "PseudoInverse needs a linear operator; got Square"),
    # results
    ("photo.png --out photo.png", "--out: expected a folder, got the file 'photo.png'"),
    ("photo.png --out photo.png/deep", "photo.png"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), CASES, ids=[words for words, _ in CASES])
def test_one_line_and_nothing_written(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    image, *given = words.split()
    options = dict(OPTIONS)
    arguments = ["reconstruct", image, *given]
    for option, value in options.items():
        if option not in given:
            arguments += [option, value]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    *_, last = printed.err.splitlines()
    assert last.startswith("invdiff: error: ")
    assert message in last
    assert printed.err.count("invdiff: error:") == 1
    assert "Traceback" not in printed.err
    assert printed.out == ""
    after = [p for p in sorted(Path().rglob("*")) if "__pycache__" not in p.parts]
    assert after == before


def test_noise_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", "photo.png", "--operator", "identity", "--out", "out"]) == 2
    assert "give a number such as 0.025, or --noise auto to estimate it" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reconstruct", "photo.png", *(w for pair in OPTIONS.items() for w in pair)]
    assert main([*words, "--device", "cuda"]) == 2
    assert "torch finds no CUDA device here; use --device cpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reconstruct"], "Missing argument 'image'; see: invdiff reconstruct --help"),
        (["reconstruct", "photo.png"], "Missing option '--operator'; see: invdiff reconstruct --help"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["list", "operatrs"], "unknown kind 'operatrs'; did you mean 'operators'?"),
        (["demo", "--out", ""], "expected no empty argument, got one after 'invdiff demo --out'; is a variable of the"),
        (["check", "solver", "dps"], "known: operator, prior; solvers are graded: invdiff grade"),
        (["check", "prior", "mine.py:Duck"], "make it a subclass of invdiff.priors.Prior"),
        (
            ["check", "prior", "gaussian", "--shape", "1", "9999999", "9999999"],
            "--shape: expected what fits in",
        ),
        (["check", "prior", "gaussian", "--samples", "99999999999"], "--samples: expected what fits in the memory"),
        (["check", "operator", "mine.py:fails"], "error: mine.py:26: RuntimeError: no weights"),
        (["sample", "gaussian", "--n", "99999999999", "--out", "o.png"], "--n: expected what fits in the memory"),
        (["sample", "gaussian", "--size", "99999999", "--out", "o.png"], "--n, --size: expected what fits in the mem"),
        (["sample", "gaussian", "--out", "/proc/o.png"], "--out: cannot write in '/proc'; choose another folder"),
        (["demo", "--out", "/proc/out"], "--out: cannot write in '/proc'; choose another folder"),
        (["grade", "--out", "/proc/o.md"], "--out: cannot write in '/proc'; choose another folder"),
        (["tune", "quick", "--solver", "dps", "--out", "/proc/o.toml"], "--out: cannot write in '/proc'"),
        (["score", "--truth", ".", "--estimate", ".", "--out", "/proc/o.csv"], "--out: cannot write in '/proc'"),
        (["report", ".", "--out", "/proc/o.html"], "--out: cannot write in '/proc'; choose another folder"),
        (["sample", "mine.py:fails", "--out", "o.png"], "error: mine.py:26: RuntimeError: no weights"),
        (["demo", "--threads", "0"], "--threads: expected an integer >= 1"),
        (["demo", "--out", "photo.png"], "--out: expected a folder"),
        (["demo", "--seed", "-1"], "--seed: expected an integer >= 0"),
    ],
)
def test_words_that_are_no_command(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["--traceback"]])
def test_no_command_at_all_prints_the_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert "Usage: invdiff" in printed.out
    assert "reconstruct" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("quick --prior nope", "unknown prior 'nope'; known: cells, ct, fashion, gaussian, kernel, mri, photo"),
        ("quick --prior mine.py:three", "expected a Prior, got int"),
        ("quick --prior none.pt", "no file or folder 'none.pt'"),
        ("quick --scheduler foo", "--scheduler: expected an address such as tcp://host:8786, got 'foo'"),
        ("quik", "quik"),
        ("quick --solvers dpss", "did you mean 'dps'?"),
        ("quick --tasks debluring", "debluring"),
        ("quick --images folder", "expected image files"),
        ("quick --images -3", "--images: expected a number or a folder"),
        ("quick --size 0", "--size: expected an integer >= 1"),
        ("quick --export xls", "xls"),
    ],
)
def test_a_benchmark_that_cannot_begin_leaves_nothing(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().rglob("*"))
    assert main(["bench", *words.split(), "--out", "results"]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("invdiff: error: ")
    assert message in last
    assert [p for p in sorted(Path().rglob("*")) if "__pycache__" not in p.parts] == before


def test_a_full_memory_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 64 GB")

    monkeypatch.setattr("invdiff.commands.listing.run", run)
    assert main(["list"]) == 1
    assert "out of memory; lower" in capsys.readouterr().err


def test_traceback_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVDIFF_TRACEBACK", raising=False)
    with pytest.raises(FileNotFoundError):
        main(["--traceback", "reconstruct", "none.png", *(w for pair in OPTIONS.items() for w in pair)])
