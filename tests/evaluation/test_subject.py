"""A photo of an evaluation: what is repainted of it, and noise of a given size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from photovax.evaluation.plan import Asked, Floor
from photovax.evaluation.subject import Subject, noise_like
from photovax.models.edit import Edit
from photovax.pictures.masks import repainted
from photovax.registry import Part


@pytest.mark.parametrize("kind", ["subject", "dilated", "box", "inverse", "everything"])
def test_what_is_repainted(kind: str, photos: list[Path], tmp_path: Path):
    subject = Subject.load(photos[0], tmp_path)
    kept = subject.mask()
    repaint = subject.repaint(Asked("x", Edit("inpaint"), ("",), kind))
    assert repaint is not None
    assert repaint.shape == kept.shape
    if kind == "everything":
        assert repaint.all()
    elif kind == "inverse":
        assert np.array_equal(repaint, kept)
    elif kind == "subject":
        assert np.array_equal(repaint, ~kept)
    elif kind == "dilated":
        assert repaint[~kept].all()
        assert repaint[kept].any()
    else:
        assert not repaint[kept].any()
        assert repaint.sum() < (~kept).sum()


@pytest.mark.parametrize("sides", [(40, 70), (1, 30), (61, 43), (200, 30)])
def test_a_dilated_region_is_that_of_a_maximum_filter(sides):
    kept = np.random.default_rng(5).random(sides) > 0.01
    reach = max(1, round(min(sides) / 20))
    filtered = Image.fromarray(~kept).convert("L").filter(ImageFilter.MaxFilter(2 * reach + 1))
    assert np.array_equal(repainted(kept, "dilated"), np.asarray(filtered) > 0)


L2_FLOOR = Floor(Part("l2", {"radius": 3.0}))
LINF_FLOOR = Floor(Part("linf", {"radius": 7.65 / 255}))


def test_noise_of_a_budget_of_what_is_seen_has_the_frequencies_of_the_recipe():
    grey = np.full((96, 128, 3), 128, np.uint8)
    budget = Part("perceptual", {"radius": 4.0, "levels": 40, "band": 0.5})

    def above_the_limit(floor: Floor) -> float:
        """Share of the power in frequencies that neither side has a place for at 24 pixels."""
        change = noise_like(grey, floor).astype(float)[..., 1] - 128
        power = np.abs(np.fft.fft2(change)) ** 2
        rows, columns = (np.abs(np.fft.fftfreq(side)) > 0.5 * 48 / 96 for side in change.shape)
        fine = rows[:, None] | columns[None]
        return float(power[fine].sum() / power.sum())

    assert above_the_limit(Floor(budget, side=48)) < 0.02  # of rounding to 8 bits
    assert above_the_limit(Floor(budget)) > 0.2


def test_noise_has_the_asked_length(pixels: np.ndarray):
    wanted = 3.0
    changed = noise_like(pixels, L2_FLOOR).astype(float) - pixels
    assert np.linalg.norm(changed) / 255 == pytest.approx(wanted, rel=0.01)
    levels = noise_like(pixels, LINF_FLOOR).astype(int) - pixels
    assert np.abs(levels).max() == 7
    mask = np.zeros(pixels.shape[:2], dtype=bool)
    mask[8:20, 8:30] = True
    for floor in (L2_FLOOR, LINF_FLOOR):
        inside = noise_like(pixels, floor, mask).astype(float) - pixels
        assert (inside[~mask] == 0).all()
        if floor is L2_FLOOR:  # all of the length is inside
            assert np.linalg.norm(inside) / 255 == pytest.approx(wanted, rel=0.01)
