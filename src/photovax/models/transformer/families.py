"""Transformers trained by flow matching: one class for each form of their inputs.

For the same noise their inputs equal those in diffusers' pipelines: FluxImg2ImgPipeline,
StableDiffusion3Img2ImgPipeline, FluxKontextPipeline, FluxFillPipeline, Flux2Pipeline,
Flux2KleinPipeline, QwenImageImg2ImgPipeline and, except for the input of its text encoder,
QwenImageEditPlusPipeline.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.digests import combined_digest, file_digest
from photovax.errors import ModelError, UsageError, first_line
from photovax.models.autoencoders.base import FrozenAutoencoder, continued
from photovax.models.autoencoders.families import Flux2Autoencoder, VideoAutoencoder
from photovax.models.autoencoders.load import load_own_autoencoder
from photovax.models.catalog.objects import json_object
from photovax.models.catalog.places import weight_files
from photovax.models.context import Context, kept_part
from photovax.models.damaged import loading
from photovax.models.transformer.denoiser import FlowDenoiser
from photovax.models.transformer.prompts import PromptEncoder
from photovax.models.weights import kept_precision, load_module

__all__ = ["FLOWS", "load_flow"]


class SD3Denoiser(FlowDenoiser):
    """An ``SD3Transformer2DModel``: Stable Diffusion 3 and 3.5."""

    pipeline = "StableDiffusion3Img2ImgPipeline"
    network = "SD3Transformer2DModel"
    text_options: ClassVar[Mapping[str, Any]] = {
        "prompt_2": None,
        "prompt_3": None,
        "do_classifier_free_guidance": False,
    }
    pooled = True

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        most = int(self.transformer.config.pos_embed_max_size) * self._multiple
        height, width = (side * self.autoencoder.multiple for side in noisy.shape[-2:])
        if max(height, width) > most:
            raise UsageError(
                f"model {self.name} takes sides up to {most} pixels, got {width} x {height}",
                hint="give a smaller --size",
            )
        return self._asked(noisy, times * 1000, context)  # of the schedule's 1000 steps


class TokenDenoiser(FlowDenoiser):
    """A transformer whose inputs are sequences of tokens with their positions.

    If it is conditioned on the photo, the photo's tokens follow those of the noisy latent. If
    guidance is an input of the transformer, it has the pipeline's default value.

    A family defines how positions are encoded: ``_places``.
    """

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        pictures = self._pictures(noisy, context.shown)
        made = self._asked(
            torch.cat([self._packed(picture) for picture in pictures], dim=1),
            times,
            context,
            guidance=self._guidance(noisy),
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

    def _guidance(self, noisy: Tensor) -> Tensor | None:
        if not self.transformer.config.guidance_embeds:
            return None
        call = inspect.signature(getattr(diffusers, self.pipeline).__call__)
        scale = float(call.parameters["guidance_scale"].default)
        return torch.full((len(noisy),), scale, device=noisy.device)

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


class Flux2KleinDenoiser(Flux2Denoiser):
    """FLUX.2 [klein], which differs in its text encoder."""

    pipeline = "Flux2KleinPipeline"


class QwenDenoiser(TokenDenoiser):
    """A ``QwenImageTransformer2DModel`` (arXiv 2508.02324): Qwen-Image.

    Its autoencoder is for videos; latents are those of a single frame, (N, C, h, w).
    """

    pipeline = "QwenImageImg2ImgPipeline"
    network = "QwenImageTransformer2DModel"
    family = VideoAutoencoder
    text_options: ClassVar[Mapping[str, Any]] = {"max_sequence_length": 512}  # as its call does

    def encode(self, images: Tensor) -> Tensor:
        """Encode as a single frame; images are padded to whole tokens of 16 pixels."""
        return super().encode(images)[:, :, 0]

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The autoencoder's posterior of a single frame, padded as by ``encode``."""
        mean, logvar = super().posterior(images)
        return mean[:, :, 0], logvar[:, :, 0]

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


FLOWS: dict[str, type[FlowDenoiser]] = {
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


def load_flow(
    folder: Path,
    *,
    name: str,
    device: torch.device,
    autoencoder: FrozenAutoencoder | None = None,
) -> FlowDenoiser:
    """Load the autoencoder and the transformer of a diffusers pipeline folder.

    The text encoders are loaded first, and freed after they have encoded the empty prompt. They
    are loaded again for any other prompt.

    Args:
        folder: Folder of the parts, with ``model_index.json``.
        name: Name of the model.
        device: Device to load it on.
        autoencoder: The folder's autoencoder, if it is loaded already.

    Raises:
        ModelError: If parts are missing, damaged or of another family.
    """
    index = folder / "model_index.json"
    try:
        pipeline = str(json_object(index)["_class_name"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"model {name}: {index} cannot be read: {first_line(error)}; give the whole folder of "
            "a diffusers pipeline"
        ) from error
    if pipeline not in FLOWS:
        raise ModelError(
            f"model {name}: {folder} holds a {pipeline}; transformers can be attacked in "
            f"{', '.join(FLOWS)}, in others only the autoencoder"
        )
    kind = FLOWS[pipeline]
    prompts = PromptEncoder(
        folder,
        kind.pipeline,
        options=kind.text_options,
        pooled=kind.pooled,
        name=name,
        device=device,
    )
    prompts("")
    own = load_own_autoencoder(folder, kind.family, name=name, device=device, loaded=autoencoder)
    part = folder / "transformer"
    files, variant = weight_files(part, name=name)
    with loading(name, part):
        precision = kept_precision(files)
    transformer = load_module(
        part, kind.network, variant, name=name, shown=part, precision=precision
    )
    digests = [own.digest, prompts.digest(), *(file_digest(file) for file in files)]
    return kind(
        own,
        transformer=transformer.to(device),
        prompts=prompts,
        name=name,
        digest=combined_digest(digests),
    )
