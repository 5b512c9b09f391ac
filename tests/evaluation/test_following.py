"""Whether an edit did what was asked."""

from dataclasses import replace

import numpy as np

from photovax.evaluation.following import asked_colour, following
from photovax.evaluation.true_edits import TRUE_EDITS, truth
from photovax.models.edit import Edit


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
