"""The device of a command."""

from __future__ import annotations

import torch

from ..errors import UserError


def select_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA if there is a device.

    Raises:
        ValueError: an unknown name, or a missing device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise UserError(f"--device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu")
        if int(index or 0) >= torch.cuda.device_count():
            raise UserError(f"--device: expected one of {torch.cuda.device_count()} CUDA devices, got {name!r}")
    return torch.device(name)
