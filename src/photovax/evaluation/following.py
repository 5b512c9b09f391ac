"""Scores of how well an edit follows its request: exact ones where possible, and CLIP's."""

from __future__ import annotations

import re

import numpy as np
import torch

from photovax.evaluation.colours import COLOURS, name_colour
from photovax.evaluation.true_edits import find_true_edit, truth
from photovax.metrics.clip import Clip
from photovax.metrics.distortion import psnr
from photovax.models.edit import Edit

__all__ = ["CLIP_SCORES", "FOLLOWING", "asked_colour", "following"]

FOLLOWING = {
    "true_edit": "PSNR to the true edit (dB)",
    "levelled": "the same after the best levels (dB)",
    "colour": "asked colour (share)",
    "clip": "CLIP similarity to the prompt",
    "clip_directional": "CLIP directional similarity",
}
"""Scores and their labels; larger means that the edit follows the request better."""

CLIP_SCORES = ("clip", "clip_directional")
"""Those that a CLIP model gives."""

_UNEDITED = "a photo"


def following(
    edit: Edit,
    original: np.ndarray,
    made: np.ndarray,
    repaint: np.ndarray | None = None,
    clip: Clip | None = None,
) -> dict[str, float]:
    """How well an edit follows its request, by every score that applies to the request.

    ``true_edit``: PSNR to the exact edit, in dB, for prompts of instruct and img2img with an exact
    edit. ``levelled``: the same where each channel of the edit has the gain and offset with which
    it comes nearest, as anyone could give it who thinks it too pale. ``colour``: 1 if the mean
    colour of the region that inpaint repaints has the name that the prompt gives, else 0. ``clip``:
    CLIP similarity of edit and prompt. ``clip_directional``: CLIP similarity of the directions from
    original to edit and from "a photo" to the prompt. CLIP is less meaningful for instruct, since
    an instruction does not describe the result.

    Args:
        edit: The requested edit.
        original: Original as the editor was fed it, uint8 (H, W, 3).
        made: Result of the edit, uint8 (H, W, 3).
        repaint: Region that inpaint repainted, bool (H, W).
        clip: Model for the CLIP scores; without it these are left out.
    """
    scores = _exact(edit, original, made, repaint)
    if clip is not None and edit.prompt:
        scores["clip"] = clip.similarity(made, edit.prompt)
        turned = clip.directional(original, made, _UNEDITED, edit.prompt)
        if turned is not None:
            scores["clip_directional"] = turned
    return scores


def _exact(
    edit: Edit, original: np.ndarray, made: np.ndarray, repaint: np.ndarray | None
) -> dict[str, float]:
    if edit.mode != "inpaint":
        true = find_true_edit(edit.prompt)
        if true is None:
            return {}
        exact = truth(true, original)
        return {"true_edit": psnr(exact, made), "levelled": psnr(exact, _levelled(made, exact))}
    colour = asked_colour(edit.prompt)
    if colour is None or repaint is None or not repaint.any():
        return {}
    mean = torch.from_numpy(made[repaint].astype(np.float32).mean(axis=0) / 255)
    return {"colour": float(name_colour(mean) == colour)}


def _levelled(made: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """An edit whose channels have the gain and offset that bring them nearest to the exact edit."""
    first, second = made.astype(np.float64), exact.astype(np.float64)
    means = first.mean((0, 1)), second.mean((0, 1))
    first -= means[0]
    # A channel of one value has no gain; its best level is the other's mean.
    gains = (first * (second - means[1])).mean((0, 1)) / first.var((0, 1)).clip(1e-9)
    found: np.ndarray = (gains * first + means[1]).round().clip(0, 255).astype(np.uint8)
    return found


def asked_colour(prompt: str) -> str | None:
    """The colour that a prompt names; None where it names none or several."""
    named = {word for word in re.findall(r"[a-z]+", prompt.lower()) if word in COLOURS}
    return named.pop() if len(named) == 1 else None
