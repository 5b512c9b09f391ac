"""Seeded edits by the ordinary pipelines of diffusers, with the inputs of an ordinary user."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from photovax.adversary.flows import FlowPipelines
from photovax.adversary.unets import UNetPipelines
from photovax.digests import combined_digest
from photovax.errors import UsageError
from photovax.machine.device import pick_device
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.catalog.places import (
    denoiser_folders,
    fed_size,
    holds_transformer,
    model_folder,
    part_digests,
)
from photovax.models.edit import MODES, Edit, Mode
from photovax.pictures.resize import resized

__all__ = [
    "Adversary",
]


class Adversary:
    """An editor that is loaded once and makes any number of edits.

    Args:
        model: Catalogue name or diffusers pipeline folder.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: Folder of weights that do not ship with photovax.

    Raises:
        UnknownName: If the model is not known.
        ModelError: If its weights are missing or contain no denoiser.
        UsageError: If the device is not available.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str = "auto",
        weights: str | Path | None = None,
    ) -> None:
        self.model = model
        self.device = pick_device(device)
        self._folder = model_folder(model, weights=None if weights is None else Path(weights))
        self._denoisers = denoiser_folders(self._folder, name=model)
        kind = FlowPipelines if holds_transformer(self._folder) else UNetPipelines
        self._kind: UNetPipelines | FlowPipelines = kind(
            self._folder, self._denoisers, name=model, device=self.device
        )
        self._pipelines: dict[Mode, Any] = {}

    def edit(
        self,
        pixels: np.ndarray,
        edit: Edit,
        *,
        seed: int,
        repaint: np.ndarray | None = None,
        size: int | None = None,
    ) -> np.ndarray:
        """Edit a picture.

        Args:
            pixels: uint8 (H, W, 1 or 3).
            edit: The edit and its settings.
            seed: Seed of all noise, which is drawn on the CPU so that every device starts the same.
            repaint: Mask for inpaint: bool (H, W), true where the picture is repainted.
            size: Short side, in pixels, at which the editor is fed the picture; the model's default
                when None.

        Returns:
            uint8 (h, w, 3), of the size that the editor was fed.

        Raises:
            UsageError: If the model cannot make this edit, an inpainting edit has no mask, or the
                size is not a multiple of 8 from 64 up.
            ModelError: If weights cannot be loaded.
        """
        if edit.mode == "inpaint" and repaint is None:
            raise UsageError(
                "inpainting needs a mask of what to repaint", hint="give one with --mask FILE"
            )
        self._kind.check(edit)
        pipeline = self._pipeline(edit.mode)
        picture = resized(pixels, fed_size(self.model, size), multiple=self._kind.multiple)
        options = self._kind.options(pipeline, edit, picture.size)
        if edit.mode != "instruct":
            options["strength"] = edit.strength
        if edit.mode == "inpaint" and repaint is not None:
            mask = Image.fromarray(repaint.astype(np.uint8) * 255)
            options["mask_image"] = mask.resize(picture.size, Image.Resampling.NEAREST)
        made = pipeline(
            prompt=edit.prompt,
            image=picture,
            num_inference_steps=edit.steps,
            generator=torch.Generator().manual_seed(seed),
            output_type="pil",
            **options,
        )
        return np.array(made.images[0].convert("RGB"))

    def digests(self, modes: Iterable[Mode]) -> dict[Mode, str]:
        """SHA-256 over the digests of the files that decide each way of editing."""
        files = part_digests(self._folder)  # once, since nearly all is shared
        found: dict[Mode, str] = {}
        for mode in modes:
            others = {folder for known, folder in self._denoisers.items() if known != mode}
            others |= {self._folder / f"scheduler_{known}" for known in MODES if known != mode}
            own = [digest for file, digest in files.items() if file.parent not in others]
            found[mode] = combined_digest(own, decoded=True)
        return found

    def load(self, modes: Iterable[Mode]) -> None:
        """Load the pipelines of these ways of editing now instead of at the first edit.

        Raises:
            UsageError: If the model does not support one of them.
            ModelError: If weights cannot be loaded.
        """
        for mode in modes:
            self._pipeline(mode)

    def _pipeline(self, mode: Mode) -> Any:
        if mode not in self._denoisers:
            raise UsageError(
                f"model {self.model} cannot {mode}, only {', '.join(sorted(self._denoisers))}"
            )
        if mode not in self._pipelines:
            pipeline = self._kind.load(mode, others=self._pipelines.values())
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[mode] = pipeline.to(self.device)
        return self._pipelines[mode]
