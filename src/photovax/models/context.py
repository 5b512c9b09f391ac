"""What a denoiser is told besides the noisy latent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from photovax.errors import UsageError

__all__ = ["Context", "kept_part"]


@dataclass(frozen=True)
class Context:
    """The words and pictures that condition a denoiser.

    Attributes:
        words: Text embeddings (N, tokens, width) of the prompt.
        without: Embeddings of the negative prompt; None without guidance.
        shown: What is fed beside the noisy latent (N, C, h, w): the photo's latent for
            ``instruct``, mask and masked photo's latent for ``inpaint``, None for ``img2img``.
        pooled: One embedding (N, width) of the whole prompt, for denoisers that take it.
    """

    words: Tensor
    without: Tensor | None
    shown: Tensor | None
    pooled: Tensor | None = None


def kept_part(images: Tensor, repaint: Tensor | None) -> tuple[Tensor, Tensor]:
    """Images as inpainting editors see them, mid grey where they repaint, and that mask.

    Args:
        images: (N, C, H, W) in [0, 1].
        repaint: Bool (N or 1, 1, H, W), true where the picture is repainted.

    Returns:
        The images, and the mask (N, 1, H, W).

    Raises:
        UsageError: If there is no mask.
    """
    if repaint is None:
        raise UsageError("inpainting needs a mask of what to repaint (--mask FILE)")
    mask = repaint.expand(len(images), -1, -1, -1)
    return torch.where(mask, 0.5, images), mask
