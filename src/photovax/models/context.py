"""What a denoiser is told besides the noisy latent."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """The words and pictures that condition a denoiser.

    Attributes:
        words: Text embeddings (N, tokens, width) of the prompt.
        without: Embeddings of the negative prompt; None without guidance.
        shown: Extra input channels (N, C, h, w): the photo's latent for ``instruct``, mask and
            masked photo's latent for ``inpaint``, None for ``img2img``.
    """

    words: Tensor
    without: Tensor | None
    shown: Tensor | None
