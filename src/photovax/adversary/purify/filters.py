"""Denoising filters that know no model: what cleaning tools for immunized pictures are made of."""

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
    """Many small bilateral filters, then a few guided ones that lend the picture its edges back.

    Source: clean.py of github.com/lllyasviel/AdverseCleaner, with its order of channels (BGR),
    its guide (the picture as given) and its cut to whole levels; the defaults are its own.

    Attributes:
        bilateral: How many bilateral filters, each 5 pixels wide.
        sigma: Theirs, over pixels and over 8-bit levels.
        guided: How many guided filters.
        radius: Theirs, in pixels.
        eps: Their regularisation, in squared 8-bit levels.

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
    """Each pixel the mean of those whose surroundings look like its own.

    Source: Buades, Coll and Morel, *A Non-Local Algorithm for Image Denoising* (CVPR 2005), in
    OpenCV's colour version and with its usual windows (7 pixels, searched for in 21); used against
    perturbations by Xu et al., *Feature Squeezing* (arXiv 1704.01155), with narrower ones.

    Attributes:
        strength: OpenCV's h, for brightness and colours: about the noise's 8-bit levels.

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
    """The nearby picture of little total variation, over all channels at once.

    Source: Chambolle, *An Algorithm for Total Variation Minimization* (2004), as in
    scikit-image; used against perturbations by Guo et al. (arXiv 1711.00117), who first drop
    pixels at random, which is not done here.

    Attributes:
        weight: How much smoothness counts, for pixels in [0, 1].

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
