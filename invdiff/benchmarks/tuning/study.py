"""Tuning: the hyper-parameters `theta` of a solver with the best restored validation images, at one cost.

    theta* = argmax_theta  1 / (|T| |I|)  sum_{t in T, i in I}  PSNR( mean of S samples of solver_theta(y_{t,i}), x_i )

over tasks `T` (each separately, or all together) and images `I` that the benchmark never scores. The measurements
`y_{t,i}` and the solver's random numbers are the same in all trials, so trials differ in `theta` only. The first trial
is the solver's default, so the result of a study is never worse on its own images. The search is optuna's
tree-structured Parzen estimator. The study is stored in an SQLite file, and an interrupted study continues.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...checks import integer
from ...errors import UserError, first_line
from ...fingerprint import fingerprint
from ...metrics import psnr
from ...phantoms import body
from ...priors.base import Prior
from ...problem import Problem
from ...solvers import Solver
from ...solvers.base import parameters
from ...solvers.common.search import Range
from ...specs import Spec, build, canonical
from ..baselines import solver_class
from ..images import BUILT_IN, Picture, draw, load_pictures
from ..suite import Suite
from ..tasks import Task
from .spaces import space

DEFAULT = "default"
"""Mark of the trial with the solver's default parameters."""
FAR = 1_000_000
"""First index of the phantoms and draws for tuning; those of a run begin at 0."""


@dataclass(frozen=True)
class Plan:
    """The definition of a study: everything that its results depend on.

    Attributes:
        solver: name of the solver.
        tasks: the tasks by their labels.
        images: validation images.
        prior: the prior.
        fixed: parameters of the solver that are not searched, such as `steps`.
        ranges: ranges beside or instead of the declared ones.
        samples: S, the number of samples of the scored mean.
        seed: of the measurements, of the solver and of the search.
        together: whether there is one set of parameters for all tasks, rather than one for each.
    """

    solver: str
    tasks: Mapping[str, Task]
    images: Sequence[Picture]
    prior: Prior
    fixed: Mapping[str, object] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    samples: int = 1
    seed: int = 0
    together: bool = False

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UserError("tune: tasks: expected at least one, got none")
        if not self.images:
            raise UserError("tune: images: expected at least one, got none; give a folder of photographs")
        integer("tune: samples", self.samples, 1)
        self.searched()
        build(self.cls, self.fixed)

    @property
    def cls(self) -> type[Solver]:
        """The solver's class."""
        return solver_class(self.solver)

    @property
    def label(self) -> str:
        """The solver with its fixed parameters, as an entry of a suite."""
        return canonical(Spec(self.solver, dict(self.fixed)))

    def searched(self) -> dict[str, Range]:
        """Return the ranges of the search."""
        return space(self.solver, self.cls, self.fixed, self.ranges)

    def name(self, tasks: Sequence[str]) -> str:
        """Return the name of a study, which is unique to its definition."""
        facts = {
            "solver": self.solver,
            "fixed": {k: repr(v) for k, v in sorted(self.fixed.items())},
            "ranges": {k: str(r) for k, r in sorted(self.searched().items())},
            "tasks": {k: repr(self.tasks[k]) for k in tasks},
            "images": [(image.number, fingerprint(image.pixels)) for image in self.images],
            "prior": fingerprint(self.prior),
            "samples": self.samples,
            "seed": self.seed,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.solver} {'all' if len(tasks) > 1 else tasks[0]} {digest}"


@dataclass(frozen=True)
class Outcome:
    """The result of a study.

    Attributes:
        tasks: labels of its tasks.
        parameters: the best values of the searched parameters.
        psnr: their mean PSNR in dB on the validation images.
        default: mean PSNR in dB of the solver's defaults.
        trials: number of trials, with the failed ones.
        failed: number of trials that diverged or were refused by the solver.
        evaluations: of the network for one sample.
        seconds: all trials together.
        reason: why there is no result; "" if there is one.
    """

    tasks: tuple[str, ...]
    parameters: dict[str, object] = field(default_factory=dict)
    psnr: float = math.nan
    default: float = math.nan
    trials: int = 0
    failed: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    reason: str = ""


def tune(plan: Plan, budget: int, storage: Path, say: Callable[[str], None] = lambda text: None) -> list[Outcome]:
    """Run or continue the studies of a plan.

    Args:
        plan: the definition of the studies.
        budget: number of trials of each study, with those of earlier runs.
        storage: the SQLite file of the studies; it is made if missing.
        say: called with one line for each trial.

    Returns:
        One outcome for each task, or one for all.

    Raises:
        ValueError: a budget below 1, or a file that holds no studies.
        ImportError: optuna is missing.
    """
    if budget < 1:
        raise UserError(f"tune: budget: expected at least 1 trial, got {budget}")
    able, outcomes = [], []
    for label, task in plan.tasks.items():
        problems = [task.problem(p.pixels[None], image=p.number, seed=plan.seed) for p in plan.images]
        missing = plan.cls.unmet(problems[0])
        if missing:
            say(f"{label}: not applicable: {plan.solver} needs {', '.join(missing)}")
            outcomes.append(Outcome((label,), reason=f"not applicable: needs {', '.join(missing)}"))
        else:
            able.append((label, problems))
    groups = [able] if plan.together and able else [[pair] for pair in able]
    return outcomes + [_study(plan, dict(group), budget, storage, say) for group in groups]


def validation_pictures(suite: Suite, source: str | None, count: int, prior: Prior) -> list[Picture]:
    """Return images for tuning that the suite does not score.

    Args:
        suite: the suite.
        source: a folder, a built-in source, or `None` for the default of the suite: "validation" for photographs; for
            phantoms and draws of the prior, indices that no run uses.
        count: number of images.
        prior: the suite's prior.

    Raises:
        ValueError: no such source, too few images, or an image that the suite scores.
    """
    data, channels = suite.data, suite.data.channels
    own = source or data.source
    if own in ("phantoms", "prior") and data.size is not None:
        shape = (channels, data.size, data.size)
        numbers = range(FAR, FAR + count)
        made = (body(data.size, i).expand(*shape) if own == "phantoms" else draw(prior, shape, i) for i in numbers)
        return [Picture(f"{own}-{i}", i, pixels) for i, pixels in zip(numbers, made, strict=True)]
    if source is None and data.source not in BUILT_IN:
        raise UserError(
            f"suite {suite.name!r} scores the images of a folder: expected --images with another folder, for tuning"
        )
    chosen = load_pictures(source or "validation", count, size=data.size, channels=channels, prior=prior)
    scored = load_pictures(data.source, data.images, size=data.size, channels=channels, prior=prior)
    seen = {fingerprint(image.pixels) for image in scored}
    for image in chosen:
        if fingerprint(image.pixels) in seen or (source == data.source and source != "validation"):
            raise UserError(
                f"--images: {image.name!r} is an image that suite {suite.name!r} scores; expected others, "
                "or what is tuned on them would be graded on them"
            )
    return chosen


def with_outcomes(suite: Suite, plan: Plan, outcomes: Sequence[Outcome]) -> Suite:
    """Return the suite with the best parameters of a plan's studies, and the studies' figures."""
    parameters = {task: dict(solvers) for task, solvers in suite.parameters.items()}
    studies = {task: dict(solvers) for task, solvers in suite.studies.items()}
    for outcome in outcomes:
        if outcome.reason:
            continue
        numbers = {
            "psnr": round(outcome.psnr, 3),
            **({} if math.isnan(outcome.default) else {"psnr_default": round(outcome.default, 3)}),
            "trials": outcome.trials,
            "failed": outcome.failed,
            "evaluations": outcome.evaluations,
            "samples": plan.samples,
            "images": len(plan.images),
            "size": list(plan.images[0].pixels.shape[1:]),
            "tasks": len(outcome.tasks),
            "seconds": round(outcome.seconds, 1),
        }
        for task in outcome.tasks:
            parameters.setdefault(task, {})[plan.label] = {
                k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in outcome.parameters.items()
            }
            studies.setdefault(task, {})[plan.label] = numbers
    solvers = tuple(dict.fromkeys((*suite.solvers, plan.label)))
    return suite.changed(parameters=parameters, studies=studies, solvers=solvers)


def _study(
    plan: Plan, problems: Mapping[str, Sequence[Problem]], budget: int, storage: Path, say: Callable[[str], None]
) -> Outcome:
    optuna = _optuna()
    ranges, labels = plan.searched(), tuple(problems)
    study = _open(optuna, plan.name(labels), storage, plan.seed)
    known = parameters(plan.cls)
    defaults: dict[str, Any] = {k: known[k].default for k in ranges}
    begun = any(t.user_attrs.get(DEFAULT) and t.state.name != "RUNNING" for t in study.trials)
    if not begun and all(r.low <= defaults[k] <= r.high for k, r in ranges.items()):
        study.enqueue_trial(defaults, user_attrs={DEFAULT: True})

    def objective(trial: Any) -> float:
        begin = time.perf_counter()
        chosen = {k: _suggest(trial, k, r, isinstance(defaults[k], int)) for k, r in ranges.items()}
        solver = build(plan.cls, {**plan.fixed, **chosen})
        scores = []
        for label in labels:
            for image, problem in zip(plan.images, problems[label], strict=True):
                result = solver(problem, plan.prior, samples=plan.samples, seed=plan.seed)
                if result.status == "diverged":
                    raise ValueError(result.message or result.status)
                scores.append(float(psnr(result.mean.clamp(0, 1), image.pixels[None])))
                trial.set_user_attr("evaluations", result.nfe)
        trial.set_user_attr("scores", scores)
        trial.set_user_attr("seconds", time.perf_counter() - begin)
        return sum(scores) / len(scores)

    def tell(study: Any, trial: Any) -> None:
        value = "failed" if trial.value is None else f"{trial.value:.2f} dB"
        shown = ", ".join(f"{k}={v:.3g}" for k, v in trial.params.items())
        what = labels[0] if len(labels) == 1 else f"{len(labels)} tasks"
        say(f"{what}: trial {trial.number + 1} of {budget}: {value}  {shown}")

    # A running trial of a killed process never finishes, and does not count.
    done = [t for t in study.trials if t.state.is_finished()]
    study.optimize(objective, n_trials=max(0, budget - len(done)), catch=(ValueError,), callbacks=[tell])
    return _outcome(plan, study, labels)


def _outcome(plan: Plan, study: Any, labels: tuple[str, ...]) -> Outcome:
    trials = [t for t in study.trials if t.state.is_finished()]
    good = [t for t in trials if t.value is not None and math.isfinite(t.value)]
    failed = len(trials) - len(good)
    if not good:
        reason = "no trial gave images; change the ranges, or try the solver alone"
        return Outcome(labels, trials=len(trials), failed=failed, reason=reason)
    best = max(good, key=lambda t: t.value)
    return Outcome(
        labels,
        dict(best.params),
        best.value,
        next((t.value for t in good if t.user_attrs.get(DEFAULT)), math.nan),
        trials=len(trials),
        failed=failed,
        evaluations=int(best.user_attrs["evaluations"]),
        seconds=sum(t.user_attrs["seconds"] for t in good),
    )


def _suggest(trial: Any, name: str, r: Range, whole: bool) -> float:
    if whole:
        return int(trial.suggest_int(name, math.ceil(r.low), math.floor(r.high), log=r.log))
    return float(trial.suggest_float(name, r.low, r.high, log=r.log))


def _open(optuna: Any, name: str, storage: Path, seed: int) -> Any:
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not storage.parent.is_dir():
        raise UserError(f"tune: study: no folder {str(storage.parent)!r}; make it first")
    try:
        return optuna.create_study(
            storage=f"sqlite:///{storage}",
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=8),
        )
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        raise UserError(
            f"tune: study: {str(storage)!r} is no file of studies that can be written: {first_line(error)}; "
            "choose another file"
        ) from error


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("invdiff tune needs optuna: pip install 'invdiff[tune]'") from error
    return optuna
