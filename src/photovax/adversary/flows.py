"""Pipelines of diffusers that edit by transformers: SD 3, FLUX, Qwen-Image."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import BatchFeature
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from photovax.errors import UsageError
from photovax.models.catalog.objects import json_object
from photovax.models.catalog.places import autoencoder_in, weight_files
from photovax.models.damaged import loading
from photovax.models.edit import Edit, Mode
from photovax.models.weights import load_module

__all__ = ["FlowPipelines"]

_PLACE = "<|image_pad|>"  # in the texts of Qwen2.5-VL, where a picture stands


class FlowPipelines:
    """The pipeline of a folder with a transformer, which knows one way of editing.

    Args:
        folder: Folder of the parts.
        denoisers: Folder of the transformer, by its way of editing.
        name: Name of the model.
        device: Device that it will be on.

    Attributes:
        multiple: Number of pixels that the sides of pictures must be multiples of, which is the
            side of a token.

    Raises:
        ModelError: If edits by such a pipeline are not run, or it has no schedule.
    """

    multiple: ClassVar[int] = 16

    def __init__(
        self, folder: Path, denoisers: Mapping[Mode, Path], *, name: str, device: torch.device
    ) -> None:
        # Late, so that adversaries of other families load nothing that attacks use.
        from photovax.models.transformer.load import FlowFolder

        self._folder, self._name, self._device = folder, name, device
        self._parts = FlowFolder(folder, name=name)
        self._scheduler = self._parts.scheduler()

    def check(self, edit: Edit) -> None:
        """Refuse an edit that the family cannot make, or that does not depend on the photo.

        Args:
            edit: The edit.

        Raises:
            UsageError: If it is one of these.
        """
        self._parts.kind.check(edit, name=self._name)
        if edit.steps == 1 and self._scheduler.config.shift_terminal:
            raise UsageError(
                f"the schedule of model {self._name} needs 2 steps or more", hint="raise --steps"
            )

    def options(self, pipeline: Any, edit: Edit, size: tuple[int, int]) -> dict[str, Any]:
        """Options of a pipeline's call.

        Args:
            pipeline: The pipeline.
            edit: The edit.
            size: Width and height of the picture.
        """
        width, height = size
        kind = self._parts.kind
        options: dict[str, Any] = {"width": width, "height": height}
        options[kind.scale_name] = edit.guidance
        if kind.avoids is not None and edit.guided:  # else pipelines warn
            options["negative_prompt"] = edit.negative_prompt or kind.avoids
        if "_auto_resize" in inspect.signature(pipeline.__call__).parameters:
            # FLUX.1 Kontext would resize to one of its own sizes.
            options |= {"_auto_resize": False, "max_area": width * height}
        return options

    def load(self, mode: Mode, *, others: Iterable[Any]) -> Any:
        """The pipeline, in the precision of its transformer.

        Args:
            mode: Way of editing, its only one.
            others: Pipelines of other ways of editing: none.

        Raises:
            ModelError: If weights cannot be loaded.
        """
        transformer = self._parts.transformer(self._device)
        place = autoencoder_in(self._folder)
        vae = load_module(
            place,
            str(json_object(place / "config.json")["_class_name"]),
            weight_files(place, name=self._name)[1],
            name=self._name,
            shown=place,
            precision=transformer.dtype,
        )
        prompts = self._parts.prompts(self._device, pipeline=self._parts.pipeline)
        pipeline = prompts.pipeline(
            transformer.dtype,
            transformer=transformer,
            vae=vae,
            scheduler=self._scheduler,
        )
        if self._parts.kind.sees:
            place = self._folder / "processor"
            with loading(self._name, place):
                pictures = Qwen2VLImageProcessorPil.from_pretrained(place, local_files_only=True)
            pipeline.processor = _WordsAndPictures(pipeline.tokenizer, pictures)
        return pipeline


class _WordsAndPictures:
    """Inputs of Qwen2.5-VL for a prompt and a picture, as ``Qwen2VLProcessor`` makes them.

    transformers makes one only with torchvision, for its videos.
    """

    def __init__(self, tokenizer: Any, pictures: Any) -> None:
        self._tokenizer, self._pictures = tokenizer, pictures

    def __call__(
        self, text: Sequence[str], images: Any, padding: bool, return_tensors: str
    ) -> BatchFeature:
        """The tokens of the texts, with one place for each part of the picture."""
        seen = self._pictures(images=images, return_tensors=return_tensors)
        count = int(seen["image_grid_thw"][0].prod()) // self._pictures.merge_size**2
        texts = [each.replace(_PLACE, _PLACE * count) for each in text]
        words = self._tokenizer(texts, padding=padding, return_tensors=return_tensors)
        return BatchFeature({**words, **seen})
