"""Plots of a report, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from photovax.evaluation.survival import Survival
from photovax.evaluation.tables import Displacement
from photovax.metrics.statistics import Interval

__all__ = ["displacement_plot", "survival_plot"]

_INK = "#444"


def survival_plot(rows: Sequence[Survival], label: str) -> str:
    """The effect beyond noise of each recipe after each purification, with intervals."""
    figure, axes = _figure(len({row.purification for row in rows}))
    names = list(dict.fromkeys(row.purification for row in rows))
    for recipe in dict.fromkeys(row.label for row in rows):
        own = {row.purification: row for row in rows if row.label == recipe}
        at = [names.index(name) for name in own]
        means = [row.above.mean for row in own.values()]
        spread = _spread([row.above for row in own.values()])
        axes.errorbar(
            *(at, means), yerr=spread, marker="o", ms=4, lw=1, capsize=2, label=_plain(recipe)
        )
    axes.axhline(0, color=_INK, lw=0.8)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_ylabel(f"effect beyond noise, {label}")
    return _svg(figure)


def displacement_plot(rows: Sequence[Displacement], label: str) -> str:
    """The effect beyond noise of each recipe by way of editing, with intervals."""
    figure, axes = _figure(len({row.mode for row in rows}) * 2)
    modes = list(dict.fromkeys(row.mode for row in rows))
    recipes = list(dict.fromkeys(row.label for row in rows))
    width = 0.8 / max(1, len(recipes))
    for index, recipe in enumerate(recipes):
        own = [row for row in rows if row.label == recipe and row.above is not None]
        at = [modes.index(row.mode) + width * (index - (len(recipes) - 1) / 2) for row in own]
        kept = [row.above for row in own if row.above is not None]
        means = [above.mean for above in kept]
        axes.bar(
            *(at, means, width),
            yerr=_spread(kept),
            capsize=2,
            label=_plain(recipe),
            error_kw={"lw": 1},
        )
    axes.axhline(0, color=_INK, lw=0.8)
    axes.set_xticks(range(len(modes)), modes)
    axes.set_ylabel(f"effect beyond noise, {label}")
    return _svg(figure)


def _spread(intervals: Sequence[Interval]) -> tuple[list[float], list[float]]:
    """How far intervals reach below and above their means; nan is not drawn."""
    # Of equal values, rounding may put a bound on the wrong side of the mean.
    return (
        [max(each.mean - each.low, 0.0) for each in intervals],
        [max(each.high - each.mean, 0.0) for each in intervals],
    )


def _plain(label: str) -> str:
    """A label as text: matplotlib takes dollar signs for formulas, and hides what begins with _."""
    escaped = label.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{escaped}" if label.startswith("_") else escaped


def _figure(columns: int) -> tuple[Figure, Axes]:
    # A legend stands beside the axes, where it covers nothing.
    figure = Figure(figsize=(max(6.0, 0.45 * columns + 3) + 3, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    FigureCanvasSVG(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
