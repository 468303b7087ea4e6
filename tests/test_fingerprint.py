"""What a prior is hashed by does not change when the prior is used."""

from __future__ import annotations

import pytest
import torch

from invdiff.fingerprint import fingerprint
from invdiff.priors import StationaryGaussianPrior, load_prior, photograph_gaussian
from invdiff.streams import generator


@pytest.mark.parametrize("name", ["gaussian", "fashion"])
def test_use_does_not_change_it(name: str) -> None:
    prior = load_prior(name)
    before = fingerprint(prior)
    if isinstance(prior, StationaryGaussianPrior):
        prior.sample(1, (1, 16, 16), generator(0))
    else:
        prior.denoise(torch.zeros(1, *(n or 32 for n in prior.shape)), torch.tensor(0.5))
    assert fingerprint(prior) == before == fingerprint(load_prior(name))


def test_other_priors_have_another() -> None:
    assert fingerprint(photograph_gaussian()) != fingerprint(load_prior("fashion"))


def test_where_a_prior_came_from_does_not_count() -> None:
    prior = load_prior("photo")
    before = fingerprint(prior)
    assert prior.training_images
    prior.training_images = frozenset()
    assert fingerprint(prior) == before
