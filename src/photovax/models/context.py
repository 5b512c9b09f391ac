"""Conditioning of a denoiser: prompt embeddings and latents of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from photovax.errors import UsageError

__all__ = ["Context", "Words", "kept_part"]


@dataclass(frozen=True)
class Words:
    """Embeddings of one prompt.

    Attributes:
        tokens: Embeddings of its tokens, (N, tokens, width).
        added: Further inputs of the denoiser by their names there, each (N, width).
    """

    tokens: Tensor
    added: Mapping[str, Tensor] = field(default_factory=dict)

    def expanded(self, count: int) -> Words:
        """The same for ``count`` pictures instead of one."""
        added = {name: value.expand(count, -1) for name, value in self.added.items()}
        return Words(self.tokens.expand(count, -1, -1), added)

    @classmethod
    def joined(cls, *parts: Words) -> Words:
        """One batch of several, concatenated."""
        added = {name: torch.cat([part.added[name] for part in parts]) for name in parts[0].added}
        return cls(torch.cat([part.tokens for part in parts]), added)


@dataclass(frozen=True)
class Context:
    """The prompts and pictures that condition a denoiser.

    Attributes:
        words: Embeddings of the prompt.
        without: Embeddings of the negative prompt; None without guidance.
        shown: Channels (N, C, h, w) that are concatenated to the noisy latent: the photo's latent
            for ``instruct``, the mask and the masked photo's latent for ``inpaint``, None for
            ``img2img``.
        scale: Scale of guidance, for transformers that take it as an input; the default of their
            pipeline when None.
    """

    words: Words
    without: Words | None
    shown: Tensor | None
    scale: float | None = None


def kept_part(images: Tensor, repaint: Tensor | None) -> tuple[Tensor, Tensor]:
    """Images as inpainting editors are fed them, mid grey where they repaint, and the mask.

    Args:
        images: Images (N, C, H, W) in [0, 1].
        repaint: Mask, bool (N or 1, 1, H, W), true where the picture is repainted.

    Returns:
        The images, and the mask (N, 1, H, W).

    Raises:
        UsageError: If there is no mask.
    """
    if repaint is None:
        raise UsageError(
            "inpainting needs a mask of what to repaint", hint="give one with --mask FILE"
        )
    mask = repaint.expand(len(images), -1, -1, -1)
    return torch.where(mask, 0.5, images), mask
