"""Denoisers trained by flow matching: the transformers of Stable Diffusion 3 and FLUX.1.

On one noise they are fed what diffusers' pipelines feed them (StableDiffusion3Img2ImgPipeline,
FluxImg2ImgPipeline, FluxKontextPipeline, FluxFillPipeline). Whole edits are not run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.digests import file_digest
from photovax.edit import Edit, Mode
from photovax.errors import ModelError, UsageError, first_line
from photovax.footprint import recompute
from photovax.models.autoencoders import KLAutoencoder, continued
from photovax.models.context import Context, Words, kept_part
from photovax.models.loading import kept_precision, load_kl_autoencoder, load_module
from photovax.models.places import weight_files
from photovax.models.prompts import PromptEncoder
from photovax.randomness import draw_noise

__all__ = ["FLOWS", "FlowDenoiser", "load_flow"]

_PATCH = 2  # Neighbouring latents, in either direction, that become one token in all families.


class FlowDenoiser:
    """A transformer that predicts velocities, and its autoencoder, frozen; what families share.

    Rectified flow (arXiv 2209.03003; for images arXiv 2403.03206): at time t from 0 to 1 the
    latent z is ``(1 - t) * z + t * noise``, and the velocity to be predicted ``noise - z``.

    A family says how its transformer is fed: ``_velocity``, and ``_shown`` where it is shown the
    photo beside the noisy latent.

    Attributes:
        name: What the user calls it.
        digest: SHA-256 over the digests of all its weight files.
        autoencoder: It encodes photos.
        transformer: The diffusers model, in evaluation mode and without weight gradients.
        mode: The one way of editing that it is for.
        pipeline: The pipeline of diffusers that edits so.
        network: The class of its transformer there.
        text_options: What the pipeline's ``encode_prompt`` is given besides the prompt.
    """

    mode: ClassVar[Mode] = "img2img"
    pipeline: ClassVar[str]
    network: ClassVar[str]
    text_options: ClassVar[Mapping[str, Any]] = {"prompt_2": None}

    def __init__(
        self,
        autoencoder: KLAutoencoder,
        *,
        transformer: Any,
        prompts: PromptEncoder,
        name: str,
        digest: str,
    ) -> None:
        self.autoencoder = autoencoder
        self.transformer: Any = transformer.eval().requires_grad_(False)
        self.name = name
        self.digest = digest
        self._prompts = prompts
        self._multiple = autoencoder.multiple * _PATCH

    def recompute(self) -> None:
        """Take less memory and more time for the same gradients from now on."""
        self.autoencoder.recompute()
        recompute(self.transformer)

    def encode(self, images: Tensor) -> Tensor:
        """As the autoencoder's; sides are continued to multiples of a token's, most often 16."""
        return self.autoencoder.encode(continued(images, self._multiple))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As the autoencoder's, with sides continued as by ``encode``."""
        return self.autoencoder.posterior(continued(images, self._multiple))

    def context(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Context:
        """What the transformer is told of the pictures and the prompt; never guided by a second.

        Raises:
            UsageError: If it inpaints and there is no mask.
        """
        tokens, pooled = self._prompts(edit.prompt)
        return Context(
            words=Words(tokens, {"pooled_projections": pooled}).expanded(len(images)),
            without=None,
            shown=self._shown(images, generator, repaint),
        )

    def random_times(self, count: int, generator: Generator) -> Tensor:
        """Uniform times (count,) from 0, the photo, to 1, noise."""
        return torch.rand(count, generator=generator, device=generator.device)

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents at times (N,) of their straight paths to the noise."""
        share = times.to(latents).view(-1, 1, 1, 1)
        return (1 - share) * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor) -> Tensor:
        """The velocity of the straight paths."""
        return noise - latents

    def predicted(self, noisy: Tensor, times: Tensor, context: Context, mode: Mode) -> Tensor:
        """The velocity that the transformer sees in noisy latents.

        Args:
            noisy: (N, C, h, w) at ``times``.
            times: (N,) from 0 to 1.
            context: As ``context`` gives it.
            mode: Its own.

        Raises:
            UsageError: If its mode is another, or the latents are larger than it takes.
        """
        if mode != self.mode:
            raise UsageError(
                f"model {self.name} cannot {mode}; it knows {self.mode} (say --mode {self.mode})"
            )
        return self._velocity(noisy, times.to(noisy.device), context)

    def first_prediction(
        self, images: Tensor, context: Context, mode: Mode, generator: Generator
    ) -> Tensor:
        """The velocity that it sees in pure noise, at time 1."""
        sides = [
            -(-side // self._multiple) * self._multiple // self.autoencoder.multiple
            for side in images.shape[-2:]
        ]
        channels = int(self.autoencoder.model.config.latent_channels)
        noise = draw_noise((len(images), channels, *sides), images, generator)
        return self.predicted(noise, images.new_ones(len(images)), context, mode)

    def _shown(self, images: Tensor, generator: Generator, repaint: Tensor | None) -> Tensor | None:
        """What it is shown of the photo, (N, channels, h, w)."""
        return None

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        raise NotImplementedError

    def _asked(self, fed: Tensor, times: Tensor, context: Context, **more: Any) -> Tensor:
        """The transformer's answer, which it gives in its own precision, in that of ``fed``."""
        kind = self.transformer.dtype
        made: Tensor = self.transformer(
            hidden_states=fed.to(kind),
            timestep=times,
            encoder_hidden_states=context.words.tokens.to(kind),
            **{name: value.to(kind) for name, value in context.words.added.items()},
            return_dict=False,
            **more,
        )[0]
        return made.to(fed)


class SD3Denoiser(FlowDenoiser):
    """An ``SD3Transformer2DModel``: Stable Diffusion 3 and 3.5."""

    pipeline = "StableDiffusion3Img2ImgPipeline"
    network = "SD3Transformer2DModel"
    text_options: ClassVar[Mapping[str, Any]] = {
        "prompt_2": None,
        "prompt_3": None,
        "do_classifier_free_guidance": False,
    }

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        most = int(self.transformer.config.pos_embed_max_size) * self._multiple
        height, width = (side * self.autoencoder.multiple for side in noisy.shape[-2:])
        if max(height, width) > most:
            raise UsageError(
                f"model {self.name} takes sides up to {most} pixels, got {width} x {height}; "
                "give a smaller --size"
            )
        return self._asked(noisy, times * 1000, context)  # of the schedule's 1000 steps


class FluxDenoiser(FlowDenoiser):
    """A ``FluxTransformer2DModel``: FLUX.1 [dev] and [schnell].

    Where guidance is an input of the transformer, it is what the pipeline gives by default.
    """

    pipeline = "FluxImg2ImgPipeline"
    network = "FluxTransformer2DModel"

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        fed, places = self._tokens(noisy, context.shown)
        guidance = None
        if self.transformer.config.guidance_embeds:
            call = inspect.signature(getattr(diffusers, self.pipeline).__call__)
            scale = float(call.parameters["guidance_scale"].default)
            guidance = torch.full((len(noisy),), scale, device=noisy.device)
        made = self._asked(
            fed,
            times,
            context,
            guidance=guidance,
            img_ids=places,
            txt_ids=places.new_zeros(context.words.tokens.shape[1], 3),
        )
        height, width = (side // _PATCH for side in noisy.shape[-2:])
        own = made[:, : height * width].mT.reshape(len(noisy), -1, height, width)
        return F.pixel_shuffle(own, _PATCH)

    def _tokens(self, noisy: Tensor, shown: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is fed (N, tokens, width), and the places of the tokens (tokens, 3)."""
        return _packed(noisy), _places(noisy, 0)


class KontextDenoiser(FluxDenoiser):
    """FLUX.1 Kontext (arXiv 2506.15742): the photo's latent is shown as further tokens."""

    mode = "instruct"
    pipeline = "FluxKontextPipeline"

    def _shown(self, images: Tensor, generator: Generator, repaint: Tensor | None) -> Tensor:
        return self.encode(images)

    def _tokens(self, noisy: Tensor, shown: Tensor | None) -> tuple[Tensor, Tensor]:
        pictures = [noisy] if shown is None else [noisy, shown]
        return (
            torch.cat([_packed(picture) for picture in pictures], dim=1),
            torch.cat([_places(picture, number) for number, picture in enumerate(pictures)]),
        )


class FillDenoiser(FluxDenoiser):
    """FLUX.1 Fill: the latent of what is kept, and the mask, are shown as further channels."""

    mode = "inpaint"
    pipeline = "FluxFillPipeline"

    def _shown(self, images: Tensor, generator: Generator, repaint: Tensor | None) -> Tensor:
        kept, mask = kept_part(images, repaint)
        latents = self.autoencoder.sample(continued(kept, self._multiple), generator)
        # Every pixel of the mask has a channel of its own.
        whole = continued(mask.to(latents), self._multiple)
        return torch.cat((latents, F.pixel_unshuffle(whole, self.autoencoder.multiple)), dim=1)

    def _tokens(self, noisy: Tensor, shown: Tensor | None) -> tuple[Tensor, Tensor]:
        fed = noisy if shown is None else torch.cat((noisy, shown), dim=1)
        return _packed(fed), _places(noisy, 0)


def _packed(latents: Tensor) -> Tensor:
    """Latents (N, C, h, w) as tokens (N, h * w / 4, 4 C)."""
    return F.pixel_unshuffle(latents, _PATCH).flatten(2).mT


def _places(latents: Tensor, picture: int) -> Tensor:
    """Picture, row and column of each token of latents, float32 (tokens, 3)."""
    height, width = (torch.arange(side // _PATCH) for side in latents.shape[-2:])
    places = torch.cartesian_prod(torch.tensor([picture]), height, width)
    return places.to(latents.device, torch.float32)


FLOWS: dict[str, type[FlowDenoiser]] = {
    "StableDiffusion3Pipeline": SD3Denoiser,
    "StableDiffusion3Img2ImgPipeline": SD3Denoiser,
    "FluxPipeline": FluxDenoiser,
    "FluxImg2ImgPipeline": FluxDenoiser,
    "FluxKontextPipeline": KontextDenoiser,
    "FluxFillPipeline": FillDenoiser,
}
"""The family of a pipeline's folder, by the ``_class_name`` of its ``model_index.json``."""


def load_flow(
    folder: Path,
    *,
    name: str,
    device: torch.device,
    autoencoder: KLAutoencoder | None = None,
) -> FlowDenoiser:
    """Load the autoencoder and the transformer of a diffusers pipeline folder.

    The text encoders are loaded before, let go of when they have encoded the empty prompt, and
    loaded again for another.

    Args:
        folder: Where the parts are, with ``model_index.json``.
        name: What to call it.
        device: Where to load it.
        autoencoder: The folder's own, if it is loaded already.

    Raises:
        ModelError: If parts are missing, damaged or of another family.
    """
    index = folder / "model_index.json"
    try:
        pipeline = str(json.loads(index.read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"model {name}: {index} cannot be read: {first_line(error)}; give the whole folder of "
            "a diffusers pipeline"
        ) from error
    if pipeline not in FLOWS:
        raise ModelError(
            f"model {name}: {folder} holds a {pipeline}; transformers are attacked here of "
            f"{', '.join(FLOWS)}, of others only the autoencoder"
        )
    family = FLOWS[pipeline]
    prompts = PromptEncoder(
        folder, family.pipeline, options=family.text_options, name=name, device=device
    )
    prompts("")
    own = autoencoder or load_kl_autoencoder(folder, name=name, device=device)
    part = folder / "transformer"
    files, variant = weight_files(part, name=name)
    transformer = load_module(
        part, family.network, variant, name=name, shown=part, precision=kept_precision(files)
    )
    digests = [own.digest, prompts.digest(), *(file_digest(file) for file in files)]
    return family(
        own,
        transformer=transformer.to(device),
        prompts=prompts,
        name=name,
        digest=hashlib.sha256("".join(digests).encode()).hexdigest(),
    )
