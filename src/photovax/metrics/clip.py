"""CLIP scores (Radford et al. 2021): how well an edit matches its prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from photovax.digests import combined_digest, file_digest
from photovax.errors import MetricUnavailable, first_line
from photovax.models.damaged import DAMAGED
from photovax.models.quiet import quiet_loading
from photovax.models.weights import load_encoder
from photovax.tensors import tensor

__all__ = ["Clip", "prepared"]

_READ = (".safetensors", ".json", ".txt")
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class Clip:
    """CLIP scores of a ``CLIPModel`` of transformers in a local folder; nothing is downloaded.

    Args:
        folder: Folder with config.json, model.safetensors and the tokenizer's files.

    Attributes:
        digest: SHA-256 over the digests of the folder's files.

    Raises:
        MetricUnavailable: If files are missing or damaged, or belong to another model class.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPTokenizer

        try:
            with quiet_loading():
                model = load_encoder(folder, "CLIPModel")
                self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except DAMAGED as error:
            raise MetricUnavailable(
                f"clip: {folder} cannot be loaded: {first_line(error)}; it must be the folder of a "
                "CLIPModel with config.json, model.safetensors and the tokenizer's files"
            ) from None
        files = sorted(file for file in folder.iterdir() if file.suffix in _READ)
        self.digest = combined_digest(map(file_digest, files))
        self._model = model.eval().requires_grad_(False)
        self._side = int(model.config.vision_config.image_size)
        self._longest = int(model.config.text_config.max_position_embeddings)

    def similarity(self, picture: np.ndarray, text: str) -> float:
        """Cosine similarity of a uint8 picture (H, W, 3) and a text, in [-1, 1]."""
        return float((self._picture(picture) * self._text(text)).sum())

    def directional(
        self, before: np.ndarray, after: np.ndarray, before_text: str, after_text: str
    ) -> float | None:
        """Cosine of the change of the picture and that of its description, in [-1, 1].

        Directional similarity of StyleGAN-NADA (Gal et al. 2022), as InstructPix2Pix (Brooks et al.
        2023) measures it. None where the model does not tell the pictures, or the texts, apart.
        """
        pictures = self._picture(after) - self._picture(before)
        texts = self._text(after_text) - self._text(before_text)
        if not (pictures.any() and texts.any()):
            return None
        return float(F.cosine_similarity(pictures, texts, dim=0))

    @torch.inference_mode()
    def _picture(self, picture: np.ndarray) -> Tensor:
        """The embedding, of unit length: (D,)."""
        seen = self._model.vision_model(pixel_values=prepared(picture, self._side))
        return F.normalize(self._model.visual_projection(seen.pooler_output)[0], dim=0)

    @torch.inference_mode()
    def _text(self, text: str) -> Tensor:
        """The embedding, of unit length: (D,)."""
        tokens = self._tokenizer(
            text, return_tensors="pt", truncation=True, max_length=self._longest
        )
        read = self._model.text_model(**tokens)
        return F.normalize(self._model.text_projection(read.pooler_output)[0], dim=0)


def prepared(picture: np.ndarray, side: int) -> Tensor:
    """A uint8 picture (H, W, 3) as CLIP takes it: its middle square, (1, 3, side, side)."""
    height, width = picture.shape[:2]
    short = min(height, width)
    size = (side * width // short, side * height // short)
    image = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    square = tensor(np.array(image.crop((left, top, left + side, top + side))))
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (_MEAN, _DEVIATION))
    return (square - mean) / deviation
