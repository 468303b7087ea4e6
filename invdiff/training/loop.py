"""The training loop: batches, steps, averaged weights, checkpoints, evaluation, export."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..priors import training_images
from ..priors.network import NetworkPrior, Preconditioning
from .config import TrainConfig
from .data import Batches, Pack, write_atomic
from .evaluate import denoising_table, held_out_batch, write_sheet
from .objectives.configured import configured_loss, output_of
from .process_group import ProcessGroup
from .state import TrainState, learning_rate_factor

logger = logging.getLogger("invdiff.training")
ALONE = ProcessGroup()


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a run after a step."""

    step: int
    steps: int
    loss: float
    seconds: float
    seconds_left: float


def fit(
    config: TrainConfig,
    train: Pack,
    held_out: Pack,
    out: Path,
    *,
    device: torch.device,
    init: Path | None = None,
    watch: Callable[[Progress], None] | None = None,
    stop_after: int | None = None,
    processes: ProcessGroup = ALONE,
) -> Path | None:
    """Train, from the checkpoint in `out` if there is one, and export.

    Args:
        config: the run.
        train: images.
        held_out: images for the tables.
        out: folder of the run.
        device: of the training.
        init: exported prior with the initial weights, if there is no checkpoint.
        watch: called after each step.
        stop_after: stop, with a checkpoint, after this number of steps; for tests of resuming.
        processes: the processes that train together; only the main process writes.

    Returns:
        The exported weights; `None` if stopped early, or in a process that is not the main one.
    """
    mine = processes.share(config.data.batch)
    batches = Batches(train, config.data, config.augment, config.run.seed, mine)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.is_file():
        state = TrainState.load(checkpoint, config, device)
        logger.info("resumed at step %d of %d", state.step, config.run.steps)
    else:
        state = TrainState.fresh(config, _measure(train, config), device, init)
        logger.info("started: %d parameters", sum(p.numel() for p in state.network.parameters()))
    estimates = output_of(config.run.objective)
    if state.scaling.output != estimates:
        raise UserError(
            f"run.objective: expected one whose network estimates {state.scaling.output!r}, as the run or prior to "
            f"begin with does, got {config.run.objective!r}, which estimates {estimates!r}; choose another --out"
        )
    if processes.is_main:
        training_images.add(out / config.run.name, train.digests, init)
    evaluation = held_out_batch(held_out, config)
    autocast = use_bfloat16(config.run.precision, device)
    loss_sum = torch.zeros((), device=device)
    loss_count, loss, logged = 0, float("nan"), state.step // 200
    saved = measured = now = time.perf_counter()
    while state.step < config.run.steps and (stop_after is None or state.step < stop_after):
        loss_sum += _step(state, config, batches, autocast, device, processes)
        loss_count += 1
        then, now = now, time.perf_counter()
        state.seconds += now - then
        if loss_count == 20 or state.step == config.run.steps:
            loss, loss_count = float(loss_sum) / loss_count, 0
            loss_sum.zero_()
            if not np.isfinite(loss):
                raise UserError(f"training diverged at step {state.step}: lower optimizer.lr and start again")
            if state.step // 200 > logged:
                logged = state.step // 200
                logger.info("step %d loss %.5f seconds %.0f", state.step, loss, state.seconds)
        if watch is not None:
            left = state.seconds / state.step * (config.run.steps - state.step)
            watch(Progress(state.step, config.run.steps, loss, state.seconds, left))
        if not processes.is_main:
            continue
        if now - saved > 60 * config.run.checkpoint_minutes:
            state.save(checkpoint)
            saved = time.perf_counter()
        if now - measured > 60 * config.run.evaluate_minutes:
            _report(state, config, evaluation, out)
            measured = time.perf_counter()
    if not processes.is_main:
        return None
    state.save(checkpoint)
    if state.step < config.run.steps:
        return None
    table = _report(state, config, evaluation, out)
    return state.export(
        out / config.run.name, config, describe_run(state, config, train, device, processes) | {"held_out": table}
    )


def _step(
    state: TrainState,
    config: TrainConfig,
    batches: Batches,
    autocast: bool,
    device: torch.device,
    processes: ProcessGroup,
) -> Tensor:
    factor = learning_rate_factor(state.step, config)
    for optimizer, lr in zip(state.optimizers, (config.optimizer.lr, config.optimizer.lr_rest), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = lr * factor
    x = batches(state.step).to(device, non_blocking=True)
    rng = np.random.default_rng((config.run.seed, 2, state.step))
    levels = config.noise.draw(config.data.batch, rng)[batches.mine]
    g = torch.Generator().manual_seed(int(rng.integers(2**62)) + processes.rank)
    # Levels of `edm` are stratified over the whole batch; some other objectives weight by the density of their levels.
    sigma = torch.from_numpy(levels) if config.run.objective == "edm" else None
    if config.noise_maps.used:
        own = np.random.default_rng((config.run.seed, 3, state.step, processes.rank))
        sigma = torch.from_numpy(config.noise_maps.draw(levels, config.noise.sigma_max, config.data.crop, own))
    loss = configured_loss(config.run.objective, state.network, x, g, state.scaling, config.noise, autocast, sigma)
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    processes.average_gradients(state.network.parameters())
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.optimizer.clip)
    for optimizer in state.optimizers:
        optimizer.step()
    state.step += 1
    # The memory of the average is at most a tenth of the run so far.
    forget = max(1.0 - 0.5 ** (1.0 / config.optimizer.ema_half_life), 1.0 / (1.0 + 0.1 * state.step))
    with torch.no_grad():
        torch._foreach_lerp_(list(state.average.parameters()), list(state.network.parameters()), forget)
    return loss.detach()


def _measure(pack: Pack, config: TrainConfig) -> Preconditioning:
    """Return the preconditioning for the augmented data."""
    batches = Batches(pack, config.data, config.augment, config.run.seed)
    sample = torch.cat([batches(k) for k in range(max(1, 512 // config.data.batch))]).double()
    return Preconditioning(
        mean=round(float(sample.mean()), 3),
        std=round(max(float(sample.std()), 1e-2), 3),
        sigma_min=config.noise.sigma_min,
        sigma_max=config.noise.sigma_max,
        output=output_of(config.run.objective),
    )


def use_bfloat16(precision: str, device: torch.device) -> bool:
    """Return whether the network computes in bfloat16: if requested, or if the hardware supports it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not in every supported torch
    return device.type == "cpu" and supported is not None and bool(supported())


def describe_run(
    state: TrainState, config: TrainConfig, train: Pack, device: torch.device, processes: ProcessGroup
) -> dict[str, Any]:
    """Return the facts of a run for the card of its prior."""
    cpu = f"cpu, processes: {processes.size}, threads in each: {torch.get_num_threads()}"
    name = cpu if device.type == "cpu" else torch.cuda.get_device_name(device)
    return {
        "steps": state.step,
        "crops": state.step * config.data.batch,
        "images": len(train),
        "hours": round(state.seconds / 3600, 3),
        "device": name,
        "torch": torch.__version__,
    }


def _report(state: TrainState, config: TrainConfig, evaluation: Tensor, out: Path) -> dict[str, float]:
    prior = NetworkPrior(state.average, (config.data.channels, None, None), state.scaling, stride=config.network.stride)
    table = denoising_table(prior, evaluation)
    logger.info("step %d held-out PSNR %s", state.step, "  ".join(f"{k}: {v:.2f} dB" for k, v in table.items()))
    rows = out / "quality.jsonl"
    old = rows.read_bytes() if rows.is_file() else b""
    row = {"step": state.step, "seconds": round(state.seconds, 1)} | {k: round(v, 3) for k, v in table.items()}
    write_atomic(rows, old + json.dumps(row).encode() + b"\n")
    write_sheet(prior, evaluation, config, out / "sheet.png")
    return {k: round(v, 3) for k, v in table.items()}
