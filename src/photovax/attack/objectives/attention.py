"""Objectives on attention, where denoisers read the photo and the prompt.

All look at one prediction for pure noise, at the start of an edit, whose noise is new at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.attack.losses import LossFn
from photovax.attack.objectives.contract import OBJECTIVES
from photovax.attack.objectives.edits import OfDenoiser, drawn
from photovax.errors import ModelError, UsageError
from photovax.machine.random import twin
from photovax.models.attention import Attention
from photovax.models.contracts import AttentiveDenoiser
from photovax.models.edit import Edit, Mode

__all__ = ["AttentionDecoy", "AttentionDrift", "ContextAttention"]


@OBJECTIVES.register("context_attention")
@dataclass(frozen=True)
class ContextAttention(OfDenoiser):
    """Lower the share of attention that the tokens of the edit pay to those of the photo.

    Source: DeContext (arXiv 2512.16625), for transformers that read the photo as further tokens.
    Early steps and blocks from the front to the middle bring the photo into the edit.

    Attributes:
        mode: Way of editing; such transformers follow instructions.
        prompts: Prompts, one of which is drawn at each call because the adversary's is unknown.
            ``prompt`` is used when there are none.
        early: Share of the schedule, from its noisiest end, in which the time is drawn.
        start: Share of the attention blocks before the first that counts. With ``end``, the default
            are the single-stream blocks 0 to 25 of FLUX.1, as published.
        end: Share of the attention blocks up to the last that counts.

    Raises:
        UsageError: If the mode is not ``instruct``, or a share is out of range.
    """

    mode: Mode = "instruct"
    prompts: Sequence[str] = ()
    early: float = 0.02
    start: float = 19 / 57
    end: float = 45 / 57

    def __post_init__(self) -> None:
        if self.mode != "instruct":
            raise UsageError(f"context_attention attacks instruct, not {self.mode}")
        if not 0 <= self.start < self.end <= 1:
            raise UsageError(
                f"start and end must be 0 <= start < end <= 1, got {self.start:g} and {self.end:g}"
            )
        _check_share("early", self.early)

    def bind(
        self, surrogate: AttentiveDenoiser, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """The loss: the mean share over the blocks, their heads and the tokens of the edit.

        Its evaluation raises ``ModelError`` if no token is the photo's, or no block counts.
        """
        edit = Edit(self.mode, self.prompt, guidance=1)

        def loss(images: Tensor, generator: Generator) -> Tensor:
            asked = drawn(edit, self.prompts, generator)
            context = surrogate.context(images, asked, generator, repaint=repaint)
            ago = torch.rand(len(images), generator=generator, device=generator.device)
            levels = 1 - self.early * ago.to(images.device)
            blocks = surrogate.attention(
                images, context, self.mode, levels, generator, start=self.start, end=self.end
            )
            if not blocks:
                raise ModelError(
                    f"context_attention found no attention block of model {surrogate.name} from "
                    f"start {self.start:g} to end {self.end:g}; widen them"
                )
            shares = [block.share(*block.pictures) for block in blocks if block.pictures]
            if not shares:
                raise ModelError(
                    f"context_attention needs a transformer that reads the photo as tokens, such "
                    f"as FLUX.1 Kontext; model {surrogate.name} has no such attention"
                )
            return torch.stack(shares).mean(0)

        return loss


@dataclass(frozen=True)
class _OfUNet(OfDenoiser):
    """An objective on the attention of a UNet that is shown the photo.

    Attributes:
        mode: Way of editing, ``inpaint`` or ``instruct``: their denoisers get the photo as a
            separate input.
        level: Share of the schedule at which the UNet predicts: 1 is the noisiest.

    Raises:
        UsageError: If the mode is ``img2img``, or ``level`` is not within 0 and 1.
    """

    mode: Mode = "inpaint"
    level: float = 1.0

    def __post_init__(self) -> None:
        if self.mode == "img2img":
            raise UsageError("an objective on attention attacks inpaint or instruct, not img2img")
        _check_share("level", self.level)

    def _seen(
        self,
        surrogate: AttentiveDenoiser,
        images: Tensor,
        repaint: Tensor | None,
        generator: Generator,
    ) -> list[Attention]:
        """The attention of all blocks.

        Raises:
            ModelError: If none of it is to a prompt alone.
        """
        edit = Edit(self.mode, self.prompt, guidance=1)
        context = surrogate.context(images, edit, generator, repaint=repaint)
        levels = torch.full((len(images),), self.level, device=images.device)
        blocks = surrogate.attention(images, context, self.mode, levels, generator)
        if not any(block.cross for block in blocks):
            raise ModelError(
                "this objective needs the self- and cross-attention of a UNet, such as Stable "
                f"Diffusion's; model {surrogate.name} has no cross-attention"
            )
        return blocks


@OBJECTIVES.register("attention_drift")
@dataclass(frozen=True)
class AttentionDrift(_OfUNet):
    """Move what attention works on away from that of the original with the same noise.

    Source: AdvPaint (ICLR 2025, arXiv 2503.10081): queries, keys and values of self-attention, and
    queries of cross-attention. The authors compare with a pass of other noise, and noise the
    photo's latent, of which nearly nothing is left.
    """

    def bind(
        self, surrogate: AttentiveDenoiser, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """The loss: minus the sum of the lengths of all changes, per block of self-attention.

        Its gradient is zero at the original. Its evaluation raises ``ModelError`` if the model is
        no UNet, and ``UsageError`` if none of its attention is self-attention.
        """

        def loss(images: Tensor, generator: Generator) -> Tensor:
            same = twin(generator)
            with torch.no_grad():
                clean = self._seen(surrogate, origin, repaint, same)
            own = sum(not block.cross for block in clean)
            if not own:
                raise UsageError(
                    "attention_drift needs a UNet with self-attention, such as Stable "
                    f"Diffusion's; model {surrogate.name} has cross-attention only"
                )
            moved = self._seen(surrogate, images, repaint, generator)
            lengths = [
                _length(after - before)
                for new, old in zip(moved, clean, strict=True)
                for after, before in zip(_inputs(new), _inputs(old), strict=True)
            ]
            return -torch.stack(lengths).sum(0) / own

        return loss


@OBJECTIVES.register("attention_decoy")
@dataclass(frozen=True)
class AttentionDecoy(_OfUNet):
    """Draw the attention that repainted places pay to the prompt to its first token.

    Source: PromptFlare (ACM MM 2025, arXiv 2508.16217). That token says where a text begins, and
    nothing of the text. The answer of attention to it alone is its value, so that one pass is
    enough; it is compared before the linear layer that follows. As published, blocks at the full
    resolution of the latent do not count.
    """

    def bind(
        self, surrogate: AttentiveDenoiser, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """The loss: the sum over blocks of the distance of their answers to that value.

        Its evaluation raises ``ModelError`` if the model is no UNet, or no block counts.
        """

        def loss(images: Tensor, generator: Generator) -> Tensor:
            blocks = self._seen(surrogate, images, repaint, generator)
            lengths = []
            for block in blocks:
                if block.cross and block.halved:
                    gap = block.answer - block.value[:, :, :1]
                    if repaint is not None and self.mode == "inpaint":
                        gap = gap * F.interpolate(repaint.to(gap), block.grid).flatten(2)[..., None]
                    lengths.append(_length(gap))
            if not lengths:
                raise ModelError(
                    "attention_decoy needs cross-attention below the full resolution of the "
                    f"latent; model {surrogate.name} has it at the full resolution only"
                )
            return torch.stack(lengths).sum(0)

        return loss


def _inputs(block: Attention) -> tuple[Tensor, ...]:
    """What depends on the photo of the inputs of attention."""
    return (block.query,) if block.cross else (block.query, block.key, block.value)


def _length(change: Tensor) -> Tensor:
    """The l2 length of a change of each image (N,)."""
    wide = change.to(torch.promote_types(change.dtype, torch.float32))
    lengths: Tensor = torch.linalg.vector_norm(wide.flatten(1), dim=1)
    return lengths


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"{name} must be from 0 to 1, got {value:g}")
