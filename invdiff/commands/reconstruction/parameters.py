"""Unknown parameters in the command: their true values in a simulation, and their posteriors in the results."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ...noise import Noise
from ...operators import Operator
from ...problem import Problem, unknowns_of
from ...reconstruction import Reconstruction
from ...streams import generator

TRUTH = 7_919
"""Stream of the true values, apart from those of images."""


def drawn_parameters(operator: Operator, noise: Noise, seed: int) -> dict[str, float]:
    """Return a draw of the unknown parameters from their priors, for a simulation; none without unknowns."""
    g = generator(seed, TRUTH)
    unknowns = unknowns_of(operator, noise)
    return {name: unknown.value(float(torch.rand((), generator=g))) for name, unknown in unknowns.items()}


def fixed(problem: Problem, result: Reconstruction) -> Problem:
    """Return the problem of the first image with its parameters at their posterior mean; unchanged without unknowns."""
    if not problem.unknowns:
        return problem
    return problem.at({name: _inside(problem, name, float(p.mean[0])) for name, p in result.parameters.items()})


def _inside(problem: Problem, name: str, value: float) -> float:
    low, high = problem.unknowns[name].ends
    return min(max(value, low), high)


def parameter_record(result: Reconstruction, truth: Mapping[str, float]) -> dict[str, dict[str, object]]:
    """Return the entry `parameters` of `result.json`: mean, standard deviation and samples by name."""
    out: dict[str, dict[str, object]] = {}
    for name, p in result.parameters.items():
        out[name] = {"mean": float(p.mean[0]), "std": float(p.std[0]), "samples": p.samples[0].tolist()}
        if p.note:
            out[name]["note"] = p.note
        if name in truth:
            out[name]["true"] = truth[name]
    return out


def parameter_lines(result: Reconstruction, truth: Mapping[str, float]) -> list[str]:
    """Return one line with all parameters, and one for each that the measurement hardly tells."""
    if not result.parameters:
        return []
    found = [
        f"{name} = {brief(float(p.mean[0]), float(p.std[0]))}" + (f" (true {truth[name]:.4g})" if name in truth else "")
        for name, p in result.parameters.items()
    ]
    return [f"Inferred: {', '.join(found)}.", *(f"Note: {p.note}." for p in result.parameters.values() if p.note)]


def parameter_caption(result: Reconstruction) -> str:
    """Return the parameters for the subtitle of the figure, or ""."""
    return "   ".join(f"{name} {brief(float(p.mean[0]), float(p.std[0]))}" for name, p in result.parameters.items())


def brief(mean: float, std: float) -> str:
    """Return a mean and its standard deviation with two digits of the latter.

    Example:
        >>> brief(2.03456, 0.0678), brief(0.0101, 0.00005)
        ('2.035 +- 0.068', '0.0101 +- 5e-05')
    """
    if not std > 0:
        return f"{mean:.4g}"
    digits = max(0, 1 - math.floor(math.log10(std)))
    return f"{mean:.{digits}f} +- {std:.{digits}f}" if digits <= 4 else f"{mean:.4g} +- {std:.2g}"
