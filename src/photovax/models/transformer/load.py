"""Loading of transformers from diffusers pipeline folders, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import diffusers
import torch

from photovax.digests import combined_digest, file_digest
from photovax.errors import ModelError
from photovax.models.autoencoders.load import load_own_autoencoder
from photovax.models.catalog.flows import flow_of
from photovax.models.catalog.places import weight_files
from photovax.models.contracts import Autoencoder
from photovax.models.damaged import loading
from photovax.models.schedules import SCHEDULER, load_scheduler, own_scheduler_file
from photovax.models.transformer.editor import FlowEditor
from photovax.models.transformer.families import FLOWS
from photovax.models.transformer.prompts import PromptEncoder
from photovax.models.weights import kept_precision, load_module

__all__ = ["IN_USE", "FlowFolder", "load_flow"]


IN_USE: WeakValueDictionary[tuple[object, ...], Any] = WeakValueDictionary()
"""Transformers that something in this process holds, by their files and device."""


class FlowFolder:
    """A diffusers pipeline folder whose denoiser is a transformer trained by flow matching.

    Args:
        folder: Folder of the parts, with ``model_index.json``.
        name: Name of the model.

    Attributes:
        kind: Family of the transformer.
        distilled: Whether guidance is distilled into it.
        pipeline: Name of diffusers' pipeline that edits photos with all parts of the folder.

    Raises:
        ModelError: If the index is missing, damaged or of a pipeline that is not run.
    """

    def __init__(self, folder: Path, *, name: str) -> None:
        self._folder, self._name = folder, name
        pipeline, self.distilled, _ = flow_of(folder, name=name)
        self.kind: type[FlowEditor] = FLOWS[pipeline]
        # Those whose text encoder reads the photo differ in how they ask it.
        self.pipeline = pipeline if self.kind.sees else self.kind.pipeline
        self._part = folder / "transformer"

    def prompts(self, device: torch.device, *, pipeline: str | None = None) -> PromptEncoder:
        """The text encoders, which are not loaded yet.

        Args:
            device: Device to load them on.
            pipeline: Name of diffusers' pipeline that they belong to; that of the family when None.

        Raises:
            ModelError: If weights or a vocabulary are missing.
        """
        return PromptEncoder(
            self._folder,
            pipeline or self.kind.pipeline,
            options=self.kind.text_options,
            pooled=self.kind.pooled,
            name=self._name,
            device=device,
        )

    def transformer(self, device: torch.device) -> Any:
        """The transformer, in bfloat16 if it is stored so, otherwise in float32.

        Whoever attacks edits and whoever makes them share it: two of those of FLUX would be 48 GB.

        Args:
            device: Device to load it on.

        Raises:
            ModelError: If it is missing, damaged or of another family.
        """
        files, variant = weight_files(self._part, name=self._name)
        with loading(self._name, self._part):
            precision = kept_precision(files)
            states = [(file.resolve(), file.stat().st_mtime_ns) for file in files]
        key = (*states, device)
        if (found := IN_USE.get(key)) is None:
            found = load_module(
                self._part,
                self.kind.network,
                variant,
                name=self._name,
                shown=self._part,
                precision=precision,
            ).to(device)
            IN_USE[key] = found
        return found

    def transformer_files(self) -> list[Path]:
        """The weight files of the transformer."""
        return weight_files(self._part, name=self._name)[0]

    def scheduler(self) -> Any:
        """The noise schedule, which a folder may have for its way of editing alone.

        Raises:
            ModelError: If it is missing, damaged, or has other steps than Euler's.
        """
        usual = self._folder / "scheduler" / SCHEDULER
        file = own_scheduler_file(self._folder, self.kind.mode) or usual
        with loading(self._name, file.parent):
            scheduler = load_scheduler(file)
        if not isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler):
            raise ModelError(
                f"model {self._name}: {file.parent} holds a {type(scheduler).__name__}; "
                "transformers edit by the steps of FlowMatchEulerDiscreteScheduler"
            )
        return scheduler


def load_flow(
    folder: Path,
    *,
    name: str,
    device: torch.device,
    autoencoder: Autoencoder | None = None,
) -> FlowEditor:
    """Load the autoencoder, the transformer and the schedule of a diffusers pipeline folder.

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
    parts = FlowFolder(folder, name=name)
    scheduler = parts.scheduler()
    prompts = parts.prompts(device)
    prompts("")
    kind = parts.kind
    own = load_own_autoencoder(folder, (kind.family,), name=name, device=device, loaded=autoencoder)
    transformer = parts.transformer(device)
    weights = [file_digest(file) for file in parts.transformer_files()]
    return kind(
        own,
        transformer=transformer,
        prompts=prompts,
        scheduler=scheduler,
        distilled=parts.distilled,
        name=name,
        digest=combined_digest([own.digest, prompts.digest(), *weights]),
    )
