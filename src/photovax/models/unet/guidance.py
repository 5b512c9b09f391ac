"""What a UNet predicts, and classifier-free guidance (arXiv 2207.12598) of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from photovax.models.context import Context, Words
from photovax.models.edit import Edit

__all__ = ["answer", "guided"]


def answer(unet: Any, fed: Tensor, time: Tensor, words: Words) -> Tensor:
    """What a UNet predicts of what it is fed.

    Args:
        unet: A ``UNet2DConditionModel``.
        fed: The noisy latent, and what is shown beside it (N, C, h, w).
        time: One timestep, or one of each (N,).
        words: What it is told.
    """
    told = dict(words.added)
    made: Tensor = unet(fed, time, words.tokens, added_cond_kwargs=told, return_dict=False)[0]
    return made


def guided(
    unet: Any, fed: Tensor, time: Tensor, context: Context, shown: Tensor | None, edit: Edit
) -> Tensor:
    """A UNet's prediction, moved along what words and photo add to it.

    Args:
        unet: A ``UNet2DConditionModel``.
        fed: The noisy latent (N, C, h, w).
        time: One timestep.
        context: What it is told; without a negative prompt it is not guided.
        shown: The context's, or what stands for it.
        edit: How far to move.
    """

    def join(latents: Tensor, extra: Tensor | None) -> Tensor:
        return latents if extra is None else torch.cat((latents, extra), dim=1)

    if context.without is None:
        return answer(unet, join(fed, shown), time, context.words)
    if edit.mode == "instruct" and shown is not None:
        words = Words.joined(context.words, context.without, context.without)
        triple = torch.cat((shown, shown, torch.zeros_like(shown)))
        made = answer(unet, join(fed.repeat(3, 1, 1, 1), triple), time, words)
        with_words, with_photo, with_none = made.chunk(3)
        moved = edit.guidance * (with_words - with_photo)
        return with_none + moved + edit.image_guidance * (with_photo - with_none)
    words = Words.joined(context.without, context.words)
    pictures = None if shown is None else shown.repeat(2, 1, 1, 1)
    made = answer(unet, join(fed.repeat(2, 1, 1, 1), pictures), time, words)
    without, with_words = made.chunk(2)
    return without + edit.guidance * (with_words - without)
