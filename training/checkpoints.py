"""What every training leaves behind while it runs: its state, and a line for each report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def write_checkpoint(state: dict[str, Any], folder: Path) -> None:
    """Write ``checkpoint.pt``, whole or not at all."""
    temporary = folder / "checkpoint.tmp"
    torch.save(state, temporary)
    temporary.replace(folder / "checkpoint.pt")


def read_checkpoint(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The state in ``checkpoint.pt``, or None where there is none.

    Only tensors and plain values are read: a file that holds other objects is refused, since
    loading those could run code.

    Raises:
        pickle.UnpicklingError: If it holds anything else.
    """
    file = folder / "checkpoint.pt"
    if not file.exists():
        return None
    state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    return state


def write_report(line: dict[str, Any], folder: Path) -> None:
    """Print a report, and add it to ``curve.jsonl``."""
    print(json.dumps(line), flush=True)
    with (folder / "curve.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
