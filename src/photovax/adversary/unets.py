"""Pipelines of diffusers that edit by UNets: Stable Diffusion 1 and 2, and SDXL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch

from photovax.errors import UsageError
from photovax.models.autoencoders.tiny import TinyAutoencoder
from photovax.models.catalog.objects import json_object, unloadable
from photovax.models.catalog.places import holds_sdxl, loose_model, weight_files
from photovax.models.damaged import DAMAGED
from photovax.models.edit import Edit, Mode
from photovax.models.quiet import FROM_DISK, quiet_loading
from photovax.models.schedules import load_scheduler, own_scheduler_file
from photovax.models.unet.prompts import load_prompts
from photovax.models.weights import load_module

__all__ = ["UNetPipelines"]

_PIPELINES: dict[Mode, str] = {
    "instruct": "InstructPix2PixPipeline",
    "inpaint": "InpaintPipeline",
    "img2img": "Img2ImgPipeline",
}
_SHARED = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


class UNetPipelines:
    """The pipelines of a folder with UNets, one for each way of editing.

    Args:
        folder: Folder of the parts.
        denoisers: Folders of the UNets, by way of editing.
        name: Name of the model.
        device: Device that it will be on.

    Attributes:
        multiple: Number of pixels that the sides of pictures must be multiples of.
    """

    multiple: ClassVar[int] = 8

    def __init__(
        self, folder: Path, denoisers: Mapping[Mode, Path], *, name: str, device: torch.device
    ) -> None:
        self._folder, self._denoisers, self._name, self._device = folder, denoisers, name, device
        self._sdxl = holds_sdxl(folder)

    def check(self, edit: Edit) -> None:
        """Refuse edits that no pipeline makes.

        Raises:
            UsageError: If it is inpainting on latents of other channels than Stable Diffusion's.
        """
        if edit.mode != "inpaint" or edit.mode not in self._denoisers:
            return
        channels = json_object(self._denoisers[edit.mode] / "config.json").get("out_channels", 4)
        if channels != 4:
            raise UsageError(
                f"model {self._name}: diffusers inpaints on latents of 4 channels, not {channels}"
            )

    def options(self, pipeline: Any, edit: Edit, size: tuple[int, int]) -> dict[str, Any]:
        """Options of a pipeline's call.

        Args:
            pipeline: The pipeline.
            edit: The edit.
            size: Width and height of the picture.
        """
        options: dict[str, Any] = {
            "negative_prompt": edit.negative_prompt or None,
            "guidance_scale": edit.guidance,
            "eta": edit.eta,
        }
        if edit.mode == "inpaint" or (edit.mode == "instruct" and self._sdxl):
            # These pipelines resize to a square by default; the others have no such option.
            options["width"], options["height"] = size
        if edit.mode == "instruct":
            options["image_guidance_scale"] = edit.image_guidance
        return options

    def load(self, mode: Mode, *, others: Iterable[Any]) -> Any:
        """The pipeline of one way of editing.

        Args:
            mode: Way of editing.
            others: Pipelines of other ways of editing, whose parts it shares.

        Raises:
            ModelError: If weights cannot be loaded.
        """
        try:
            with quiet_loading():
                family = "StableDiffusionXL" if self._sdxl else "StableDiffusion"
                kind: Any = getattr(diffusers, family + _PIPELINES[mode])
                folder = self._denoisers[mode]
                variant = weight_files(folder, name=self._name)[1]
                unet = load_module(
                    folder, "UNet2DConditionModel", variant, name=self._name, shown=folder
                )
                loaded = next(iter(others), None)
                shared = self._parts() if loaded is None else loaded.components
                steps = own_scheduler_file(self._folder, mode)
                scheduled = {} if steps is None else {"scheduler": load_scheduler(steps)}
                # Safety checkers and watermarks, which pipelines add to edits, are left out.
                left_out = {"add_watermarker": False} if self._sdxl else {"safety_checker": None}
                pipeline = kind.from_pretrained(
                    self._folder,
                    unet=unet,
                    **{part: shared[part] for part in _SHARED if part in shared},
                    **scheduled,
                    **left_out,
                    **FROM_DISK,
                )
        except DAMAGED as error:
            raise unloadable(self._name, self._folder, error) from error
        return pipeline

    def _parts(self) -> dict[str, Any]:
        """The autoencoder, text encoders and tokenizers, each from the weights that it has.

        A pipeline loads all its parts from weights of one variant, which folders may mix.
        """
        prompts, _ = load_prompts(self._folder, name=self._name, device=self._device)
        return {"vae": self._autoencoder(), **prompts.encoders, **prompts.tokenizers}

    def _autoencoder(self) -> Any:
        folder = self._folder / "vae"
        loose = loose_model(folder)
        if loose is not None:
            tiny = TinyAutoencoder.load(
                folder, design=loose, name=self._name, device=torch.device("cpu")
            )
            return tiny.in_pipelines()
        variant = weight_files(folder, name=self._name)[1]
        kind = str(json_object(folder / "config.json")["_class_name"])
        return load_module(folder, kind, variant, name=self._name, shown=folder)
