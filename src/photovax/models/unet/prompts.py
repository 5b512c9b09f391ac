"""Prompt embeddings for UNets: of one text encoder, or of SDXL's two with sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from photovax.models.catalog.objects import json_object
from photovax.models.catalog.places import holds_sdxl, weight_files
from photovax.models.context import Words
from photovax.models.damaged import loading
from photovax.models.weights import load_encoder

__all__ = ["SDPrompts", "SDXLPrompts", "load_prompts"]

_ENCODERS = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"}
# Defaults of SDXL's pipelines for denoisers with an aesthetic score from 1 to 10 as input.
_SCORE, _NEGATIVE_SCORE = 6.0, 2.5


class SDPrompts:
    """Prompt embeddings of Stable Diffusion 1 and 2: the last states of one text encoder.

    Attributes:
        encoders: Text encoders, frozen, by the names of their folders.
        tokenizers: Tokenizers of the text encoders, by the names of their folders.
    """

    def __init__(self, encoders: Mapping[str, Any], tokenizers: Mapping[str, Any]) -> None:
        self.tokenizers = dict(tokenizers)
        self.encoders: dict[str, Any] = {
            name: encoder.eval().requires_grad_(False) for name, encoder in encoders.items()
        }

    def asked(self, prompt: str, size: tuple[int, int]) -> Words:
        """The embeddings of a prompt, which is cut to the length that the encoders take.

        Args:
            prompt: Prompt of any length.
            size: Height and width, in pixels, of the picture that is edited.

        Returns:
            Embeddings for one picture.
        """
        (made,) = self._encoded(prompt)
        return Words(made[0])

    def avoided(self, prompt: str, size: tuple[int, int]) -> Words:
        """The embeddings of a negative prompt, which guidance moves away from."""
        return self.asked(prompt, size)

    def _encoded(self, prompt: str, **options: Any) -> list[Any]:
        """The output of each text encoder for a prompt."""
        made = []
        pairs = zip(self.encoders.values(), self.tokenizers.values(), strict=True)
        for encoder, tokenizer in pairs:
            tokens = tokenizer(
                [prompt],
                padding="max_length",
                max_length=min(tokenizer.model_max_length, encoder.config.max_position_embeddings),
                truncation=True,
                return_tensors="pt",
            ).input_ids
            with torch.no_grad():
                made.append(encoder(tokens.to(encoder.device), **options))
        return made


class SDXLPrompts(SDPrompts):
    """Prompt embeddings of SDXL (arXiv 2307.01952): the penultimate states of two text encoders.

    The denoiser is also conditioned on the second one's embedding of the whole prompt, and on the
    original size, crop and target size of the picture; here it is never cropped.

    Args:
        encoders: Text encoders, as for ``SDPrompts``; the last one has a projection.
        tokenizers: Tokenizers, as for ``SDPrompts``.
        zeros: Whether zeros stand for an empty negative prompt.
        scored: Whether an aesthetic score replaces the target size.
    """

    def __init__(
        self,
        encoders: Mapping[str, Any],
        tokenizers: Mapping[str, Any],
        *,
        zeros: bool,
        scored: bool,
    ) -> None:
        super().__init__(encoders, tokenizers)
        self._zeros = zeros
        self._scored = scored

    def asked(self, prompt: str, size: tuple[int, int]) -> Words:
        """The embeddings of a prompt; see ``SDPrompts.asked``."""
        return self._words(prompt, size, _SCORE)

    def avoided(self, prompt: str, size: tuple[int, int]) -> Words:
        """The embeddings of a negative prompt; see ``SDPrompts.avoided``."""
        words = self._words(prompt, size, _NEGATIVE_SCORE)
        if prompt or not self._zeros:
            return words
        nothing = torch.zeros_like(words.added["text_embeds"])
        return Words(torch.zeros_like(words.tokens), {**words.added, "text_embeds": nothing})

    def _words(self, prompt: str, size: tuple[int, int], score: float) -> Words:
        made = self._encoded(prompt, output_hidden_states=True)
        tokens = torch.cat([each.hidden_states[-2] for each in made], dim=-1)
        sizes: Sequence[float] = (*size, 0, 0, *((score,) if self._scored else size))
        return Words(
            tokens,
            {"text_embeds": made[-1].text_embeds, "time_ids": tokens.new_tensor([sizes])},
        )


def load_prompts(folder: Path, *, name: str, device: torch.device) -> tuple[SDPrompts, list[Path]]:
    """Load the text encoders of a pipeline's folder.

    Returns:
        The text encoders with their tokenizers, and their weight files.

    Raises:
        ModelError: If something is missing or damaged.
    """
    parts = ["text_encoder"]
    index: dict[str, Any] = {}
    sdxl = holds_sdxl(folder)
    if sdxl:
        file = folder / "model_index.json"
        with loading(name, file):
            index = json_object(file)
        # An omitted part is listed as two nulls; SDXL's refiner omits the first text encoder.
        left_out = index.get("text_encoder") in (None, [None, None])
        parts = ["text_encoder_2"] if left_out else list(_ENCODERS)
    encoders, tokenizers, weights = {}, {}, []
    for part in parts:
        files, variant = weight_files(folder / part, name=name)
        weights += files
        with loading(name, folder / part):
            encoders[part] = load_encoder(folder / part, _ENCODERS[part], variant=variant)
        called = part.replace("text_encoder", "tokenizer")
        with loading(name, folder / called):
            tokenizers[called] = transformers.CLIPTokenizer.from_pretrained(
                folder / called, local_files_only=True
            )
    placed = {part: encoder.to(device) for part, encoder in encoders.items()}
    if not sdxl:
        return SDPrompts(placed, tokenizers), weights
    return SDXLPrompts(
        placed,
        tokenizers,
        # The defaults of the pipelines.
        zeros=bool(index.get("force_zeros_for_empty_prompt", True)),
        scored=bool(index.get("requires_aesthetics_score", False)),
    ), weights
