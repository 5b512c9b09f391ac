"""The differentiable edit, written once: encode, noise, denoise with guidance, decode.

Components of diffusers are composed here, since its pipelines run without gradients. With the same
seed an edit equals that of the pipeline (StableDiffusionInstructPix2PixPipeline, -InpaintPipeline,
-Img2ImgPipeline, and those of StableDiffusionXL), so random numbers are drawn in the same order.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint

from photovax.digests import combined_digest, file_digest
from photovax.errors import ModelError, UsageError
from photovax.machine.random import draw_noise
from photovax.models.attention import Attention, attention_seen
from photovax.models.autoencoders.base import KLAutoencoder, PosteriorAutoencoder
from photovax.models.autoencoders.families import TinyKLAutoencoder
from photovax.models.autoencoders.load import load_own_autoencoder
from photovax.models.autoencoders.tiny import TinyAutoencoder
from photovax.models.catalog.places import denoiser_folders, weight_files
from photovax.models.context import Context, kept_part
from photovax.models.contracts import Autoencoder, EditorAutoencoder
from photovax.models.damaged import loading
from photovax.models.edit import Edit, Mode
from photovax.models.quiet import quiet_loading
from photovax.models.recompute import recompute
from photovax.models.schedules import SCHEDULER, load_scheduler, own_scheduler_file
from photovax.models.unet.guidance import answer, guided
from photovax.models.unet.prompts import SDPrompts, load_prompts
from photovax.models.weights import load_module

__all__ = ["LatentEditor"]

_FAMILIES: tuple[type[EditorAutoencoder], ...] = (KLAutoencoder, TinyKLAutoencoder, TinyAutoencoder)


class LatentEditor:
    """Autoencoder, text encoders, UNets and scheduler of Stable Diffusion or SDXL, frozen.

    Attributes:
        name: Name that the user gave.
        digest: SHA-256 over the digests of all its weight files, in hexadecimal digits.
        autoencoder: Encoder and decoder.
        prompts: Text encoders.
        unets: Denoiser of each way of editing that it knows.
        scheduler: Noise schedule of training, and steps of an edit.
        own_schedulers: Schedulers of ways of editing with steps of their own.
    """

    def __init__(
        self,
        autoencoder: EditorAutoencoder,
        *,
        prompts: SDPrompts,
        unets: Mapping[Mode, Any],
        scheduler: Any,
        own_schedulers: Mapping[Mode, Any] | None = None,
        name: str,
        digest: str,
    ) -> None:
        self.autoencoder = autoencoder
        self.name = name
        self.digest = digest
        self.prompts = prompts
        self.scheduler = scheduler
        self.own_schedulers = dict(own_schedulers or {})
        self.unets: dict[Mode, Any] = {
            mode: unet.eval().requires_grad_(False).to(memory_format=torch.channels_last)
            for mode, unet in unets.items()
        }
        self._recomputes = False

    def recompute(self) -> None:
        """Use less memory and more time for the same gradients from now on."""
        self._recomputes = True
        self.autoencoder.recompute()
        for unet in self.unets.values():
            recompute(unet)

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        name: str,
        device: torch.device,
        autoencoder: Autoencoder | None = None,
    ) -> LatentEditor:
        """Load a diffusers pipeline folder: vae, text_encoder, tokenizer, scheduler, unet.

        SDXL's also have a second text encoder and tokenizer, and ``model_index.json``. Folders
        called ``unet_...``, besides or instead of ``unet``, are further denoisers. Input channels
        determine the way of editing: see ``denoiser_folders``. A folder called
        ``scheduler_MODE`` holds the scheduler of that way of editing. The autoencoder may be a
        tiny one, also as loose files in ``vae``.

        Args:
            folder: Folder of the parts.
            name: Name of the model.
            device: Device to load it on.
            autoencoder: The folder's autoencoder, if it is loaded already.

        Raises:
            ModelError: If parts are missing, damaged or of another family.
        """
        denoisers = denoiser_folders(folder, name=name)
        own = load_own_autoencoder(folder, _FAMILIES, name=name, device=device, loaded=autoencoder)
        weights: list[Path] = []
        unets: dict[Mode, Any] = {}
        with quiet_loading():
            for mode, part in denoisers.items():
                files, variant = weight_files(part, name=name)
                weights += files
                unet = load_module(part, "UNet2DConditionModel", variant, name=name, shown=part)
                unets[mode] = unet.to(device)
            prompts, files = load_prompts(folder, name=name, device=device)
            weights += files
            with loading(name, folder / "scheduler"):
                scheduler = load_scheduler(folder / "scheduler" / SCHEDULER)
            own_schedulers: dict[Mode, Any] = {}
            for mode in unets:
                file = own_scheduler_file(folder, mode)
                if file is not None:
                    with loading(name, file.parent):
                        own_schedulers[mode] = load_scheduler(file)
        digests = [own.digest, *(file_digest(file) for file in sorted(weights))]
        return cls(
            own,
            prompts=prompts,
            unets=unets,
            scheduler=scheduler,
            own_schedulers=own_schedulers,
            name=name,
            digest=combined_digest(digests),
        )

    def encode(self, images: Tensor) -> Tensor:
        """Encode images by the autoencoder; see ``FrozenAutoencoder.encode``."""
        return self.autoencoder.encode(images)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The autoencoder's posterior; see ``PosteriorAutoencoder.posterior``.

        Raises:
            ModelError: If the autoencoder has none.
        """
        if not isinstance(self.autoencoder, PosteriorAutoencoder):
            raise ModelError(f"model {self.name}: its encoder gives no distribution of latents")
        return self.autoencoder.posterior(images)

    def denoiser(self, mode: Mode) -> Any:
        """The UNet of one way of editing.

        Raises:
            UsageError: If the model has none.
        """
        if mode not in self.unets:
            raise UsageError(
                f"model {self.name} cannot {mode}; it knows {', '.join(sorted(self.unets))}"
            )
        return self.unets[mode]

    def edit(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Tensor:
        """Edit pictures; gradients flow from the result back to them.

        Args:
            images: Images (N, 3, H, W) in [0, 1], with sides that are multiples of 8.
            edit: Settings of the edit.
            generator: Source of all noise. The same state gives the same edit.
            repaint: Mask for inpainting, bool (N or 1, 1, H, W), true where it repaints.

        Returns:
            Images (N, 3, H, W), about in [0, 1]: not clipped, since clipped pixels have no
            gradient.

        Raises:
            UsageError: If the model cannot edit this way, a side is no multiple of 8, or the mask
                is missing.
        """
        unet = self.denoiser(edit.mode)
        height, width = images.shape[-2:]
        if height % self.autoencoder.multiple or width % self.autoencoder.multiple:
            raise UsageError(
                f"an edit needs sides that are multiples of {self.autoencoder.multiple}, "
                f"got {width} x {height}; resize the picture first"
            )
        scheduler = self._scheduled(edit, images.device)
        times = scheduler.timesteps
        if edit.mode != "instruct":
            # As in the pipelines, a strength below 1 skips the noisiest steps.
            skipped = max(edit.steps - min(int(edit.steps * edit.strength), edit.steps), 0)
            times = times[skipped * scheduler.order :]
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(skipped * scheduler.order)
        latents = self._start(images, edit, scheduler, times, generator)
        context = self.context(images, edit, generator, repaint=repaint)
        # Several steps keep only their latents and recompute the rest in the backward pass. So
        # does a single one on devices where its memory is not measured beforehand.
        again = len(times) > 1 or self._recomputes or images.device.type != "cpu"
        for time in times:
            latents = self._denoised(
                unet, scheduler, latents, time, context, edit, generator, again=again
            )
        return self.autoencoder.decode_unclipped(latents)

    def context(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Context:
        """The conditioning by pictures and prompts.

        Raises:
            UsageError: If an inpainting edit has no mask.
        """
        height, width = (side * self.autoencoder.multiple for side in self._sides(images))
        words = self.prompts.asked(edit.prompt, (height, width)).expanded(len(images))
        without = None
        if edit.guided:
            without = self.prompts.avoided(edit.negative_prompt, (height, width))
            without = without.expanded(len(images))
        if edit.mode == "instruct":
            # This pipeline uses the mean, unscaled.
            return Context(words, without, self.autoencoder.own_latent(images))
        if edit.mode == "img2img":
            return Context(words, without, None)
        kept, mask = kept_part(images, repaint)
        shown = self.autoencoder.sample(kept, generator)
        small = F.interpolate(mask.to(shown), size=shown.shape[-2:])
        return Context(words, without, torch.cat((small, shown), dim=1))

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Noised latents of the forward process at timesteps (N,)."""
        # Not the scheduler's ``add_noise``, which in some schedulers does not scale.
        kept = self.scheduler.alphas_cumprod.to(latents)[times].view(-1, 1, 1, 1)
        return cast(Tensor, kept.sqrt() * latents + (1 - kept).sqrt() * noise)

    def target(self, latents: Tensor, noise: Tensor) -> Tensor:
        """The noise."""
        return noise

    def predicted(self, noisy: Tensor, times: Tensor, context: Context, mode: Mode) -> Tensor:
        """The noise that the denoiser predicts for noisy latents, for any type of prediction.

        Args:
            noisy: Noisy latents (N, C, h, w) at ``times``.
            times: Timesteps (N,).
            context: Conditioning, from ``context``; guidance is not applied.
            mode: Way of editing, which selects the denoiser.
        """
        made = self._output(noisy, times, context, mode)
        kind = self.scheduler.config.prediction_type
        if kind == "epsilon":
            return made
        kept = self.scheduler.alphas_cumprod.to(noisy)[times].view(-1, 1, 1, 1)
        if kind == "v_prediction":
            return cast(Tensor, kept.sqrt() * made + (1 - kept).sqrt() * noisy)
        if kind == "sample":
            return cast(Tensor, (noisy - kept.sqrt() * made) / (1 - kept).sqrt())
        raise ModelError(f"model {self.name}: unknown prediction type {kind!r}")

    def random_times(self, count: int, generator: Generator) -> Tensor:
        """Uniformly drawn training timesteps (count,)."""
        last = int(self.scheduler.config.num_train_timesteps)
        return torch.randint(0, last, (count,), generator=generator, device=generator.device)

    def first_prediction(
        self, images: Tensor, context: Context, mode: Mode, generator: Generator
    ) -> Tensor:
        """The raw output of the denoiser for pure noise at its last timestep, without guidance.

        ``images`` give only the shape, type and device of the result.
        """
        noise = self._pure_noise(images, generator)
        return self._output(noise, self._timesteps(images.new_ones(len(images))), context, mode)

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
        """The attention of the denoiser for pure noise; see ``AttentiveDenoiser.attention``."""
        noise = self._pure_noise(images, generator)
        with attention_seen(self.denoiser(mode), start=start, end=end) as seen:
            self._output(noise, self._timesteps(levels), context, mode)
        return [_placed(each, self._sides(images)) for each in seen]

    def _timesteps(self, levels: Tensor) -> Tensor:
        """Timesteps (N,) at shares (N,) of the schedule, 1 for the noisiest."""
        return (levels * (int(self.scheduler.config.num_train_timesteps) - 1)).round().long()

    def _output(self, latents: Tensor, times: Tensor, context: Context, mode: Mode) -> Tensor:
        fed = latents if context.shown is None else torch.cat((latents, context.shown), dim=1)
        return answer(self.denoiser(mode), fed, times, context.words)

    def _pure_noise(self, images: Tensor, generator: Generator) -> Tensor:
        shape = (len(images), self.autoencoder.channels, *self._sides(images))
        return draw_noise(shape, images, generator)

    def _sides(self, images: Tensor) -> list[int]:
        """Height and width of the images' latents."""
        return [-(-side // self.autoencoder.multiple) for side in images.shape[-2:]]

    def _scheduled(self, edit: Edit, device: torch.device) -> Any:
        # A new scheduler, since schedulers keep state and edits may be nested.
        usual = self.own_schedulers.get(edit.mode, self.scheduler)
        scheduler = type(usual).from_config(usual.config)
        scheduler.set_timesteps(edit.steps, device=device)
        return scheduler

    def _start(
        self, images: Tensor, edit: Edit, scheduler: Any, times: Tensor, generator: Generator
    ) -> Tensor:
        """The noisy latents at the start of denoising."""
        pure = edit.mode == "instruct" or (edit.mode == "inpaint" and edit.strength == 1)
        if pure:
            return cast(Tensor, self._pure_noise(images, generator) * scheduler.init_noise_sigma)
        latents = self.autoencoder.sample(images, generator)
        noise = draw_noise(latents.shape, latents, generator)
        noisy: Tensor = scheduler.add_noise(latents, noise, times[:1].repeat(len(images)))
        return noisy

    def _denoised(
        self,
        unet: Any,
        scheduler: Any,
        latents: Tensor,
        time: Tensor,
        context: Context,
        edit: Edit,
        generator: Generator,
        *,
        again: bool,
    ) -> Tensor:
        """One step of the scheduler with guidance."""
        # Outside of the checkpoint, since some schedulers scale by their current step.
        fed = scheduler.scale_model_input(latents, time)

        def predict(fed: Tensor, shown: Tensor | None) -> Tensor:
            return guided(unet, fed, time, context, shown, edit)

        shown = context.shown
        graph = torch.is_grad_enabled() and (latents.requires_grad or _differentiable(shown))
        if again and graph:
            predicted: Tensor = checkpoint(predict, fed, shown, use_reentrant=False)
        else:
            predicted = predict(fed, shown)
        extra: dict[str, Any] = {}
        accepted = inspect.signature(scheduler.step).parameters
        if "eta" in accepted:
            extra["eta"] = edit.eta
        if "generator" in accepted:
            extra["generator"] = generator
        stepped: Tensor = scheduler.step(predicted, time, latents, **extra, return_dict=False)[0]
        return stepped


def _placed(block: Attention, sides: Sequence[int]) -> Attention:
    """Attention with its places in a latent of some height and width."""
    height, width = sides
    halved = 0
    while height * width > block.query.shape[2]:
        height, width, halved = -(-height // 2), -(-width // 2), halved + 1
    return replace(block, grid=(height, width), halved=halved)


def _differentiable(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.requires_grad
