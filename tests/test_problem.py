import math

import numpy as np
import pytest
import scipy.stats
import torch

from invdiff import Problem, Reconstruction, simulate
from invdiff.noise import Gaussian, Poisson
from invdiff.operators import Identity, Inpainting
from invdiff.streams import Streams, generator


def test_gaussian_likelihood_is_that_of_scipy() -> None:
    y, clean = torch.randn(3, 1, 4, 5, dtype=torch.float64), torch.randn(3, 1, 4, 5, dtype=torch.float64)
    expected = scipy.stats.norm(clean, 0.3).logpdf(y).sum((1, 2, 3))
    torch.testing.assert_close(Gaussian(0.3).log_likelihood(y, clean), torch.from_numpy(expected))


def test_poisson_likelihood_is_that_of_scipy() -> None:
    clean = torch.rand(3, 1, 4, 5, dtype=torch.float64)
    y = Poisson(50.0).sample(clean, generator(0))
    expected = scipy.stats.poisson(50 * clean).logpmf((50 * y).round()).sum((1, 2, 3))
    torch.testing.assert_close(Poisson(50.0).log_likelihood(y, clean), torch.from_numpy(expected))


@pytest.mark.parametrize(("noise", "variance"), [(Gaussian(0.2), 0.04), (Poisson(40.0), 0.5 / 40)])
def test_noise_has_its_mean_and_variance(noise: Gaussian | Poisson, variance: float) -> None:
    n = 40_000
    y = noise.sample(torch.full((n,), 0.5, dtype=torch.float64), generator(1))
    assert abs(float(y.mean()) - 0.5) < 4.5 * math.sqrt(variance / n)
    # The fourth moment of either law is at most 3.1 variance^2 here.
    assert abs(float(y.var()) / variance - 1) < 4.5 * math.sqrt(2.1 / n)


def test_measurement_of_an_image_does_not_depend_on_its_batch() -> None:
    x = torch.rand(3, 1, 4, 4)
    together = simulate(Identity((1, 4, 4)), x, 0.1, seed=5).measurement
    first = simulate(Identity((1, 4, 4)), x[:1], 0.1, seed=5).measurement
    torch.testing.assert_close(together[:1], first, rtol=0, atol=0)
    other = simulate(Identity((1, 4, 4)), x, 0.1, seed=0).measurement
    assert not torch.equal(together, other)


def test_unobserved_entries_hold_nothing_and_do_not_enter_the_likelihood() -> None:
    mask = torch.tensor([[1, 0], [1, 1]])
    x = torch.rand(2, 1, 2, 2)
    problem = simulate(Inpainting(mask), x, 0.1)
    assert bool((problem.measurement[:, :, 0, 1] == 0).all())
    changed = x.clone()
    changed[:, :, 0, 1] += 1
    torch.testing.assert_close(problem.log_likelihood(x), problem.log_likelihood(changed))
    by_hand = Gaussian(0.1).log_likelihood(problem.measurement.flatten(1)[:, [0, 2, 3]], x.flatten(1)[:, [0, 2, 3]])
    torch.testing.assert_close(problem.log_likelihood(x), by_hand)
    assert bool((problem.residual(x)[:, :, 0, 1] == 0).all())


def test_part_of_a_problem_keeps_its_streams() -> None:
    problem = simulate(Identity((1, 2, 2)), torch.rand(4, 1, 2, 2), 0.1)
    assert problem[-1].image_index == (3,)
    assert problem[1:3].image_index == (1, 2)
    assert problem[[2, 2]].image_index == (2, 2)
    assert len(problem[1:3]) == 2


def test_streams_are_independent_of_each_other_and_of_the_batch() -> None:
    like = torch.zeros(2, 50_000)
    a = Streams([generator(0, 0, 0), generator(0, 0, 1)]).randn(like)
    b = Streams([generator(0, 0, 1)]).randn(like[:1])
    torch.testing.assert_close(a[1:], b, rtol=0, atol=0)
    assert abs(np.corrcoef(a)[0, 1]) < 4.5 / math.sqrt(50_000)
    keys = [(0,), (0, 0), (1, 0), (0, 1), (1,), (2**33,), (2**33 + 2**32,)]
    firsts = {float(torch.rand(1, generator=generator(*k))) for k in keys}
    assert len(firsts) == len(keys)


def test_mean_and_std_are_over_the_samples() -> None:
    samples = torch.rand(2, 5, 1, 3, 3)
    result = Reconstruction(samples)
    torch.testing.assert_close(result.mean, samples.mean(1))
    torch.testing.assert_close(result.std, samples.std(1))
    assert float(Reconstruction(samples[:, :1]).std.abs().max()) == 0


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_impossible_noise_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="std: expected a finite number >= 0"):
        Gaussian(std)
    with pytest.raises(ValueError, match="photons: expected a finite number > 0"):
        Poisson(std)


def test_bad_measurements_are_refused() -> None:
    identity = Identity((1, 2, 2))
    with pytest.raises(ValueError, match="1 NaN or infinite; mark missing pixels with a mask"):
        Problem(identity, Gaussian(0.1), torch.tensor([[[[0.0, math.nan], [0.0, 0.0]]]]))
    with pytest.raises(
        ValueError, match=r"expected a measurement batch of shape \(B, 1, 2, 2\), got \(1, 2, 2\); add the batch axis"
    ):
        Problem(identity, Gaussian(0.1), torch.zeros(1, 2, 2))
    with pytest.raises(TypeError, match="floating-point"):
        Problem(identity, Gaussian(0.1), torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(TypeError, match="expected a Noise"):
        Problem(identity, 0.1, torch.zeros(1, 1, 2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="clean values >= 0"):
        simulate(identity, torch.full((1, 1, 2, 2), -1.0), Poisson(10.0))
    with pytest.raises(ValueError, match="non-negative"):
        simulate(identity, torch.zeros(1, 1, 2, 2), 0.1, seed=-1)
