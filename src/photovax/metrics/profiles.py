"""Conversion of a picture between colour profiles, as platforms do it with LittleCMS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ImageCms

from photovax.pictures.channels import as_image

__all__ = ["Conversion", "conversion"]


@dataclass(frozen=True)
class Conversion:
    """A conversion of RGB, relative colorimetric with black point compensation.

    Attributes:
        source: ICC profile of the picture; sRGB when None.
        target: ICC profile of the result; sRGB when None.
    """

    source: bytes | None
    target: bytes | None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """A uint8 picture (H, W, 3) in the other profile."""
        return np.asarray(ImageCms.applyTransform(as_image(pixels), self._transform))

    @cached_property
    def _transform(self) -> Any:
        return ImageCms.buildTransform(
            _opened(self.source),
            _opened(self.target),
            "RGB",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )


def conversion(source: bytes | None, target: bytes | None) -> Conversion | None:
    """The conversion between two ICC profiles of RGB; None where there is nothing to convert.

    Args:
        source: Profile of the picture; sRGB when None.
        target: Profile of the result; sRGB when None.
    """
    if source == target:
        return None
    found = Conversion(source, target)
    try:
        found(np.zeros((1, 1, 3), np.uint8))
    except (ImageCms.PyCMSError, OSError):  # a damaged profile, which nobody can have converted
        return None
    return found


def _opened(profile: bytes | None) -> ImageCms.ImageCmsProfile:
    if profile is None:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsProfile(BytesIO(profile))
