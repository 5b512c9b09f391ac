"""Files that every training writes while it runs: its state, and a line for each report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def write_checkpoint(state: dict[str, Any], folder: Path) -> None:
    """Write ``checkpoint.pt`` atomically."""
    temporary = folder / "checkpoint.tmp"
    torch.save(state, temporary)
    temporary.replace(folder / "checkpoint.pt")


def read_checkpoint(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Read the state in ``checkpoint.pt``; None if the file does not exist.

    Only tensors and plain values are loaded. A file with other objects is refused, since loading
    these could run code.

    Raises:
        pickle.UnpicklingError: If the file contains other objects.
    """
    file = folder / "checkpoint.pt"
    if not file.exists():
        return None
    state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    return state


def write_report(line: dict[str, Any], folder: Path) -> None:
    """Print a report and append it to ``curve.jsonl``."""
    print(json.dumps(line), flush=True)
    with (folder / "curve.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
