import pytest
import torch
from scipy.stats import wasserstein_distance

from invdiff.metrics import sliced_wasserstein


def test_in_one_dimension_it_is_that_of_scipy() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(50, 1, generator=g), 2 + torch.randn(50, 1, generator=g)
    assert sliced_wasserstein(a, b, slices=3) == pytest.approx(wasserstein_distance(a[:, 0], b[:, 0]))
    c = torch.randn(73, 1, generator=g)
    assert sliced_wasserstein(a, c, slices=3) == pytest.approx(wasserstein_distance(a[:, 0], c[:, 0]))


def test_a_shift_counts_by_its_mean_projection() -> None:
    a = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    # |cos| of a random direction in three dimensions has mean 1/2 and variance 1/12.
    got = sliced_wasserstein(a, a + torch.tensor([0.0, 0.0, 4.0]), slices=10_000)
    assert abs(got - 2) < 4.5 * 4 / (12 * 10_000) ** 0.5


def test_samples_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="samples of one size"):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(3, 4))
