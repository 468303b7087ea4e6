"""Objectives: what they regress, what their minimiser is, and the identities between them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from invdiff.priors import GaussianPrior, MixturePrior
from invdiff.priors.conversions import (
    CleanImage,
    EDMOutput,
    LastIncrement,
    Network,
    Output,
    PreviousState,
    Score,
    Shrink,
    TotalNoise,
    TrainedPrior,
    Velocity,
)
from invdiff.schedules import Chain, linear_betas
from invdiff.training.objectives import (
    OBJECTIVES,
    DDIMVariational,
    DenoisingScoreMatching,
    EDMWeights,
    EitherOf,
    Even,
    ImplicitScoreMatching,
    InverseVariance,
    LogNormal,
    LogUniform,
    MaximumLikelihood,
    NoiseLaw,
    Objective,
    Plain,
    SlicedScoreMatching,
    Weighting,
    make_objective,
)
from invdiff.transitions import ddim_coefficients

D = torch.float64
M, S = 0.45, 0.3
OUTPUTS: list[Output] = [
    cls(mean=M, std=S) for cls in (CleanImage, TotalNoise, Score, Velocity, EDMOutput, PreviousState, LastIncrement)
]
LEVELS = LogUniform(0.1, 1.0)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def label_of(value: object) -> str:
    return type(value).__name__


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_modes() -> MixturePrior:
    means = torch.tensor([[0.25, 0.3], [0.8, 0.7]], dtype=D).reshape(2, 1, 1, 2)
    covariances = torch.tensor([[[0.02, 0.01], [0.01, 0.015]], [[0.01, -0.005], [-0.005, 0.01]]], dtype=D)
    return MixturePrior(torch.tensor([0.7, 0.3], dtype=D), means, covariances)


class Small(nn.Module):
    """Two hidden layers."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        features = torch.stack([label / 2 + 1, torch.exp(label)], 1).to(z)
        out: Tensor = self.layers(torch.cat([z.flatten(1), features], 1))
        return out.reshape(z.shape)


def fit(objective: Objective, prior: MixturePrior, steps: int = 700) -> Small:
    network, g = Small(), generator(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, betas=(0.9, 0.99))
    data = prior.sample(2**16, g)
    for k in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - k / steps)
        x0 = data[torch.randint(len(data), (1024,), generator=g)]
        loss = objective.loss(network, x0, g).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def score_error(denoise: Callable[[Tensor, Tensor | float], Tensor], prior: MixturePrior) -> float:
    """Return the root mean square of `sigma |s - s*|` for each pixel; the score's own is about 1."""
    g = generator(2)
    sigma = LEVELS.sample(4000, g).float()
    x = prior.sample(4000, g)
    x = x + sigma[:, None, None, None] * torch.randn(x.shape, generator=g)
    with torch.no_grad():
        gap = (denoise(x, sigma) - prior.denoise(x, sigma)).flatten(1) / sigma[:, None]
    return float(gap.square().mean().sqrt())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_minimiser_has_the_exact_score(name: str) -> None:
    """A small network comes within 0.07 of the exact score; the best linear denoiser stays 0.3 off."""
    prior = two_modes()
    objective = make_objective(name, M, S, LEVELS)
    if isinstance(objective, DenoisingScoreMatching) and isinstance(objective.output, PreviousState | LastIncrement):
        # A chain of wider steps: the shorter the step, the less of the network's answer is about the image.
        output = dataclasses.replace(objective.output, previous=Shrink(0.3))
        objective = dataclasses.replace(objective, output=output)
    assert score_error(lambda x, s: EDMOutput(mean=M, std=S).denoise(lambda z, c: 0 * z, x, s), prior) > 0.3
    # Where the answer is an image, its error weighs 1 / sigma in the score: those want more steps.
    network = fit(objective, prior, 1200 if name in ("clean", "previous") else 700)
    assert score_error(objective.to_denoiser(network), prior) < 0.07


@pytest.mark.parametrize("output", OUTPUTS, ids=label_of)
def test_targets_have_the_mean_that_the_conversion_assumes(output: Output) -> None:
    """On `N(m, v)` the target regresses on the noisy image with the slope that makes the exact denoiser."""
    n, v, sigma, m = 40_000, 0.05, 0.4, 0.6
    g = generator(3)
    x0 = m + math.sqrt(v) * torch.randn((n, 1, 1, 1), generator=g, dtype=D)
    x, target = output.corrupt(
        x0, torch.full((n,), sigma, dtype=D), lambda: torch.randn(x0.shape, generator=g, dtype=D)
    )
    assert float(x.var()) == pytest.approx(v + sigma**2, rel=4 * math.sqrt(2 / n))
    a, b = (float(c) for c in output.coefficients(torch.tensor(sigma, dtype=D)))
    exact = m + v / (v + sigma**2) * (x - m)
    residual = target - (exact - M - a * (x - M)) / b
    for feature in (torch.ones_like(x), x - m):
        moment = (residual * feature).flatten()
        assert abs(float(moment.mean())) <= 4 * float(moment.std()) / math.sqrt(n)
    assert float(residual.std()) > 0.1  # the target is random given the noisy image


def test_targets_are_what_they_are_called() -> None:
    g = generator(4)
    x0 = torch.rand((3, 1, 1, 2), generator=g, dtype=D)
    noises = [torch.randn(x0.shape, generator=g, dtype=D) for _ in range(2)]
    sigma = torch.tensor([0.1, 0.5, 2.0], dtype=D)
    s = sigma[:, None, None, None]
    scale, tau = (s**2 + S**2).sqrt(), s / S
    # In the variance-preserving coordinates of unit data: v = alpha eps - sigma_vp x_0.
    alpha, sigma_vp = 1 / (1 + tau**2).sqrt(), tau / (1 + tau**2).sqrt()
    velocity = alpha * noises[0] - sigma_vp * (x0 - M) / S
    before = x0 + 0.5 * s * noises[0]
    expected = {
        "CleanImage": (x0 - M) / S,
        "TotalNoise": noises[0],
        "Score": -noises[0] / s,
        "Velocity": velocity,
        "EDMOutput": -velocity,
        "PreviousState": (before - M) / (S**2 + 0.25 * s**2).sqrt(),
        "LastIncrement": noises[1],
    }
    for output in OUTPUTS:
        x, target = output.corrupt(x0, sigma, iter(noises).__next__)
        torch.testing.assert_close(target, expected[label_of(output)], rtol=1e-10, atol=1e-12)
        on_chain = label_of(output) in ("PreviousState", "LastIncrement")
        there = before + math.sqrt(0.75) * s * noises[1] if on_chain else x0 + s * noises[0]
        torch.testing.assert_close(x, there)
        torch.testing.assert_close(output.evaluate(lambda z, label: z, x, sigma), (x - M) / scale)
        received = output.evaluate(lambda z, label: label[:, None, None, None].expand_as(z), x, sigma)
        torch.testing.assert_close(received[:, 0, 0, 0], sigma.log())


def test_a_ddpm_network_becomes_the_exact_denoiser() -> None:
    """The exact noise estimate for data `N(0, v)` on [-1, 1] under DDPM's chain is a denoiser on [0, 1]."""
    chain, v = Chain(linear_betas(1000)), 0.3

    def network(z: Tensor, index: Tensor) -> Tensor:
        abar = chain.abar[index.round().long() + 1].to(z)[:, None, None, None]
        return torch.cat([(1 - abar).sqrt() * z / (abar * v + 1 - abar), torch.zeros_like(z)], 1)  # a variance, ignored

    output = TotalNoise(mean=0.5, std=0.5, label=lambda sigma: chain.index(sigma / 0.5) - 1)
    converted = TrainedPrior(network, output, (1, 1, 2), 0.01, 50.0)
    exact = GaussianPrior(torch.full((1, 1, 2), 0.5, dtype=D), v / 4 * torch.eye(2, dtype=D))
    x = torch.randn((5, 1, 1, 2), generator=generator(5), dtype=D)
    sigma = 0.5 * chain.sigma[torch.tensor([1, 20, 200, 700, 1000])]
    torch.testing.assert_close(converted.denoise(x, sigma), exact.denoise(x, sigma), rtol=1e-9, atol=1e-11)


def test_an_ncsn_network_becomes_the_exact_denoiser() -> None:
    """A score network on [-1, 1] that sees the noisy image as it is, and its level."""
    v = 0.3
    output = TotalNoise(mean=0.5, std=0.5, label=lambda sigma: 2 * sigma, scaled=False)

    def network(u: Tensor, level: Tensor) -> Tensor:
        s = level[:, None, None, None]
        return s * u / (v + s**2)

    converted = TrainedPrior(network, output, (1, 1, 2), 0.01, 50.0)
    exact = GaussianPrior(torch.full((1, 1, 2), 0.5, dtype=D), v / 4 * torch.eye(2, dtype=D))
    x = torch.randn((5, 1, 1, 2), generator=generator(5), dtype=D)
    torch.testing.assert_close(converted.denoise(x, 0.7), exact.denoise(x, 0.7), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("weighting", [InverseVariance(), Even()], ids=label_of)
@pytest.mark.parametrize(
    "make",
    [
        lambda w: ImplicitScoreMatching(EDMOutput(mean=M, std=S), LEVELS, w),
        lambda w: SlicedScoreMatching(EDMOutput(mean=M, std=S), LEVELS, w, probes=2),
        lambda w: SlicedScoreMatching(EDMOutput(mean=M, std=S), LEVELS, w, reduced=False),
    ],
    ids=["implicit", "sliced", "sliced plain"],
)
def test_implicit_and_denoising_score_matching_differ_by_a_constant(
    make: Callable[[Weighting], Objective], weighting: Weighting
) -> None:
    """For any network: the mean of `w sigma^2`, within 4 standard errors of 60,000 pairs that share their noise."""
    prior, network, n = two_modes(), Small(7), 60_000
    x0 = prior.sample(n, generator(8), D)
    network.double()
    denoising = DenoisingScoreMatching(EDMOutput(mean=M, std=S), LEVELS, weighting)
    sigma = LEVELS.sample(n, generator(9))
    constant = weighting(sigma, denoising.output, LEVELS) * sigma**2
    gap = denoising.loss(network, x0, generator(9)) - make(weighting).loss(network, x0, generator(9)) - constant
    error = float(gap.detach().std()) / math.sqrt(n)
    assert abs(float(gap.detach().mean())) < 4 * error
    assert 4 * error < 0.1 * float(constant.mean())


def test_all_weightings_weigh_the_same_errors() -> None:
    """A loss is its weight times the squared denoising error, whatever the network estimates."""
    x0 = two_modes().sample(50, generator(8), D)
    network = Small(7).double()
    for weighting in (Plain(), InverseVariance(), EDMWeights(), Even(), MaximumLikelihood(), DDIMVariational(0.5)):
        for output in OUTPUTS[:5]:
            objective = DenoisingScoreMatching(output, LEVELS, weighting)
            g = generator(9)
            sigma = LEVELS.sample(50, g)
            x = x0 + sigma[:, None, None, None] * torch.randn(x0.shape, generator=g, dtype=D)
            error = (objective.to_denoiser(network)(x, sigma) - x0).flatten(1).square().mean(1)
            expected = weighting(sigma, output, LEVELS) * error
            torch.testing.assert_close(objective.loss(network, x0, generator(9)), expected, rtol=1e-8, atol=1e-12)
    # EDM's weights are plain regression of its own target, SMLD's plain regression of the noise.
    s = torch.tensor([0.1, 0.7], dtype=D)
    torch.testing.assert_close(Plain()(s, EDMOutput(std=S), LEVELS), EDMWeights()(s, EDMOutput(std=S), LEVELS))
    torch.testing.assert_close(Plain()(s, TotalNoise(std=S), LEVELS), InverseVariance()(s, TotalNoise(std=S), LEVELS))


@pytest.mark.parametrize("law", [LogUniform(0.01, 10.0), LogNormal(0.3, 2.0)], ids=label_of)
def test_maximum_likelihood_weights_measure_the_divergence(law: NoiseLaw) -> None:
    """Excess loss of the denoiser of `N(m, u)` on data `N(m, v)` is KL at the lowest level less KL at the highest."""
    u, v, n = 0.02, 0.08, 200_000
    output = CleanImage(mean=M, std=1.0)

    def network_of(variance: float) -> Network:
        def network(z: Tensor, label: Tensor) -> Tensor:
            sigma = label.exp()[:, None, None, None]
            return variance / (variance + sigma**2) * z * (1 + sigma**2).sqrt()

        return network

    x0 = M + math.sqrt(v) * torch.randn((n, 1, 1, 1), generator=generator(1), dtype=D)
    objective = DenoisingScoreMatching(output, law, MaximumLikelihood())
    gap = objective.loss(network_of(u), x0, generator(2)) - objective.loss(network_of(v), x0, generator(2))

    def divergence(sigma: float) -> float:
        ratio = (v + sigma**2) / (u + sigma**2)
        return 0.5 * (ratio - 1 - math.log(ratio))

    ends = (0.01, 10.0) if isinstance(law, LogUniform) else (1e-9, 1e9)
    expected = divergence(ends[0]) - divergence(ends[1])
    error = float(gap.std()) / math.sqrt(n)
    assert float(gap.mean()) == pytest.approx(expected, abs=4 * error)
    assert 4 * error < 0.15 * expected


@pytest.mark.parametrize("eta", [0.2, 0.7, 1.0])
def test_variational_weights_are_divergences_of_ddim_steps(eta: float) -> None:
    """KL of two Gaussians of the same variance `s^2`, whose means are `(1 - k) (x_0 - x_0')` apart."""
    sigma, low = 0.9, 0.9 * 0.7
    k, s = ddim_coefficients(sigma, low, eta)
    weight = DDIMVariational(eta, Shrink(0.7))(torch.tensor(sigma, dtype=D), EDMOutput(), LEVELS)
    assert float(weight) == pytest.approx((1 - k) ** 2 / (2 * s**2), rel=1e-12)
    if eta == 1:
        assert float(weight) == pytest.approx((low**-2 - sigma**-2) / 2, rel=1e-12)


@pytest.mark.parametrize(
    "law",
    [LogUniform(0.05, 2.0), LogNormal(0.2, 0.8), EitherOf(LogNormal(0.2, 0.8), LogUniform(0.05, 2.0), 0.3)],
    ids=label_of,
)
def test_levels_follow_their_density(law: NoiseLaw) -> None:
    """`E[1{a < l < b} / q(l)] = b - a`, within 4 standard errors."""
    sigma = law.sample(50_000, generator(1))
    for a, b in ((0.1, 0.2), (0.2, 0.6), (0.6, 1.5)):
        inside = ((sigma > a) & (sigma < b)) / law.density(sigma)
        error = float(inside.std()) / math.sqrt(len(sigma))
        assert float(inside.mean()) == pytest.approx(math.log(b / a), abs=4 * error)


def test_losses_have_gradients_and_one_row_for_each_image() -> None:
    x0 = two_modes().sample(6, generator(0))
    for name in OBJECTIVES:
        network = Small()
        loss = make_objective(name, M, S, LEVELS).loss(network, x0, generator(1))
        assert loss.shape == (6,)
        loss.mean().backward()
        for p in network.parameters():
            # The last bias of an implicit objective at zero output may rest; the weights may not.
            assert p.grad is not None
            assert bool(p.grad.abs().sum() > 0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_levels_may_be_given(name: str) -> None:
    """The loss at levels that are given is that at levels of the law, where these are the same."""
    x0, sigma = two_modes().sample(5, generator(0)), torch.full((5,), 0.3, dtype=torch.float64)
    narrow = LogUniform(0.3 * (1 - 1e-9), 0.3)
    # Both use up the same random numbers before the noise is drawn, or the same levels would meet other noise.
    g = generator(1)
    narrow.sample(5, g)
    given = make_objective(name, M, S, narrow).loss(Small(), x0, g, sigma)
    torch.testing.assert_close(given, make_objective(name, M, S, narrow).loss(Small(), x0, generator(1)))


def test_edms_objective_is_its_equation_8() -> None:
    network, x0 = Small().double(), two_modes().sample(5, generator(0)).double()
    sigma = torch.tensor([0.01, 0.1, 0.3, 1.0, 4.0], dtype=D)
    found = make_objective("edm", M, S, LEVELS).loss(network, x0, generator(1), sigma)
    s, noise = sigma[:, None, None, None], torch.randn(x0.shape, generator=generator(1), dtype=x0.dtype)
    c_skip, c_out = S**2 / (s**2 + S**2), s * S / (s**2 + S**2).sqrt()
    noisy = x0 - M + s * noise
    f = network(noisy / (s**2 + S**2).sqrt(), sigma.log())
    torch.testing.assert_close(found, (f - (x0 - M - c_skip * noisy) / c_out).flatten(1).square().mean(1))


def test_wrong_requests_raise() -> None:
    with pytest.raises(ValueError, match="did you mean 'velocity'"):
        make_objective("velocty", M, S, LEVELS)
    with pytest.raises(ValueError, match="eta"):
        DDIMVariational(0.0)
    with pytest.raises(ValueError, match="std"):
        TotalNoise(std=0.0)
    with pytest.raises(ValueError, match="ratio"):
        Shrink(1.0)
    with pytest.raises(ValueError, match="sigma_min"):
        TrainedPrior(Small(), TotalNoise(), (1, 1, 2), 1.0, 0.1)
    with pytest.raises(ValueError, match="probes"):
        SlicedScoreMatching(probes=0)
