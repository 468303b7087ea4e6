"""`invdiff train`: from a folder of images to a prior."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from .config import TrainConfig
from .data import load_pack, split_pack
from .loop import Progress, fit

logger = logging.getLogger("invdiff.training")


def train(
    data: Annotated[Path, typer.Option(help="Folder of images, or an IDX file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that it holds is resumed.")],
    config: Annotated[Path | None, typer.Option(help="TOML file with the configuration.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe of the package: photo, ct, fashion.")] = None,
    held_out: Annotated[Path | None, typer.Option(help="Folder of held-out images; else a share of the data.")] = None,
    init: Annotated[Path | None, typer.Option(help="Exported prior to begin with.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all by default.")] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> Path:
    """Train a prior on a folder of images, resuming what `out` holds of the same run.

    Args:
        data: folder of images, or an IDX file.
        out: folder of the run: checkpoint, log, tables, sheet, exported prior.
        config: TOML file; see `invdiff/training/recipes`.
        recipe: name of a recipe of this package, in place of `config`. Neither: the recipe `photo`.
        held_out: folder of images for the tables of quality; without it a share of `data`.
        init: exported prior whose weights to begin with.
        device: `"auto"`, `"cpu"`, `"cuda"`, ...
        threads: CPU threads; all by default.
        progress: whether to show a progress bar.

    Returns:
        The exported weights, for `invdiff.load_prior`.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: for what cannot be trained on, or a configuration that is not valid.
    """
    if config is not None and recipe is not None:
        raise ValueError("train: expected --config or --recipe, got both; give one of them")
    settings = TrainConfig.from_toml(config) if config is not None else TrainConfig.from_recipe(recipe or "photo")
    if threads is not None:
        torch.set_num_threads(threads)
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    console = Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(out / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        pack = load_pack(data, settings.data.channels, out / "cache" / "train")
        if held_out is not None:
            evaluation = load_pack(held_out, settings.data.channels, out / "cache" / "held_out")
        else:
            pack, evaluation = split_pack(pack, settings.data.held_out)
        for name in pack.skipped:
            logger.info("skipped %s", name)
            console.print(f"skipped {name}", style="yellow", highlight=False)
        console.print(f"{len(pack)} images to train on, {len(evaluation)} held out, {len(pack.skipped)} skipped")
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console, disable=not progress) as bar:
            task = bar.add_task("train", total=settings.run.steps, loss=float("nan"))

            def watch(p: Progress) -> None:
                bar.update(task, completed=p.step, total=p.steps, loss=p.loss)

            exported = fit(settings, pack, evaluation, out, device=target, init=init, watch=watch)
        assert exported is not None
        console.print(f"prior: {exported}", highlight=False)
        return exported
    finally:
        logger.removeHandler(handler)
        handler.close()
