"""Prompt embeddings for a transformer, by its pipeline's own text encoders.

Text encoders may be larger than the transformer, so they are in memory only while they encode.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from transformers import AutoTokenizer

from photovax.digests import combined_digest, file_digest
from photovax.errors import ModelError
from photovax.models.catalog.hub import VOCABULARIES
from photovax.models.catalog.objects import json_object
from photovax.models.catalog.places import weight_files
from photovax.models.context import Words
from photovax.models.damaged import loading
from photovax.models.quiet import FROM_DISK, quiet_loading
from photovax.models.weights import kept_precision

__all__ = ["PromptEncoder"]


class PromptEncoder:
    """Embeddings of prompts by a pipeline's ``encode_prompt``; each prompt is encoded once.

    Args:
        folder: Folder of the pipeline.
        pipeline: Name of its class in diffusers.
        options: Options of its ``encode_prompt`` other than the prompt.
        pooled: Whether that returns an embedding of the whole prompt after those of its tokens.
        name: Name that the user gave the model.
        device: Device to encode on.

    Raises:
        ModelError: If a text encoder has no safetensors weights or no vocabulary, or the
            pipeline's index is damaged.
    """

    def __init__(
        self,
        folder: Path,
        pipeline: str,
        *,
        options: Mapping[str, Any],
        pooled: bool,
        name: str,
        device: torch.device,
    ) -> None:
        self._folder = folder
        self._pipeline = pipeline
        self._options = options
        self._pooled = pooled
        self._name = name
        self._device = device
        self._known: dict[str, Words] = {}
        index = folder / "model_index.json"
        with loading(name, index):
            parts = {
                part: kind for part, kind in json_object(index).items() if isinstance(kind, list)
            }
            # A part that is omitted, as SD 3's largest encoder often is, is listed as two nulls.
            needed = [
                part
                for part, (library, _) in parts.items()
                if library is not None and part.startswith(("text_encoder", "tokenizer"))
            ]
        # Processors for words and pictures, which transformers makes only with torchvision.
        # Without a picture, they act as their tokenizers.
        self._processors = [
            part
            for part in ("tokenizer", "processor")
            if str(parts.get(part, ["", ""])[1]).endswith("Processor")
        ]
        self._without = [part for part in parts if part not in needed or part in self._processors]
        found = []
        for part in needed:
            if part.startswith("text_encoder"):
                found.append(weight_files(folder / part, name=name))
            elif not any((folder / part / file).is_file() for file in VOCABULARIES):
                # transformers would create an empty one.
                raise ModelError(
                    f"model {name}: no {' or '.join(VOCABULARIES)} in {folder / part}; give the "
                    "whole folder of a diffusers pipeline"
                )
        self._files = [file for files, _ in found for file in files]
        self._variant = next((variant for _, variant in found if variant is not None), None)

    def __call__(self, prompt: str) -> Words:
        """The embeddings of a prompt, for one picture.

        Raises:
            ModelError: If the pipeline's text encoders cannot be loaded or run.
        """
        if prompt not in self._known:
            with loading(self._name, self._folder):
                precision = kept_precision(self._files)
            pipeline = self.pipeline(precision)
            # Known for good, so they must not depend on the precision of the pass that asks first.
            exact = torch.autocast(self._device.type, enabled=False)
            with loading(self._name, self._folder), torch.no_grad(), exact:
                made = pipeline.encode_prompt(prompt, device=self._device, **self._options)
            # The other values are None without guidance, or positions and masks of tokens, which
            # for a single prompt follow from their number.
            found = [part.float() for part in made if part is not None]
            added = {"pooled_projections": found[1]} if self._pooled else {}
            self._known[prompt] = Words(found[0], added)
        return self._known[prompt]

    def digest(self) -> str:
        """SHA-256 over the digests of the text encoders' weight files, in hexadecimal digits."""
        return combined_digest(file_digest(file) for file in self._files)

    def pipeline(self, precision: torch.dtype, **others: Any) -> Any:
        """The pipeline with its text encoders, and with other parts where they are given.

        Args:
            precision: Type that the text encoders' weights are converted to.
            others: Other parts of the pipeline by name; without a transformer it encodes prompts
                only.

        Raises:
            ModelError: If a part cannot be loaded.
        """
        kind: Any = getattr(diffusers, self._pipeline)
        # In place of an omitted text encoder there are zeros as wide as the transformer expects.
        file = self._folder / "transformer" / "config.json"
        with loading(self._name, file):
            config = json_object(file)
        with loading(self._name, self._folder), quiet_loading():
            pipeline = kind.from_pretrained(
                self._folder,
                **{**dict.fromkeys(self._without), **others},
                variant=self._variant,
                **{**FROM_DISK, "torch_dtype": precision},
            )
            for part in self._processors:
                tokenizer = AutoTokenizer.from_pretrained(
                    self._folder / "tokenizer", local_files_only=True
                )
                setattr(pipeline, part, tokenizer)
        if "transformer" not in others:
            pipeline.transformer = SimpleNamespace(config=SimpleNamespace(**config))
        return pipeline.to(self._device)
