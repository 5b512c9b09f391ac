"""The plots of a report, and where their parts lie."""

import re
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from photovax.evaluation import plots
from photovax.evaluation.survival import Survival
from photovax.evaluation.tables import Displacement, tables
from photovax.metrics.statistics import Interval
from tests.evaluation.samples import case, made_up

LABELS = [
    "fast medium",
    "fast-diffusion medium",
    "photoguard-img2img 7.65/255",
    "photoguard-diffusion-linf 12.75/255",
    "decontext 12.75/255",
    "a-recipe-whose-name-is-rather-long 16/255",
]
TREATED = "none", "jpeg75", "denoiser-perceptual", "jpeg75+blur"


@pytest.mark.parametrize("kind", ["displacement", "survival"])
def test_labels_are_whole_and_the_legend_covers_nothing(kind, monkeypatch):
    drawn: list[Figure] = []

    class Kept(Figure):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            drawn.append(self)

    monkeypatch.setattr(plots, "Figure", Kept)
    cases = [
        case(label, photo, 0.9 if label == "noise" else 0.6 - 0.01 * photo, 18.0, treated)
        for photo in range(3)
        for treated in TREATED
        for label in ("noise", *LABELS)
    ]
    found = tables(made_up(cases), metric="ssim")
    if kind == "displacement":
        text = plots.displacement_plot([row for row in found.displacement if row.above], "SSIM")
    else:
        text = plots.survival_plot(found.remains[-1].survival, "SSIM")
    assert text.startswith("<svg")
    (figure,), ((axes,), (legend,)) = drawn, (drawn[0].axes, drawn[0].legends)
    figure.draw_without_rendering()
    assert [each.get_text() for each in legend.get_texts()] == LABELS
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    low, high = axes.get_ylim()
    numbers = [each for each in axes.get_yticklabels() if low <= each.get_position()[1] <= high]
    words = [*axes.get_xticklabels(), *numbers, axes.yaxis.label]
    shown = [each for each in (*words, *legend.get_texts()) if each.get_text()]
    assert len(shown) > len(LABELS) + 3
    whole = figure.bbox.padded(1)
    for each in shown:
        box = each.get_window_extent()
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1, each
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1, each
    # In a page of 1200 pixels it is not made smaller.
    width = re.search(r'width="([\d.]+)pt"', text)
    assert width
    assert float(width[1]) * 4 / 3 <= 1152


def test_equal_effects_and_odd_labels_can_be_drawn():
    at = 0.1 + 0.2  # a mean that rounding puts below its own bounds
    nearly = Interval(at, at + 1e-16, at - 1e-16, 3)
    names = ["$half of a formula", "_hidden", "both $ and $"]
    rows = [Displacement(name, "all", "ssim", 3, nearly, nearly, nearly) for name in names]
    drawn = plots.displacement_plot(rows, "SSIM")
    left = plots.survival_plot(
        [Survival(name, "none", replace(nearly, low=0.4), 1.0) for name in names], "SSIM"
    )
    assert drawn.startswith("<svg")
    # Texts are drawn as shapes, with the text itself in a comment.
    for svg in (drawn, left):
        assert all(name in svg for name in names)
