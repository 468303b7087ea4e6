"""`invdiff reconstruct` with several pictures: one result a picture, in a folder of its name.

Pictures are solved here, or by the workers of a pool; results are written here. A picture that fails does not stop the
others.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...atomic import atomic_path
from ...batches import solve_together
from ...errors import UserError
from ...journal import Journal, JournalError
from ...newest import Newest
from ...pools.base import Pool
from ...reconstruction import Reconstruction
from ...remote import Named, PicturesJob, finished_jobs, pickled, pictures_job
from .. import terminal
from ..checks import RESULT, check_out
from ..devices import select_device
from ..endings import DIVERGED, FAILED, INTERRUPTED, ending
from .checks import check_request
from .groups import batches
from .meter import Meter, duration, metered
from .prepare import Prepared, Tables, notes_of, prepare
from .request import Request
from .results import RESUME
from .run import build_solver, chosen_solver, conclude, open_workers
from .settings import differences, earlier_result, key_of, settings_of

SUMMARY = "summary.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Order:
    """Pictures to be reconstructed with the same options.

    Attributes:
        requests: one for each picture; each `out` is a folder of its own in `folder`.
        folder: of all results.
        operator: as the user named it, for all of them.
    """

    requests: Sequence[Request]
    folder: Path
    operator: str


@dataclass
class Tally:
    """What has become of the pictures.

    Attributes:
        before: names of those that were done before.
        failed: messages of those that failed, by name.
        solves: seconds of the solves of this run.
    """

    before: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    solves: float = 0.0


def check_order(order: Order) -> Tally:
    """Return which pictures are done and which cannot be; raise if none can, or results of other settings are there.

    Raises:
        ValueError, OSError: that of the first picture, if no picture passes the checks.
        FileExistsError: results of other settings, without `--overwrite`.
    """
    requests, folder, tally = order.requests, order.folder, Tally()
    if (folder / RESULT).exists():
        raise FileExistsError(f"--out: {str(folder)!r} holds the result of one picture; choose another folder")
    check_out(folder, overwrite=True)
    first: Exception | None = None
    others: list[str] = []
    for request in requests:
        name = request.out.name
        try:
            check_request(replace(request, overwrite=True))
            changes = _changes(request)
        except (ValueError, OSError, ImportError) as error:
            first = first or error
            tally.failed[name] = ending(error)[1]
            continue
        if changes:
            others.append(f"{name}: {'; '.join(changes)}")
        elif changes is not None:
            tally.before.add(name)
    if first is not None and len(tally.failed) == len(requests):
        raise first
    if others and not requests[0].overwrite:
        raise FileExistsError(
            f"--out: {str(folder)!r} holds {len(others)} results of other settings ({others[0]}); add --overwrite to "
            "replace them, or choose another folder"
        )
    return tally


def _changes(request: Request) -> list[str] | None:
    """Return what differs from the settings of a complete earlier result; `None` if there is no such result."""
    record = earlier_result(request.out)
    return None if record is None else differences(settings_of(request), record)


def run_several(order: Order) -> int:
    """Reconstruct all pictures and return the exit code: 0, 4 if a picture failed, else 3 if one diverged."""
    tally = check_order(order)
    requests = order.requests
    shared = requests[0]
    if shared.threads is not None:
        torch.set_num_threads(shared.threads)
    device = select_device(shared.device)
    chosen = chosen_solver(shared)
    solver = build_solver(chosen)
    tables, told = Tables(), set[str]()
    terminal.facts(_facts(order, tally, str(chosen), device))
    begin = time.perf_counter()
    try:
        with metered(len(requests), len(tally.before) + len(tally.failed)) as meter:

            def prepared(request: Request) -> Prepared | None:
                if request.out.name in tally.failed:
                    return None
                try:
                    made = prepare(request, chosen, solver, tables)
                except Exception as error:
                    _fail(request, error, tally, meter)
                    return None
                new = [note for note in notes_of(made) if note not in told]
                told.update(new)
                terminal.facts([("note", note) for note in new])
                return made

            found = batches(requests, tally.before, prepared, device)
            if shared.is_local:
                for batch in found:
                    _run_batch(batch, device, tally, meter)
            else:
                with open_workers(shared, device) as pool:
                    _run_pooled(found, pool, device, tally, meter)
    except KeyboardInterrupt:
        done = sum(earlier_result(r.out) is not None for r in requests)
        terminal.error(
            f"interrupted: {done} of {len(requests)} pictures are in {order.folder}; the same command goes on"
        )
        raise SystemExit(INTERRUPTED) from None
    shutil.rmtree(order.folder / RESUME, ignore_errors=True)
    return _conclude(order, tally, time.perf_counter() - begin)


def _run_batch(batch: list[Prepared], device: torch.device, tally: Tally, meter: Meter) -> None:
    """Solve pictures together, and write the results of those that were not done before."""
    first = batch[0].request

    def solve(part: list[Prepared]) -> list[Reconstruction]:
        return solve_together(
            part[0].solver, [p.on(device) for p in part], part[0].prior_on(device),
            samples=first.samples, seed=first.seed, batch_size=first.batch_size,
            progress=lambda done, total: meter.advance(len(part) * done / max(1, total)),
        )  # fmt: skip

    folder = first.out.parent / RESUME
    try:
        with Journal(folder, key_of({p.request.out.name: p.settings for p in batch})):
            results: Iterable[Reconstruction] = solve(batch)
    except JournalError:
        raise
    except Exception as error:
        if len(batch) == 1:
            _fail(first, error, tally, meter)
            return
        for picture in batch:  # one of them may have spoiled it for all
            _run_batch([picture], device, tally, meter)
        return
    _write_all(batch, results, device, tally, meter)


def _run_pooled(found: Iterator[list[Prepared]], pool: Pool, device: torch.device, tally: Tally, meter: Meter) -> None:
    """Send pictures to workers, and write their results as they come; those of a batch that failed are sent alone."""
    at_work: dict[str, list[Prepared]] = {}
    again: list[list[Prepared]] = []
    operators, priors = Newest[bytes](8), Newest[Named](2)

    def job(batch: list[Prepared]) -> PicturesJob:
        first, request = batch[0], batch[0].request
        operator = first.problem.operator
        named = priors.get(request.prior, lambda: Named.of(str(request.prior), first.prior))
        sent = operators.get((first.operator_key, request.units, request.prior), lambda: pickled(operator))
        return pictures_job(
            request.out.name, sent, [p.problem for p in batch], first.solver, named,
            samples=request.samples, seed=request.seed, batch_size=request.batch_size,
        )  # fmt: skip

    def jobs(batches: Iterable[list[Prepared]]) -> Iterator[PicturesJob]:
        for batch in batches:
            try:
                made = job(batch)
            except UserError as error:  # it cannot be sent
                for picture in batch:
                    _fail(picture.request, error, tally, meter)
                continue
            at_work[made.title] = batch
            yield made

    def collect(batches: Iterable[list[Prepared]]) -> None:
        for done, result in finished_jobs(pool, jobs(batches)):
            batch = at_work.pop(done.label)
            if not isinstance(result, Exception):
                _write_all(batch, result, device, tally, meter)
            elif len(batch) == 1:
                _fail(batch[0].request, result, tally, meter)
            else:
                again.extend([picture] for picture in batch)

    collect(found)
    collect(again)


def _write_all(
    batch: Iterable[Prepared], results: Iterable[Reconstruction], device: torch.device, tally: Tally, meter: Meter
) -> None:
    """Write the results of pictures that were not done before."""
    for picture, result in zip(batch, results, strict=True):
        if picture.request.out.name not in tally.before:
            tally.solves += result.seconds
            _write(picture, result, device, tally, meter)


def _write(picture: Prepared, result: Reconstruction, device: torch.device, tally: Tally, meter: Meter) -> None:
    """Write the result of a picture."""
    name = picture.request.out.name
    try:
        answer = conclude(picture, result, device)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise OSError(
                error.errno, f"{picture.request.out}: cannot be written: {error.strerror}; make room, and the same "
                "command goes on"
            ) from error  # fmt: skip
        _fail(picture.request, error, tally, meter)
        return
    meter.finish(name, f"{answer.result.status}  {result.seconds:.1f} s")


def _fail(request: Request, error: Exception, tally: Tally, meter: Meter) -> None:
    """Record that a picture failed."""
    tally.failed[request.out.name] = ending(error)[1]
    meter.finish(request.out.name, "failed")


def _facts(order: Order, tally: Tally, solver: str, device: torch.device) -> list[tuple[str, str]]:
    requests, shared = order.requests, order.requests[0]
    before = f", {len(tally.before)} of them done before" if tally.before else ""
    return [
        ("pictures", f"{len(requests)}, from {shared.image} to {requests[-1].image}{before}"),
        ("operator", order.operator),
        ("noise", shared.noise or "that of each file"),
        ("prior", shared.prior or "by the number of channels"),
        ("solver", solver if shared.solver else f"{solver}, goal {shared.goal}, effort {shared.effort}"),
        ("samples", f"{shared.samples}, seed {shared.seed}"),
        ("device", f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)),
    ]


def _conclude(order: Order, tally: Tally, seconds: float) -> int:
    """Write the summary, print what has become of the pictures, and return the exit code."""
    requests, names = order.requests, {r.out.name: str(r.image) for r in order.requests}
    records = {name: earlier_result(order.folder / name) or {} for name in names if name not in tally.failed}
    rows: list[dict[str, Any]] = [
        {"name": name, "image": names[name], **{k: r.get(k) for k in ("status", "message", "seconds", "metrics")}}
        for name, r in records.items()
    ]
    rows += [{"name": n, "image": names[n], "status": "failed", "message": m} for n, m in tally.failed.items()]
    if order.folder.is_dir():
        with atomic_path(order.folder / SUMMARY) as path:
            path.write_text(json.dumps({"command": requests[0].command, "pictures": rows}, indent=2) + "\n")
    if scores := _mean_scores([r["metrics"] for r in rows if r.get("metrics")]):
        terminal.scores({"": scores})
    ran = len(records) - len(tally.before)
    if ran:
        measured = tally.solves and requests[0].is_local
        beside = f", {seconds / tally.solves - 1:.1%} beside the solves" if measured else ""
        terminal.line(f"{ran} of {len(requests)} pictures done now in {duration(seconds)}{beside}.")
    if tally.before:
        terminal.line(f"{len(tally.before)} were done before.")
    statuses = Counter(row["status"] for row in rows)
    misfits = [row["name"] for row in rows if row["status"] == "misfit"]
    if misfits:
        terminal.warning(f"{len(misfits)} misfits: {', '.join(misfits[:5])}{', ...' if len(misfits) > 5 else ''}")
    for row in rows:
        if row["status"] in ("diverged", "failed"):
            terminal.error(f"{row['name']}: {row['status']}: {row['message']}")
    if tally.failed:
        terminal.error(f"{len(tally.failed)} of {len(requests)} pictures failed; the same command tries them again")
    terminal.line(f"Results: {order.folder}")
    return FAILED if tally.failed else DIVERGED if statuses["diverged"] else 0


def _mean_scores(tables: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean of each figure over the pictures that have it, by estimate and name."""
    found: dict[str, dict[str, list[float]]] = {}
    for table in tables:
        for estimate, figures in table.items():
            for name, value in figures.items():
                found.setdefault(estimate, {}).setdefault(name, []).append(value)
    return {e: {n: sum(v) / len(v) for n, v in figures.items()} for e, figures in found.items()}
