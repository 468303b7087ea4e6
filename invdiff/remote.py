"""Reconstructions by the workers of a pool: whole pictures, or the batches of samples of one picture.

Problems and results are sent; a prior is loaded by each worker, once, and must be the same there. Workers need this
package and the files that priors and classes come from, at the same paths.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .batches import solve_together
from .errors import UserError
from .fingerprint import fingerprint
from .newest import Newest
from .noise import Noise
from .operators.base import Operator
from .pools.base import Job, Kept, Pool, WorkerDied
from .priors import load_prior
from .priors.base import Prior
from .priors.gray import GrayPrior
from .problem import Problem
from .reconstruction import Reconstruction
from .registry import in_file_of_user, is_foreign, load_files, loaded_files
from .solvers import Solver
from .solvers.common.drawing import Batch, Elsewhere, Result, result_of
from .solvers.common.run import Run
from .streams import Streams, generator

POLL = 1.0
"""Seconds between two looks at the workers."""


@dataclass(frozen=True)
class Named:
    """A prior that workers can load.

    Attributes:
        name: of the prior, or its path.
        hash: its fingerprint.
        gray: whether it is one of colour images that is taken for gray ones.
        memory: bound of its evaluations, bytes; `None` for its own.
    """

    name: str
    hash: str
    gray: bool
    memory: float | None = None

    @classmethod
    def of(cls, name: str, prior: Prior) -> Named:
        """Return how a prior that was loaded by this name is loaded again."""
        return cls(name, fingerprint(prior), isinstance(prior, GrayPrior) and name != "photo-gray", prior.memory)

    def load(self) -> Prior:
        """Return the prior.

        Raises:
            UserError: another one than the sender has.
        """
        prior = load_prior(self.name)
        prior = GrayPrior(prior) if self.gray and not isinstance(prior, GrayPrior) else prior
        prior = prior if self.memory is None else prior.within(self.memory)
        if (found := fingerprint(prior)) != self.hash:
            raise UserError(
                f"prior {self.name!r}: expected the one of hash {self.hash}, found {found}; give all workers one file"
            )
        return prior


@dataclass(frozen=True, kw_only=True)
class SolverJob(Job):
    """Work of a solver with a prior, for any worker.

    Attributes:
        title: for people who look at the cluster.
        prior: the prior.
        operator: of the problems, pickled; workers keep it with the tables that it has computed.
        content: the rest of the work, pickled.
        files: of classes that do not belong to a package.
    """

    title: str
    prior: Named
    operator: bytes
    content: bytes
    files: tuple[str, ...] = field(default_factory=loaded_files)

    @property
    def label(self) -> str:
        """The title."""
        return self.title

    def run(self, kept: Kept) -> bytes:
        """Return the result, or the error, pickled."""
        try:
            return pickle.dumps(self._result(kept))
        except Exception as error:
            if is_foreign(error):
                error = UserError(f"{in_file_of_user(error)}: {type(error).__name__}: {error}")
            error.__traceback__ = None  # frames cannot be sent
            try:
                pickle.loads(sent := pickle.dumps(error))
            except Exception:
                return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
            return sent

    def _result(self, kept: Kept) -> Any:
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        device = torch.device("cpu")
        if self.device == "cuda":
            device = torch.device("cuda", self.worker % torch.cuda.device_count())
        load_files(self.files)
        priors = kept.setdefault("priors", Newest[Prior](2))
        operators = kept.setdefault("operators", Newest[Operator](4))
        prior = priors.get((self.prior, device), lambda: self.prior.load().to(device))
        key = (hashlib.sha256(self.operator).hexdigest(), device)
        operator = operators.get(key, lambda: pickle.loads(self.operator).to(device))
        return self.work(operator, prior, device)

    def work(self, operator: Operator, prior: Prior, device: torch.device) -> Any:
        """Do the work with what the worker keeps."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sent:
    """A problem without its operator."""

    noise: Noise
    measurement: Tensor
    index: tuple[int, ...]

    @classmethod
    def of(cls, problem: Problem) -> Sent:
        """Return what is sent of a problem."""
        return cls(problem.noise.to("cpu"), problem.measurement.cpu(), problem.image_index)

    def problem(self, operator: Operator, device: torch.device) -> Problem:
        """Return the problem on a device."""
        return Problem(operator, self.noise.to(device), self.measurement.to(device), self.index)


@dataclass(frozen=True, kw_only=True)
class PicturesJob(SolverJob):
    """Pictures that are solved together."""

    samples: int
    seed: int
    batch_size: int | None

    def work(self, operator: Operator, prior: Prior, device: torch.device) -> list[Reconstruction]:
        """Return a result for each picture."""
        solver, sent = pickle.loads(self.content)
        problems = [s.problem(operator, device) for s in sent]
        results = solve_together(
            solver, problems, prior, samples=self.samples, seed=self.seed, batch_size=self.batch_size
        )
        return [_on_cpu(r) for r in results]


@dataclass(frozen=True, kw_only=True)
class BatchJob(SolverJob):
    """A batch of samples of one picture."""

    number: int

    def work(self, operator: Operator, prior: Prior, device: torch.device) -> Result:
        """Return the images of the batch and its figures."""
        solver, sent, levels, keys = pickle.loads(self.content)
        run = Run(sent.problem(operator, device), prior, levels, Streams(generator(*k) for k in keys))
        images = solver.drawn(run)
        found: Result = _moved(result_of(run, images), torch.device("cpu"))
        return found


class Workers(Elsewhere):
    """The workers of a pool, which draw the batches of the solvers that are called here.

    Args:
        pool: the pool.
        prior: as solvers get it.
        named: the same for workers.
    """

    def __init__(self, pool: Pool, prior: Prior, named: Named) -> None:
        self._pool, self._prior, self._named = pool, prior, named

    def takes(self, batch: Batch) -> bool:
        """Return whether the batch is of the prior that workers have."""
        return batch.run.prior is self._prior

    def draw(self, solver: object, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Result]]:
        """Yield the results of batches as they come."""
        operator = pickled(batches[0].run.problem.operator.to("cpu"))
        jobs = [
            BatchJob(
                title=type(solver).__name__, prior=self._named, operator=operator, number=number,
                content=pickled((solver, Sent.of(b.run.problem), b.run.levels, b.keys)),
            )
            for number, b in enumerate(batches)
        ]  # fmt: skip
        for job, result in results_of(self._pool, iter(jobs)):
            assert isinstance(job, BatchJob)
            batch = batches[job.number]
            yield batch, _moved(result, batch.run.problem.measurement.device)


def results_of(pool: Pool, jobs: Iterator[Job]) -> Iterator[tuple[Job, Any]]:
    """Yield jobs with their results as they come, and raise the error of one that failed."""
    for job, result in finished_jobs(pool, jobs):
        if isinstance(result, Exception):
            raise result
        yield job, result


def finished_jobs(pool: Pool, jobs: Iterator[Job]) -> Iterator[tuple[Job, Any]]:
    """Yield jobs with their results, or the errors, as they come; jobs are taken when a worker has room."""
    more = True
    while more or pool.busy:
        while more and pool.room:
            if (job := next(jobs, None)) is None:
                more = False
            else:
                pool.submit(job)
        if pool.busy:
            for job, result in pool.finished(POLL):
                died = isinstance(result, WorkerDied)
                yield job, UserError(f"a worker died: {result.reason}") if died else pickle.loads(result)


def pictures_job(
    title: str, operator: bytes, problems: Sequence[Problem], solver: Solver, prior: Named, *, samples: int, seed: int,
    batch_size: int | None,
) -> PicturesJob:  # fmt: skip
    """Return the job of pictures with one operator and one noise model.

    Args:
        title: a name for the job.
        operator: of the problems, pickled.
        problems: of one image each.
        solver: the solver.
        prior: the prior.
        samples: number of samples of each image.
        seed: non-negative integer.
        batch_size: number of samples that are drawn at once.
    """
    return PicturesJob(
        title=title, prior=prior, operator=operator,
        content=pickled((solver, [Sent.of(p) for p in problems])), samples=samples, seed=seed, batch_size=batch_size,
    )  # fmt: skip


def pickled(thing: object) -> bytes:
    """Return an object as bytes.

    Raises:
        UserError: it has parts that cannot be sent, such as a function inside of another one.
    """
    try:
        return pickle.dumps(thing)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"workers: expected an operator, a noise model and a solver that can be pickled, got {error}; define their "
            "classes and functions at the top of a file"
        ) from error


def _on_cpu(result: Reconstruction) -> Reconstruction:
    """Return a result on the CPU."""
    values = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    moved: Reconstruction = dataclasses.replace(result, **_moved(values, torch.device("cpu")))
    return moved


def _moved(value: Any, device: torch.device) -> Any:
    """Return tensors in dictionaries, lists and tuples on a device."""
    if isinstance(value, Tensor):
        return value.detach().to(device)
    if isinstance(value, dict):
        return {k: _moved(v, device) for k, v in value.items()}
    if isinstance(value, list):
        return [_moved(v, device) for v in value]
    return value
