"""Standard tasks: what they draw, what it depends on, and at which sizes they work."""

import pytest
import torch

from invdiff import registry
from invdiff.benchmarks.tasks import BoxInpainting, make_task
from invdiff.operators import Inpainting
from invdiff.streams import generator

NAMES = list(registry.tasks)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 21, 34)])
def test_a_measurement_depends_on_seed_image_and_task_alone(name: str, shape: tuple[int, int, int]) -> None:
    x = torch.rand((1, *shape), generator=generator(1))
    task = make_task(name)
    first = task.problem(x, image=2, seed=5)
    torch.manual_seed(99)  # global state has no say
    torch.rand(7)
    again = make_task(name).problem(x, image=2, seed=5)
    assert torch.equal(first.measurement, again.measurement)
    assert first.image_index == (2,) and first.operator.in_shape == shape
    for other in (task.problem(x, image=2, seed=6), task.problem(x, image=3, seed=5)):
        assert not torch.equal(first.measurement, other.measurement)


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_is_as_loud_as_the_task_says(name: str) -> None:
    x = torch.rand((1, 3, 64, 64), generator=generator(2))
    task = make_task(name)
    problem = task.problem(x, image=0, seed=0)
    r = problem.measurement - problem.operator(x)
    if problem.operator.observed is not None:
        r = r[:, problem.operator.observed.expand(r.shape[1:])]
    std, n = float(r.std()), r.numel()
    assert abs(std / task.noise - 1) < 5 / (2 * n) ** 0.5
    assert abs(float(r.mean())) < 5 * task.noise / n**0.5


def test_tasks_do_not_share_their_noise() -> None:
    x = torch.full((1, 1, 32, 32), 0.5)
    noise = [
        (p.measurement - p.operator(x)).flatten()
        for p in (make_task(n).problem(x, image=0, seed=0) for n in ("denoising", "gaussian_blur", "motion_blur"))
    ]
    for a, b in [(0, 1), (1, 2), (0, 2)]:
        assert abs(float(torch.corrcoef(torch.stack([noise[a], noise[b]]))[0, 1])) < 5 / 1024**0.5


def test_the_box_is_half_as_wide_as_the_image_and_keeps_its_margin() -> None:
    x = torch.zeros(1, 3, 64, 64)
    corners = set()
    for seed in range(40):
        operator = BoxInpainting().problem(x, image=0, seed=seed).operator
        assert isinstance(operator, Inpainting)
        row, column = (~operator.mask[0]).nonzero().T
        assert len(row) == 32 * 32 and row.max() - row.min() == 31 and column.max() - column.min() == 31
        assert min(row.min(), column.min()) >= 4 and max(row.max(), column.max()) < 60
        corners.add((int(row.min()), int(column.min())))
    assert len(corners) > 30  # of 25 x 25 places


def test_random_masks_have_their_share_and_differ_between_images() -> None:
    task = make_task("random_inpainting:missing=0.92")
    x = torch.zeros(1, 3, 100, 100)
    masks = [task.problem(x, image=i, seed=0).operator.observed for i in range(2)]
    for mask in masks:
        assert mask is not None and mask.shape[0] == 1  # the same for all channels
        assert abs(float(mask.double().mean()) - 0.08) < 5 * (0.08 * 0.92 / 10_000) ** 0.5
    assert not torch.equal(masks[0], masks[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("denoisin", "did you mean 'denoising'"),
        ("denoising:nose=1", "unknown parameter of Denoising 'nose'; did you mean 'noise'"),
        ("denoising:noise=-1", "noise: expected a finite number >= 0, got -1"),
        ("box_inpainting:box=0.95", r"expected shares of the image with box \+ 2 margin <= 1"),
        ("random_inpainting:missing=92", r"expected a share in \[0, 1\), got 92"),
        ("sparse_view_ct:views=0", "views: expected a positive number"),
        ("limited_angle_ct:degrees=270", r"expected an angle in \(0, 180\], got 270"),
    ],
)
def test_what_a_task_cannot_be(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(spec)


def test_one_image_at_a_time() -> None:
    with pytest.raises(ValueError, match=r"expected one image \(1, C, H, W\), got \(2, 1, 8, 8\)"):
        make_task("denoising").problem(torch.zeros(2, 1, 8, 8), image=0, seed=0)
