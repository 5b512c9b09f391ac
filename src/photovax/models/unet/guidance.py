"""Predictions of a UNet, and classifier-free guidance (arXiv 2207.12598)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from photovax.models.context import Context, Words
from photovax.models.edit import Edit

__all__ = ["answer", "guided"]


def answer(unet: Any, fed: Tensor, time: Tensor, words: Words) -> Tensor:
    """The prediction of a UNet, (N, channels of the latent, h, w).

    Args:
        unet: A ``UNet2DConditionModel``.
        fed: Noisy latent and conditioning channels, (N, C, h, w).
        time: Timestep, one for all or one for each (N,).
        words: Embeddings of the prompt.
    """
    added = dict(words.added)
    made: Tensor = unet(fed, time, words.tokens, added_cond_kwargs=added, return_dict=False)[0]
    return made


def guided(
    unet: Any, fed: Tensor, time: Tensor, context: Context, shown: Tensor | None, edit: Edit
) -> Tensor:
    """A UNet's prediction with classifier-free guidance, (N, channels of the latent, h, w).

    For ``instruct``, guidance is by prompt and photo (arXiv 2211.09800, equation 3).

    Args:
        unet: A ``UNet2DConditionModel``.
        fed: Noisy latent (N, C, h, w).
        time: Timestep.
        context: Conditioning; without a negative prompt there is no guidance.
        shown: Conditioning channels, those of ``context`` or a replacement.
        edit: Edit, with the scales of guidance.
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
