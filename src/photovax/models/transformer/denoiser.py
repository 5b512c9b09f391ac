"""Denoisers trained by flow matching: what all families of transformers share.

Whole edits are not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.machine.random import draw_noise
from photovax.models.autoencoders.base import KLAutoencoder, PosteriorAutoencoder, continued
from photovax.models.context import Context
from photovax.models.edit import Edit, Mode
from photovax.models.recompute import recompute
from photovax.models.transformer.prompts import PromptEncoder

__all__ = ["FlowDenoiser"]


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
        family: Of its autoencoder.
        patch: How many neighbouring latents, in either direction, become one token.
        text_options: What the pipeline's ``encode_prompt`` is given besides the prompt.
        pooled: Whether the transformer is told an embedding of the whole prompt too.
    """

    mode: ClassVar[Mode] = "img2img"
    pipeline: ClassVar[str]
    network: ClassVar[str]
    family: ClassVar[type[PosteriorAutoencoder]] = KLAutoencoder
    patch: ClassVar[int] = 2
    text_options: ClassVar[Mapping[str, Any]] = {}
    pooled: ClassVar[bool] = False

    def __init__(
        self,
        autoencoder: PosteriorAutoencoder,
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
        self._multiple = autoencoder.multiple * self.patch

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
        return Context(
            words=self._prompts(edit.prompt).expanded(len(images)),
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
                f"model {self.name} cannot {mode}; it knows {self.mode}",
                hint=f"say --mode {self.mode}",
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
        noise = draw_noise((len(images), self._channels(), *sides), images, generator)
        return self.predicted(noise, images.new_ones(len(images)), context, mode)

    def _shown(self, images: Tensor, generator: Generator, repaint: Tensor | None) -> Tensor | None:
        """What it is shown of the photo, (N, channels, h, w): its latent, if it is instructed."""
        return self.encode(images) if self.mode == "instruct" else None

    def _channels(self) -> int:
        """Of the latents that it is fed."""
        return int(self.autoencoder.model.config.latent_channels)

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
