"""Denoising filters without a trained model, as tools that clean immunized pictures use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from photovax.adversary.purify.contract import PURIFIERS
from photovax.errors import UsageError
from photovax.extras import package

__all__ = ["AdverseCleaner", "NonLocalMeans", "TotalVariation"]


@PURIFIERS.register("adversecleaner")
@dataclass(frozen=True)
class AdverseCleaner:
    """Many small bilateral filters, then a few guided filters that restore the edges.

    Source: clean.py of github.com/lllyasviel/AdverseCleaner, with the same channel order
    (BGR), guide (the input picture), truncation to whole levels, and defaults.

    Attributes:
        bilateral: Number of bilateral filters, each 5 pixels wide.
        sigma: Standard deviation of the bilateral filters, in pixels and in 8-bit levels.
        guided: Number of guided filters.
        radius: Radius of the guided filters, in pixels.
        eps: Regularisation of the guided filters, in squared 8-bit levels.

    Raises:
        UsageError: If OpenCV's extra modules are not installed.
    """

    bilateral: int = 64
    sigma: float = 8.0
    guided: int = 4
    radius: int = 4
    eps: float = 16.0

    def __post_init__(self) -> None:
        if self.bilateral < 0 or self.guided < 0 or self.bilateral + self.guided < 1:
            raise UsageError(
                "purifier adversecleaner needs one filter or more, got "
                f"{self.bilateral} bilateral and {self.guided} guided"
            )
        if self.sigma <= 0 or self.radius < 1 or self.eps <= 0:
            raise UsageError(
                "purifier adversecleaner needs sigma and eps above 0 and a radius from 1 up, got "
                f"{self.sigma:g}, {self.eps:g} and {self.radius}"
            )
        _installed("cv2.ximgproc", "adversecleaner")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The cleaned picture."""
        cv2, guided = (
            _installed("cv2", "adversecleaner"),
            _installed("cv2.ximgproc", "adversecleaner"),
        )
        guide = np.ascontiguousarray(pixels[..., ::-1], dtype=np.float32)
        clean = guide
        for _ in range(self.bilateral):
            clean = cv2.bilateralFilter(clean, 5, self.sigma, self.sigma)
        for _ in range(self.guided):
            clean = guided.guidedFilter(guide, clean, self.radius, self.eps)
        return np.ascontiguousarray(clean[..., ::-1].clip(0, 255).astype(np.uint8))


@PURIFIERS.register("nlmeans")
@dataclass(frozen=True)
class NonLocalMeans:
    """Non-local means: each pixel becomes a mean of pixels with similar surroundings.

    Source: Buades, Coll and Morel, *A Non-Local Algorithm for Image Denoising* (CVPR 2005), in
    OpenCV's version for colour, with its default windows (7 pixels wide, within 21 pixels). Xu et
    al., *Feature Squeezing* (arXiv 1704.01155), use it against perturbations with narrower windows.

    Attributes:
        strength: OpenCV's h for luminance and colour, about the noise's deviation in 8-bit levels.

    Raises:
        UsageError: If OpenCV is not installed.
    """

    strength: float = 5.0

    def __post_init__(self) -> None:
        if self.strength <= 0:
            raise UsageError(f"purifier nlmeans needs a strength above 0, got {self.strength:g}")
        _installed("cv2", "nlmeans")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The denoised picture."""
        cv2 = _installed("cv2", "nlmeans")
        picture = np.ascontiguousarray(pixels[..., ::-1])
        clean = cv2.fastNlMeansDenoisingColored(picture, None, self.strength, self.strength, 7, 21)
        return np.ascontiguousarray(clean[..., ::-1])


@PURIFIERS.register("tv")
@dataclass(frozen=True)
class TotalVariation:
    """Total variation denoising over all channels jointly.

    Source: Chambolle, *An Algorithm for Total Variation Minimization* (2004), as
    implemented in scikit-image. Guo et al. (arXiv 1711.00117) use it against perturbations after
    dropping random pixels, which is left out here.

    Attributes:
        weight: Weight of smoothness, for pixels in [0, 1].

    Raises:
        UsageError: If scikit-image is not installed.
    """

    weight: float = 0.05

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise UsageError(f"purifier tv needs a weight above 0, got {self.weight:g}")
        _installed("skimage.restoration", "tv")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The smoothed picture."""
        restoration = _installed("skimage.restoration", "tv")
        clean = restoration.denoise_tv_chambolle(
            pixels.astype(np.float32) / 255, weight=self.weight, channel_axis=2
        )
        return np.asarray(np.rint(clean * 255).clip(0, 255).astype(np.uint8))


def _installed(module: str, name: str) -> Any:
    return package(module, install="photovax[evaluate]", user=f"purifier {name}")
