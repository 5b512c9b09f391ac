"""Did the edit do what was asked? Exact scores where the request allows one, and CLIP's."""

from __future__ import annotations

import re

import numpy as np
import torch

from photovax.evaluation.colours import COLOURS, name_colour
from photovax.evaluation.true_edits import find_true_edit, truth
from photovax.metrics.clip import Clip
from photovax.metrics.distortion import psnr
from photovax.models.edit import Edit

__all__ = ["FOLLOWING", "asked_colour", "following"]

FOLLOWING = {
    "true_edit": "PSNR to the true edit (dB)",
    "colour": "asked colour (share)",
    "clip": "CLIP similarity to the prompt",
    "clip_directional": "CLIP directional similarity",
}
"""Scores and their labels; of all, more means that the edit did more of what was asked."""

_UNEDITED = "a photo"


def following(
    edit: Edit,
    original: np.ndarray,
    made: np.ndarray,
    repaint: np.ndarray | None = None,
    clip: Clip | None = None,
) -> dict[str, float]:
    """How well an edit did what was asked, by every score that the request allows.

    ``true_edit``: instruct and img2img, where the prompt asks for an edit with a known right
    answer: PSNR to it, in dB. ``colour``: inpaint, where the prompt names a colour: 1 if the mean
    colour of the repainted region goes by that name, else 0. ``clip``: similarity of edit and
    prompt. ``clip_directional``: of the way from original to edit and that from "a photo" to the
    prompt. An instruction is no description, so CLIP says less of instruct.

    Args:
        edit: What was asked.
        original: uint8 (H, W, 3), as the editor was fed it.
        made: uint8 (H, W, 3), the edit.
        repaint: bool (H, W), inpaint: what was repainted.
        clip: The model for the CLIP scores, which are left out without.
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
        return {} if true is None else {"true_edit": psnr(truth(true, original), made)}
    colour = asked_colour(edit.prompt)
    if colour is None or repaint is None or not repaint.any():
        return {}
    mean = torch.from_numpy(made[repaint].astype(np.float32).mean(axis=0) / 255)
    return {"colour": float(name_colour(mean) == colour)}


def asked_colour(prompt: str) -> str | None:
    """The one colour that a prompt names; None where it names none or several."""
    named = {word for word in re.findall(r"[a-z]+", prompt.lower()) if word in COLOURS}
    return named.pop() if len(named) == 1 else None
