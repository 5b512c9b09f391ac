"""Transformers trained by flow matching: one class for each form of their inputs.

For the same noise their inputs and edits equal those of diffusers' pipelines: FluxImg2ImgPipeline,
StableDiffusion3Img2ImgPipeline, FluxKontextPipeline, FluxFillPipeline, Flux2Pipeline,
Flux2KleinPipeline, QwenImageImg2ImgPipeline and, except for the input of its text encoder,
QwenImageEditPlusPipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.models.autoencoders.families import Flux2Autoencoder, VideoAutoencoder
from photovax.models.catalog.flows import FLOW_EDITS
from photovax.models.context import Context, kept_part
from photovax.models.edit import Edit
from photovax.models.padding import continued
from photovax.models.transformer.editor import FlowEditor

__all__ = ["FLOWS"]


class SD3Denoiser(FlowEditor):
    """An ``SD3Transformer2DModel``: Stable Diffusion 3 and 3.5."""

    pipeline = "StableDiffusion3Img2ImgPipeline"
    network = "SD3Transformer2DModel"
    text_options: ClassVar[Mapping[str, Any]] = {
        "prompt_2": None,
        "prompt_3": None,
        "do_classifier_free_guidance": False,
    }
    pooled = True
    even = False
    avoids = ""

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        most = int(self.transformer.config.pos_embed_max_size) * self._multiple
        height, width = (side * self.autoencoder.multiple for side in noisy.shape[-2:])
        if max(height, width) > most:
            raise UsageError(
                f"model {self.name} takes sides up to {most} pixels, got {width} x {height}",
                hint="give a smaller --size",
            )
        return self._asked(noisy, times * 1000, context)  # of the schedule's 1000 steps


class TokenDenoiser(FlowEditor):
    """A transformer whose inputs are sequences of tokens with their positions.

    If it is conditioned on the photo, the photo's tokens follow those of the noisy latent. Where
    guidance is an input of the transformer, single predictions have the pipeline's default value.

    A family defines how positions are encoded: ``_places``.
    """

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        pictures = self._pictures(noisy, context.shown)
        made = self._asked(
            torch.cat([self._packed(picture) for picture in pictures], dim=1),
            times,
            context,
            guidance=self._guidance(noisy, context.scale),
            **self._places(pictures, context.words.tokens),
        )
        height, width = self._grid(noisy)
        own = made[:, : height * width].mT.reshape(len(noisy), -1, height, width)
        return F.pixel_shuffle(own, self.patch)

    def _pictures(self, noisy: Tensor, shown: Tensor | None) -> list[Tensor]:
        """Latents that become tokens, each (N, C, h, w); the noisy latent comes first."""
        return [noisy] if shown is None else [noisy, shown]

    def _places(self, pictures: Sequence[Tensor], words: Tensor) -> dict[str, Any]:
        """Inputs with the positions of the tokens of pictures and words."""
        raise NotImplementedError

    def _tokens(self, noisy: Tensor, context: Context) -> tuple[slice, ...]:
        pictures = self._pictures(noisy, context.shown)
        if len(pictures) < 2:
            return ()
        # In all families the words come first.
        ends = [context.words.tokens.shape[1]]
        for picture in pictures:
            height, width = self._grid(picture)
            ends.append(ends[-1] + height * width)
        return tuple(slice(*each) for each in pairwise(ends))

    def _guidance(self, noisy: Tensor, scale: float | None) -> Tensor | None:
        if not self.transformer.config.guidance_embeds:
            return None
        used = FLOW_EDITS[self.pipeline].guidance if scale is None else scale
        return torch.full((len(noisy),), float(used), device=noisy.device)

    def _packed(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w) as tokens (N, h * w / patch^2, patch^2 * C)."""
        return F.pixel_unshuffle(latents, self.patch).flatten(2).mT

    def _grid(self, latents: Tensor) -> tuple[int, int]:
        """Rows and columns of the tokens of latents."""
        height, width = latents.shape[-2:]
        return height // self.patch, width // self.patch

    def _numbered(self, pictures: Sequence[Tensor], *, step: int = 1) -> Tensor:
        """Picture (0, ``step``, ...), row and column of each token, (tokens, 3)."""
        places = [
            torch.cartesian_prod(torch.tensor([number * step]), *map(torch.arange, self._grid(own)))
            for number, own in enumerate(pictures)
        ]
        return torch.cat(places).to(pictures[0].device)


class FluxDenoiser(TokenDenoiser):
    """A ``FluxTransformer2DModel``: FLUX.1 [dev] and [schnell]."""

    pipeline = "FluxImg2ImgPipeline"
    network = "FluxTransformer2DModel"
    text_options: ClassVar[Mapping[str, Any]] = {"prompt_2": None}
    pooled = True

    def _places(self, pictures: Sequence[Tensor], words: Tensor) -> dict[str, Any]:
        places = self._numbered(pictures).float()
        return {"img_ids": places, "txt_ids": places.new_zeros(words.shape[1], 3)}


class KontextDenoiser(FluxDenoiser):
    """FLUX.1 Kontext (arXiv 2506.15742), which follows instructions."""

    mode = "instruct"
    pipeline = "FluxKontextPipeline"


class FillDenoiser(FluxDenoiser):
    """FLUX.1 Fill: the latent of the kept region and the mask are further input channels."""

    mode = "inpaint"
    pipeline = "FluxFillPipeline"

    def _shown(self, images: Tensor, generator: Generator, repaint: Tensor | None) -> Tensor:
        kept, mask = kept_part(images, repaint)
        latents = self.autoencoder.sample(continued(kept, self._multiple), generator)
        # Each pixel of the mask becomes a channel.
        whole = continued(mask.to(latents), self._multiple)
        return torch.cat((latents, F.pixel_unshuffle(whole, self.autoencoder.multiple)), dim=1)

    def _pictures(self, noisy: Tensor, shown: Tensor | None) -> list[Tensor]:
        return [noisy if shown is None else torch.cat((noisy, shown), dim=1)]


class Flux2Denoiser(TokenDenoiser):
    """A ``Flux2Transformer2DModel``: FLUX.2 [dev], which follows instructions.

    Each latent is a token, since the autoencoder already makes channels of neighbours.
    """

    mode = "instruct"
    pipeline = "Flux2Pipeline"
    network = "Flux2Transformer2DModel"
    family = Flux2Autoencoder
    patch = 1

    def _channels(self) -> int:
        return 4 * super()._channels()

    def _places(self, pictures: Sequence[Tensor], words: Tensor) -> dict[str, Any]:
        """Positions by time, row, column and word; pictures are 10 apart in time."""
        lines = torch.arange(words.shape[1], device=words.device)[:, None]
        return {
            "img_ids": F.pad(self._numbered(pictures, step=10), (0, 1))[None],
            "txt_ids": F.pad(lines, (3, 0))[None],
        }

    def _shift(self, tokens: int, steps: int) -> float:
        # Its module, which is slow to import, was imported with the text encoders.
        from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

        return float(compute_empirical_mu(tokens, steps))


class Flux2KleinDenoiser(Flux2Denoiser):
    """FLUX.2 [klein], which differs in its text encoder, and in its guidance if not distilled."""

    pipeline = "Flux2KleinPipeline"

    def _avoided(self, edit: Edit) -> str | None:
        return "" if edit.guided and not self.distilled else None


class QwenDenoiser(TokenDenoiser):
    """A ``QwenImageTransformer2DModel`` (arXiv 2508.02324): Qwen-Image.

    Its autoencoder is for videos; latents are those of a single frame, (N, C, h, w).
    """

    pipeline = "QwenImageImg2ImgPipeline"
    network = "QwenImageTransformer2DModel"
    family = VideoAutoencoder
    text_options: ClassVar[Mapping[str, Any]] = {"max_sequence_length": 512}  # as its call does
    scale_name = "true_cfg_scale"
    avoids = " "  # as the model's own examples have it

    def encode(self, images: Tensor) -> Tensor:
        """Encode as a single frame; images are padded to whole tokens of 16 pixels."""
        return super().encode(images)[:, :, 0]

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The autoencoder's posterior of a single frame, padded as by ``encode``."""
        mean, logvar = super().posterior(images)
        return mean[:, :, 0], logvar[:, :, 0]

    def _sampled(self, images: Tensor, generator: Generator) -> Tensor:
        return super()._sampled(images, generator)[:, :, 0]

    def _decoded(self, latents: Tensor) -> Tensor:
        return super()._decoded(latents[:, :, None])

    def _combined(self, asked: Tensor, avoided: Tensor, scale: float) -> Tensor:
        """As usual, with each token as long as the one that the prompt asks for."""
        made = super()._combined(asked, avoided, scale)
        lengths = [self._packed(each).norm(dim=-1) for each in (asked, made)]
        share = (lengths[0] / lengths[1]).reshape(len(made), 1, *self._grid(made))
        return made * F.interpolate(share, scale_factor=float(self.patch))

    def _channels(self) -> int:
        return int(self.autoencoder.model.config.z_dim)

    def _places(self, pictures: Sequence[Tensor], words: Tensor) -> dict[str, Any]:
        shapes = [(1, *self._grid(picture)) for picture in pictures]
        # A single prompt is never padded, so that no word is masked.
        return {"img_shapes": [shapes] * len(words), "encoder_hidden_states_mask": None}


class QwenEditDenoiser(QwenDenoiser):
    """Qwen-Image-Edit, which follows instructions.

    In its pipelines the text encoder (Qwen2.5-VL) also reads the photo. Here it reads only the
    instruction, as in QwenImageEditPlusPipeline without a picture. The transformer is therefore
    conditioned on the photo through the autoencoder alone, and no gradient passes the text
    encoder.
    """

    mode = "instruct"
    pipeline = "QwenImageEditPlusPipeline"
    sees = True


FLOWS: dict[str, type[FlowEditor]] = {
    "StableDiffusion3Pipeline": SD3Denoiser,
    "StableDiffusion3Img2ImgPipeline": SD3Denoiser,
    "FluxPipeline": FluxDenoiser,
    "FluxImg2ImgPipeline": FluxDenoiser,
    "FluxKontextPipeline": KontextDenoiser,
    "FluxFillPipeline": FillDenoiser,
    "Flux2Pipeline": Flux2Denoiser,
    "Flux2KleinPipeline": Flux2KleinDenoiser,
    "QwenImagePipeline": QwenDenoiser,
    "QwenImageImg2ImgPipeline": QwenDenoiser,
    "QwenImageEditPipeline": QwenEditDenoiser,
    "QwenImageEditPlusPipeline": QwenEditDenoiser,
}
"""The family of a pipeline's folder, by the ``_class_name`` of its ``model_index.json``."""
