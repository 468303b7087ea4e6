"""`invdiff train`: from a folder of images to a prior."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from . import terminal
from .arguments import RUN, Device, Threads, text
from .checks import check_at_least

if TYPE_CHECKING:
    import torch

    from ..training.config import TrainConfig
    from ..training.data import Pack
    from ..training.loop import Progress
    from ..training.process_group import ProcessGroup

logger = logging.getLogger("invdiff.training")


def train(
    data: Annotated[Path, text("Folder of images, or an IDX file.")],
    out: Annotated[Path, text("Folder of the run; a run that it holds is resumed.")],
    config: Annotated[Path | None, text("TOML file with the configuration.")] = None,
    recipe: Annotated[
        str | None,
        text("Recipe of the package: photo (default), photo-finish, photo-maps, ct, ct-finish or fashion."),
    ] = None,
    held_out: Annotated[Path | None, text("Folder of held-out images; by default a part of the data.")] = None,
    init: Annotated[Path | None, text("Exported prior to begin with.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[
        int,
        typer.Option(help="Processes that share each batch; on a shared CPU, one for each core.", rich_help_panel=RUN),
    ] = 1,
    progress: Annotated[
        bool, typer.Option(" /--no-progress", help="Show no progress bar.", show_default=False, rich_help_panel=RUN)
    ] = True,
) -> Path:
    """Train a prior on a folder of images; after an interruption, the same command continues.

    Example: invdiff train --data photographs --out runs/mine
    """
    check_at_least("--threads", threads, 1)
    check_at_least("--workers", workers, 1)
    import torch
    from torch.multiprocessing.spawn import spawn

    from ..priors.network import Preconditioning
    from ..training.config import TrainConfig
    from ..training.process_group import ProcessGroup
    from ..training.run_lock import run_lock
    from ..training.state import TrainState
    from .devices import select_device

    if config is not None and recipe is not None:
        raise UserError("train: expected --config or --recipe, got both; give one of them")
    settings = TrainConfig.from_toml(config) if config is not None else TrainConfig.from_recipe(recipe or "photo")
    target = select_device(device)
    ProcessGroup(0, workers).share(settings.data.batch)
    for what, path in (("training data", data), ("held-out data", held_out)):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{what}: expected a folder of images, {path} does not exist")
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out: expected a folder, got the file {str(out)!r}; choose another name")
    if init is not None:
        TrainState.fresh(settings, Preconditioning(), target, init)  # it is refused before anything is written
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    threads = threads or torch.get_num_threads()
    plan = _Plan(settings, data, out, held_out, init, target, max(1, threads // workers), progress, workers)
    with run_lock(out) as former:
        if former:
            terminal.warning(f"--out: {out} is taken over from {former}: that training was killed")
        try:
            plan.packs()  # decoded here, once; the workers map the files
        except (ValueError, OSError):
            if new:
                shutil.rmtree(out, ignore_errors=True)
            raise
        if workers == 1:
            _work(0, plan)
        else:
            plan.rendezvous_file.unlink(missing_ok=True)
            spawn(_work, (plan,), nprocs=workers)
    weights = (out / settings.run.name).with_suffix(".safetensors")
    terminal.line(f"Prior: {weights}")
    return weights


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The options of a worker process."""

    config: TrainConfig
    data: Path
    out: Path
    held_out: Path | None
    init: Path | None
    device: torch.device
    threads: int
    progress: bool
    workers: int

    @property
    def rendezvous_file(self) -> Path:
        return self.out.resolve() / "rendezvous"

    def packs(self) -> tuple[Pack, Pack]:
        from ..training.data import load_pack, split_pack

        pack = load_pack(self.data, self.config.data.channels, self.out / "cache" / "train")
        if self.held_out is None:
            return split_pack(pack, self.config.data.held_out)
        return pack, load_pack(self.held_out, self.config.data.channels, self.out / "cache" / "held_out")


def _work(rank: int, plan: _Plan) -> None:
    import torch

    from ..training.loop import fit
    from ..training.process_group import ProcessGroup, leave_with_parent

    leave_with_parent()
    torch.set_num_threads(plan.threads)
    processes = ProcessGroup(rank, plan.workers)
    processes.join(str(plan.rendezvous_file))
    try:
        pack, held_out = plan.packs()
        if processes.is_main:
            _main(plan, processes, pack, held_out)
        else:
            fit(plan.config, pack, held_out, plan.out, device=plan.device, init=plan.init, processes=processes)
    finally:
        processes.leave()


def _main(plan: _Plan, processes: ProcessGroup, pack: Pack, held_out: Pack) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from ..training.loop import fit

    console = Console(stderr=True)
    handler = logging.FileHandler(plan.out / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for name in pack.skipped:
            logger.info("skipped %s", name)
            console.print(f"skipped {name}", style="yellow", highlight=False)
        console.print(f"{len(pack)} images to train on, {len(held_out)} held out, {len(pack.skipped)} skipped")
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console, disable=not plan.progress) as bar:
            task = bar.add_task("train", total=plan.config.run.steps, loss=float("nan"))

            def watch(p: Progress) -> None:
                bar.update(task, completed=p.step, total=p.steps, loss=p.loss)

            exported = fit(
                plan.config,
                pack,
                held_out,
                plan.out,
                device=plan.device,
                init=plan.init,
                watch=watch,
                processes=processes,
            )
        console.print(f"prior: {exported}", highlight=False)
    finally:
        logger.removeHandler(handler)
        handler.close()
