"""Single predictions of denoisers trained by flow matching, for all families of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.machine.random import draw_noise
from photovax.models.attention import Attention, attention_seen
from photovax.models.autoencoders.base import KLAutoencoder, PosteriorAutoencoder
from photovax.models.context import Context
from photovax.models.edit import Edit, Mode
from photovax.models.padding import continued
from photovax.models.recompute import recompute
from photovax.models.transformer.prompts import PromptEncoder

__all__ = ["FlowDenoiser"]


class FlowDenoiser:
    """A transformer that predicts velocities, with its autoencoder, frozen.

    Rectified flow (arXiv 2209.03003; for images arXiv 2403.03206): at time t from 0 to 1 the
    latent z is ``(1 - t) * z + t * noise``, and the predicted velocity is ``noise - z``.

    A family defines how its transformer is fed: ``_velocity``, and ``_shown`` if it is conditioned
    on the photo.

    Attributes:
        name: Name that the user gave.
        digest: SHA-256 over the digests of all its weight files, in hexadecimal digits.
        autoencoder: Autoencoder that encodes photos.
        transformer: Diffusers model, in evaluation mode and without weight gradients.
        mode: Way of editing that it is trained for.
        pipeline: Name of diffusers' pipeline for that.
        network: Name of diffusers' class of the transformer.
        family: Class of its autoencoder.
        patch: Number of neighbouring latents, in either direction, that become one token.
        text_options: Options of the pipeline's ``encode_prompt`` other than the prompt.
        pooled: Whether the transformer also takes an embedding of the whole prompt.
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

    @classmethod
    def check_mode(cls, mode: Mode, *, name: str) -> None:
        """Refuse another way of editing than that of the family.

        Raises:
            UsageError: If it is another one.
        """
        if mode != cls.mode:
            raise UsageError(
                f"model {name} cannot {mode}; it knows {cls.mode}", hint=f"give --mode {cls.mode}"
            )

    def recompute(self) -> None:
        """Use less memory and more time for the same gradients from now on."""
        self.autoencoder.recompute()
        recompute(self.transformer)

    def encode(self, images: Tensor) -> Tensor:
        """Encode by the autoencoder; images are padded to whole tokens, most often of 16 pixels."""
        return self.autoencoder.encode(continued(images, self._multiple))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The autoencoder's posterior of images that are padded as by ``encode``."""
        return self.autoencoder.posterior(continued(images, self._multiple))

    def context(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Context:
        """The conditioning by pictures and prompt, without a negative prompt.

        Raises:
            UsageError: If it inpaints and there is no mask.
        """
        return Context(
            words=self._prompts(edit.prompt).expanded(len(images)),
            without=None,
            shown=self._shown(images, generator, repaint),
        )

    def random_times(self, count: int, generator: Generator) -> Tensor:
        """Uniformly drawn times (count,) from 0, the photo, to 1, the noise."""
        return torch.rand(count, generator=generator, device=generator.device)

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Points at times (N,) on the straight paths from latents to noise."""
        share = times.to(latents).view(-1, 1, 1, 1)
        return (1 - share) * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor) -> Tensor:
        """The velocity of the straight paths."""
        return noise - latents

    def predicted(self, noisy: Tensor, times: Tensor, context: Context, mode: Mode) -> Tensor:
        """The velocity that the transformer predicts for noisy latents.

        Args:
            noisy: Noisy latents (N, C, h, w) at ``times``.
            times: Times (N,) from 0 to 1.
            context: Conditioning, from ``context``.
            mode: Way of editing, which must be its own.

        Raises:
            UsageError: If the mode is another one, or the latents are too large.
        """
        self.check_mode(mode, name=self.name)
        return self._velocity(noisy, times.to(noisy.device), context)

    def first_prediction(
        self, images: Tensor, context: Context, mode: Mode, generator: Generator
    ) -> Tensor:
        """The velocity that it predicts for pure noise, at time 1."""
        noise = self._pure_noise(images, generator)
        return self.predicted(noise, images.new_ones(len(images)), context, mode)

    def attention(
        self,
        images: Tensor,
        context: Context,
        mode: Mode,
        levels: Tensor,
        generator: Generator,
        *,
        start: float = 0.0,
        end: float = 1.0,
    ) -> list[Attention]:
        """The attention of the transformer for pure noise; see ``AttentiveDenoiser.attention``."""
        noise = self._pure_noise(images, generator)
        with attention_seen(self.transformer, start=start, end=end) as seen:
            self.predicted(noise, levels, context, mode)
        parts = self._tokens(noise, context)
        return [replace(each, pictures=parts) for each in seen]

    def _tokens(self, noisy: Tensor, context: Context) -> tuple[slice, ...]:
        """The tokens of each picture that the transformer reads; none if it reads but one."""
        return ()

    def _pure_noise(self, images: Tensor, generator: Generator) -> Tensor:
        """Noise of the shape of the images' latents, which are padded to whole tokens."""
        sides = [
            -(-side // self._multiple) * self._multiple // self.autoencoder.multiple
            for side in images.shape[-2:]
        ]
        return draw_noise((len(images), self._channels(), *sides), images, generator)

    def _shown(self, images: Tensor, generator: Generator, repaint: Tensor | None) -> Tensor | None:
        """Channels of the photo that condition it, (N, C, h, w): its latent for ``instruct``."""
        return self.encode(images) if self.mode == "instruct" else None

    def _channels(self) -> int:
        """Number of channels of the latents that it is fed."""
        return int(self.autoencoder.model.config.latent_channels)

    def _velocity(self, noisy: Tensor, times: Tensor, context: Context) -> Tensor:
        raise NotImplementedError

    def _asked(self, fed: Tensor, times: Tensor, context: Context, **more: Any) -> Tensor:
        """The transformer's output, converted from its own precision to that of ``fed``."""
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
