"""Lines that say what common treatments leave of an immunization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["survival_lines"]


def survival_lines(figures: Mapping[str, Any]) -> list[str]:
    """Lines with what is left after each treatment, the worst first.

    Args:
        figures: Figures of ``photovax.checks.survival.Survival``, as they stand in records.
    """
    lines = ["left of the latent shift after (worst first; edits can lose more):"]
    width = max((len(each["label"]) for each in figures["after"]), default=0)
    for each in figures["after"]:
        # The model of the verdict, which is the worst of all.
        of_it = (model for model in each["models"].values() if model["verdict"] == each["verdict"])
        weakest = min(of_it, key=lambda model: model["shift"])
        lines.append(
            f"  {each['label']:<{width}}  {each['share']:>5.0%} left: {each['verdict']} "
            f"({weakest['shift']:.2f}, noise {weakest['noise']:.2f})"
        )
    lines += [f"  not measured: {label}: {why}" for label, why in figures["left_out"].items()]
    return lines
