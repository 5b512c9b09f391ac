"""``photovax doctor``: whether photovax works on this machine, and what to change."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from photovax.cli import options

if TYPE_CHECKING:
    from photovax.doctor import Diagnosis

FAILS = 1


def command(
    weights: options.Weights = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Show whether photovax works on this machine, and what to change.

    Immunizes the sample photo in a few steps and edits it, which takes some seconds. Exit code 0:
    photovax works, 1: it cannot work.
    """
    from photovax.doctor import diagnose

    found = diagnose(device=device, weights=weights)
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps({"works": found.works, **asdict(found)}, indent=1))
    else:
        for line in _lines(found):
            typer.echo(line)
    sys.exit(0 if found.works else FAILS)


def _lines(found: Diagnosis) -> Iterator[str]:
    main = ("photovax", "Python")
    yield ", ".join(f"{name} {found.versions[name]}" for name in main) + f", {found.system}"
    packages = [
        f"{name} {installed or 'missing'}"
        for name, installed in found.versions.items()
        if name not in main
    ]
    yield _row("packages", ", ".join(packages))
    if found.computing is None:
        yield _row("device", "unknown")
    else:
        uses = found.computing
        threads = f"; {uses.threads} threads on {found.cores} cores"
        yield _row("device", f"{uses.device} ({uses.name}){threads}")
        steps = "bfloat16, steps use it" if uses.bfloat16 else "no bfloat16, steps are in float32"
        yield _row("instructions", f"{uses.instructions}; {steps}")
    yield _row("allocator", found.allocator)
    memory = found.available
    yield _row("memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB available")
    held = [
        name if each.whole else f"{name} (autoencoder only)" for name, each in found.weights.items()
    ]
    yield _row("weights", ", ".join(held))
    for number, (name, extra) in enumerate(found.extras.items()):
        state = "present" if not extra.lacking else f"lacks {', '.join(extra.lacking)}"
        install = f'; pip install "photovax[{name}]"' if extra.lacking else ""
        yield _row("" if number else "extras", f"{name:<13}{state} ({extra.purpose}){install}")
    seconds = f"{found.trial.seconds:.0f} s"
    yield _row("trial", found.trial.problem or f"the sample photo immunized and edited, {seconds}")
    yield _row("to change", found.changes[0] if found.changes else "nothing")
    for change in found.changes[1:]:
        yield _row("", change)


def _row(topic: str, text: str) -> str:
    return f"{topic:<14}{text}"
