"""How long a photo takes besides its steps, so that a time limit covers the saving, too."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Generator

from photovax.models.contracts import Autoencoder
from photovax.models.views import ShortSide
from photovax.pictures.photo import Photo
from photovax.tensors import tensor

__all__ = ["Pace"]

# Measured on one core: the time from the last step to the verdict, in passes of the embedded
# model's encoder over the photo. Above a full-HD display's pixels, JOD and FLIP take no longer.
_LEAST, _PER_MEGAPIXEL, _FURTHER = 45.0, 35.0, 8.0
_DISPLAYED = 2.07  # megapixels


class Pace:
    """Predicts the time from the last step of a photo to its verdict.

    The first prediction is made from the time of a pass through the encoders on this machine. Each
    photo that was worked on corrects the next one.
    """

    def __init__(self) -> None:
        self._correction = 1.0
        self._predicted: float | None = None
        self._last = 0.0

    def rest(
        self,
        models: Sequence[Autoencoder],
        photo: Photo,
        device: torch.device,
        *,
        size: int | None,
    ) -> float:
        """Predict the time in seconds for a photo that is about to be immunized.

        Args:
            models: Models, each of which is timed on the photo.
            photo: Photo.
            device: Device of the models.
            size: Short side in pixels at which models are fed it; each model's own when None.
        """
        began = time.perf_counter()
        with torch.no_grad():
            for model in models:
                view = ShortSide(size or model.size)
                model.encode(view(tensor(photo.visible(), device), Generator(device)))
        one = time.perf_counter() - began
        megapixels = photo.width * photo.height / 1e6
        displayed = min(megapixels, _DISPLAYED)
        passes = _LEAST + _PER_MEGAPIXEL * displayed + _FURTHER * (megapixels - displayed)
        self._predicted = one * passes
        return self._predicted * self._correction

    def stepped(self) -> None:
        """Note the end of a step."""
        self._last = time.perf_counter()

    def finished(self) -> None:
        """Note the end of the photo."""
        if self._predicted:
            self._correction = (time.perf_counter() - self._last) / self._predicted
            self._predicted = None
