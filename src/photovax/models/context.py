"""What a denoiser is told besides the noisy latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from photovax.errors import UsageError

__all__ = ["Context", "Words", "kept_part"]


@dataclass(frozen=True)
class Words:
    """What a denoiser is told by one prompt.

    Attributes:
        tokens: Embeddings (N, tokens, width) of its tokens.
        added: What else the denoiser takes, by the names that it has for it, each (N, width).
    """

    tokens: Tensor
    added: Mapping[str, Tensor] = field(default_factory=dict)

    def expanded(self, count: int) -> Words:
        """The same, told of ``count`` pictures instead of one."""
        added = {name: value.expand(count, -1) for name, value in self.added.items()}
        return Words(self.tokens.expand(count, -1, -1), added)

    @classmethod
    def joined(cls, *parts: Words) -> Words:
        """One batch of several, one after the other."""
        added = {name: torch.cat([part.added[name] for part in parts]) for name in parts[0].added}
        return cls(torch.cat([part.tokens for part in parts]), added)


@dataclass(frozen=True)
class Context:
    """The words and pictures that condition a denoiser.

    Attributes:
        words: Of the prompt.
        without: Of the negative prompt; None without guidance.
        shown: What is fed beside the noisy latent (N, C, h, w): the photo's latent for
            ``instruct``, mask and masked photo's latent for ``inpaint``, None for ``img2img``.
    """

    words: Words
    without: Words | None
    shown: Tensor | None


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
        raise UsageError(
            "inpainting needs a mask of what to repaint", hint="give one with --mask FILE"
        )
    mask = repaint.expand(len(images), -1, -1, -1)
    return torch.where(mask, 0.5, images), mask
