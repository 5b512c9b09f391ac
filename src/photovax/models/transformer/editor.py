"""The differentiable edit by flow matching: encode, noise, Euler steps with guidance, decode.

Components of diffusers are composed here, since its pipelines run without gradients. With the same
seed an edit equals that of the family's pipeline, so random numbers are drawn in the same order.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint

from photovax.errors import UsageError
from photovax.models.autoencoders.base import PosteriorAutoencoder
from photovax.models.context import Context, Words
from photovax.models.edit import Edit
from photovax.models.padding import continued
from photovax.models.transformer.denoiser import FlowDenoiser
from photovax.models.transformer.prompts import PromptEncoder

__all__ = ["FlowEditor"]


class FlowEditor(FlowDenoiser):
    """A transformer with its autoencoder and noise schedule, whose edits are differentiable.

    A family defines its guidance: ``avoids``, and ``_combined`` if that is not linear. By default
    the scale of guidance is an input of the transformer, and there is no negative prompt.

    Attributes:
        scheduler: Noise schedule, a ``FlowMatchEulerDiscreteScheduler``.
        distilled: Whether guidance is distilled into the transformer, so that its scale is ignored.
        even: Whether the pipeline spaces the noise levels evenly before they are shifted; otherwise
            the scheduler spaces them.
        scale_name: Name of the scale of guidance in the pipeline's call.
        avoids: Negative prompt of edits that have none; None where they can have none.
        sees: Whether the text encoder of the family's pipeline reads the photo, which it does not
            here.
    """

    even: ClassVar[bool] = True
    scale_name: ClassVar[str] = "guidance_scale"
    avoids: ClassVar[str | None] = None
    sees: ClassVar[bool] = False

    def __init__(
        self,
        autoencoder: PosteriorAutoencoder,
        *,
        transformer: Any,
        prompts: PromptEncoder,
        scheduler: Any,
        distilled: bool = False,
        name: str,
        digest: str,
    ) -> None:
        super().__init__(
            autoencoder, transformer=transformer, prompts=prompts, name=name, digest=digest
        )
        self.scheduler = scheduler
        self.distilled = distilled
        self._recomputes = False

    def recompute(self) -> None:
        """Use less memory and more time for the same gradients from now on."""
        self._recomputes = True
        super().recompute()

    @classmethod
    def check(cls, edit: Edit, *, name: str) -> None:
        """Refuse an edit that the family cannot make, or that does not depend on the photo.

        Args:
            edit: The edit.
            name: Name of the model.

        Raises:
            UsageError: If it is of another mode, has a negative prompt that would be ignored, or
                would start from pure noise without being shown the photo.
        """
        cls.check_mode(edit.mode, name=name)
        if edit.negative_prompt and cls.avoids is None:
            raise UsageError(f"model {name} takes no negative prompt: leave it out")
        if edit.mode == "img2img" and not _skipped(edit):
            raise UsageError(
                f"at strength {edit.strength:g}, {edit.steps} steps of model {name} start from "
                "pure noise, so that the photo does not matter",
                hint="lower --strength or raise --steps, so that steps * (1 - strength) is 1 or "
                "more",
            )

    def edit(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Tensor:
        """Edit pictures; gradients flow from the result back to them.

        Args:
            images: Images (N, 3, H, W) in [0, 1]. They are padded to whole tokens with their last
                row and column, and the result is cropped.
            edit: Settings of the edit.
            generator: Source of all noise. The same state gives the same edit.
            repaint: Mask for inpainting, bool (N or 1, 1, H, W), true where it repaints.

        Returns:
            Images (N, 3, H, W), about in [0, 1]: not clipped, except by autoencoders that clip.

        Raises:
            UsageError: If it cannot make this edit, the latents are too large, or the mask is
                missing.
        """
        self.check(edit, name=self.name)
        height, width = images.shape[-2:]
        levels = self._levels(edit, images)
        latents = self._start(images, edit, levels[0], generator)
        context = self.context(images, edit, generator, repaint=repaint)
        context = replace(context, scale=edit.guidance, without=self._without(edit, len(images)))
        # As in the edits by UNets: several steps keep only their latents.
        again = len(levels) > 2 or self._recomputes or images.device.type != "cpu"
        for level, following in pairwise(levels):
            velocity = self._guided(latents, level, context, edit, again=again)
            # Not the scheduler's ``step``, which computes in float32.
            latents = latents + (following - level) * velocity
        return self._decoded(latents)[..., :height, :width]

    def _levels(self, edit: Edit, images: Tensor) -> list[float]:
        """Noise levels, from that of the start down to 0."""
        if edit.steps == 1:  # for which schedules with a last noise level divide by zero
            return [1.0, 0.0]
        # A new scheduler, since schedulers keep state and edits may be nested.
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        tokens = 1
        for side in images.shape[-2:]:
            tokens *= -(-side // self._multiple)
        spaced = np.linspace(1.0, 1 / edit.steps, edit.steps)
        shift = self._shift(tokens, edit.steps)
        scheduler.set_timesteps(edit.steps, sigmas=spaced if self.even else None, mu=shift)
        levels: list[float] = scheduler.sigmas[_skipped(edit) :].tolist()
        return levels

    def _shift(self, tokens: int, steps: int) -> float:
        """Shift of the noise levels in schedules that depend on the size: linear in the tokens."""
        config = self.scheduler.config
        slope = (config.max_shift - config.base_shift) / (
            config.max_image_seq_len - config.base_image_seq_len
        )
        return float(config.base_shift + slope * (tokens - config.base_image_seq_len))

    def _start(self, images: Tensor, edit: Edit, level: float, generator: Generator) -> Tensor:
        """The noisy latents at the start of denoising."""
        if edit.mode == "instruct":
            return self._pure_noise(images, generator)
        if not _skipped(edit):
            # The pipelines sample a latent here as well, and then keep nothing of it.
            self._pure_noise(images, generator)
            return self._pure_noise(images, generator)
        latents = self._sampled(images, generator)
        noise = self._pure_noise(images, generator)
        return self.noised(latents, noise, latents.new_full((len(latents),), level))

    def _without(self, edit: Edit, count: int) -> Words | None:
        """Embeddings of what guidance moves away from; None for a single prediction."""
        avoided = self._avoided(edit)
        return None if avoided is None else self._prompts(avoided).expanded(count)

    def _guided(
        self, latents: Tensor, level: float, context: Context, edit: Edit, *, again: bool
    ) -> Tensor:
        """The velocity with guidance, (N, C, h, w)."""
        times = latents.new_full((len(latents),), level)

        def predict(words: Words) -> Tensor:
            shown = context.shown
            given = (latents, shown) if shown is not None else (latents,)

            def run(noisy: Tensor, shown: Tensor | None = None) -> Tensor:
                return self._velocity(noisy, times, replace(context, words=words, shown=shown))

            if again and torch.is_grad_enabled() and any(each.requires_grad for each in given):
                made: Tensor = checkpoint(run, *given, use_reentrant=False)
                return made
            return run(*given)

        made = predict(context.words)
        if context.without is None:
            return made
        return self._combined(made, predict(context.without), edit.guidance)

    def _avoided(self, edit: Edit) -> str | None:
        """The prompt that guidance moves away from; None for a single prediction."""
        if self.avoids is None or not edit.guided:
            return None
        return edit.negative_prompt or self.avoids

    def _combined(self, asked: Tensor, avoided: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance (arXiv 2207.12598)."""
        return avoided + scale * (asked - avoided)

    def _sampled(self, images: Tensor, generator: Generator) -> Tensor:
        """Latents drawn from the posterior of padded images."""
        return self.autoencoder.sample(continued(images, self._multiple), generator)

    def _decoded(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode_unclipped(latents)


def _skipped(edit: Edit) -> int:
    """The number of steps that the pipelines skip at a strength below 1, the noisiest ones.

    They round down, where those of Stable Diffusion 1 to XL round up.
    """
    if edit.mode == "instruct":
        return 0
    return int(edit.steps - min(edit.steps * edit.strength, edit.steps))
