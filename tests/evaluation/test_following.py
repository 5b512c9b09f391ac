"""Whether an edit did what was asked."""

from dataclasses import replace

import numpy as np

from photovax.evaluation.following import asked_colour, following
from photovax.evaluation.true_edits import TRUE_EDITS, truth
from photovax.models.edit import Edit


def test_an_edit_that_is_only_too_pale_is_exact_after_levels():
    pixels = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    night = Edit("instruct", "make it night")
    true = truth(TRUE_EDITS["night"], pixels)
    pale = (true * np.array([0.5, 0.8, 1.0]) + np.array([90, 20, 0])).round().astype(np.uint8)
    found = following(night, pixels, pale)
    assert found["true_edit"] < 20
    assert found["levelled"] > 50
    flat = following(night, pixels, np.full_like(true, 9))
    assert flat["true_edit"] < flat["levelled"]


def test_scores_of_what_was_asked(pixels: np.ndarray):
    night = Edit("instruct", "make it night")
    true = truth(TRUE_EDITS["night"], pixels)
    assert following(night, pixels, true)["true_edit"] == np.inf
    assert following(night, pixels, pixels)["true_edit"] < 20
    assert following(Edit("instruct", "what nobody trained"), pixels, pixels) == {}
    repaint = np.zeros(pixels.shape[:2], dtype=bool)
    repaint[:10] = True
    red = np.where(repaint[..., None], np.array([200, 30, 30]), pixels).astype(np.uint8)
    asked = Edit("inpaint", "red background")
    assert following(asked, pixels, red, repaint) == {"colour": 1.0}
    assert following(replace(asked, prompt="blue"), pixels, red, repaint) == {"colour": 0.0}
    assert asked_colour("a red and a blue ball") is None
