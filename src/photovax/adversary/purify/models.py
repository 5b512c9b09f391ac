"""Purifiers that use a diffusion model, or its autoencoder, against what fools it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from photovax.adversary.purify.contract import PURIFIERS
from photovax.errors import ModelError, UsageError
from photovax.machine.device import pick_device
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.catalog.places import fed_size
from photovax.models.load import load_autoencoder, usual_edit

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from photovax.models.contracts import Autoencoder

__all__ = ["Impress", "Regenerate", "RoundTrip"]


@PURIFIERS.register("autoencoder")
class RoundTrip:
    """A picture encoded and decoded again, at its own size.

    Source: the reformer of Meng and Chen, *MagNet* (arXiv 1705.09064), and the first regeneration
    of Zhao et al., *Invisible Image Watermarks Are Provably Removable* (arXiv 2306.01953), here
    without noise on the latent.

    Args:
        model: Catalogue name, or a diffusers folder.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: The folder of weight files that do not ship with photovax.

    Raises:
        UnknownName: If the model is not known.
        ModelError: If it cannot be loaded or has no decoder.
        UsageError: If the device is not there.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, device: str = "auto", weights: Path | None = None
    ) -> None:
        self._device = pick_device(device)
        self._autoencoder = _whole_autoencoder(model, self._device, weights)

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The picture as the autoencoder has it."""
        import torch

        from photovax.tensors import pixels_of, tensor

        with torch.no_grad():
            return pixels_of(_reproduced(self._autoencoder, tensor(pixels, self._device)))


@PURIFIERS.register("impress")
class Impress:
    """IMPRESS: the nearby picture that an autoencoder reproduces best.

    Immunized pictures are those that autoencoders reproduce badly. From a noised copy, Adam
    minimises ``||D(E(x)) - x||² + alpha max(distance(x, picture) - bound, 0)``, with the squares'
    mean for pixels in [-1, 1]. Source: Cao et al., *IMPRESS* (arXiv 2310.19248); the learning
    rate of .005, falling as a cosine, and the noise of .05 are what its code
    (github.com/AAAAAAsuka/Impress) takes against PhotoGuard.

    Departures: the distance is 1 - SSIM where theirs is LPIPS, whose features need weights of
    their own, so alpha and bound are not theirs either (.01 and .1, which hardly hold back a small
    autoencoder that reproduces smooth pictures best). 200 steps by default where they take 1000.
    Float32 where they compute in half precision, and no Adam epsilon of 1e-5, which outweighs
    the gradients of a mean over so many pixels. Reproductions are clipped to the range of
    pixels. A photo keeps its proportions, where theirs becomes 512 x 512.

    Args:
        model: Catalogue name, or a diffusers folder.
        steps: Of Adam, 1 or more.
        alpha: Weight of the distance beyond the bound.
        bound: Distance that costs nothing, in [0, 1).
        size: Short side, in pixels, at which the picture is purified before it gets its own size
            back; that at which the model's editors are fed when None.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: The folder of weight files that do not ship with photovax.

    Raises:
        UnknownName: If the model is not known.
        ModelError: If it cannot be loaded or has no decoder.
        UsageError: If an option is out of range, or the device is not there.
    """

    rate = 0.005 / 2  # halved, as is the noise: their pixels are in [-1, 1], ours in [0, 1]
    noise = 0.05 / 2

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        steps: int = 200,
        alpha: float = 1.0,
        bound: float = 0.05,
        size: int | None = None,
        device: str = "auto",
        weights: Path | None = None,
    ) -> None:
        if steps < 1:
            raise UsageError(f"purifier impress needs 1 step or more, got {steps}")
        if alpha < 0 or not 0 <= bound < 1:
            raise UsageError(
                "purifier impress needs alpha from 0 up and a bound in [0, 1), got "
                f"{alpha:g} and {bound:g}"
            )
        self._steps, self._alpha, self._bound = steps, alpha, bound
        self._size = fed_size(model, size)
        self._device = pick_device(device)
        self._autoencoder = _whole_autoencoder(model, self._device, weights)

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The optimised picture."""
        import torch

        from photovax.pictures.resize import resized
        from photovax.tensors import pixels_of, tensor

        given = tensor(np.asarray(resized(pixels, self._size)), self._device)
        drawn = torch.randn(given.shape, generator=torch.Generator().manual_seed(seed))
        images = (given + self.noise * drawn.to(self._device)).requires_grad_()
        adam = torch.optim.Adam([images], lr=self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self._steps)
        with torch.enable_grad():
            for _ in range(self._steps):
                # Adam ignores a loss's scale as long as its epsilon is small beside gradients.
                loss = self._loss(images, given) * given.numel()
                (images.grad,) = torch.autograd.grad(loss, images)
                adam.step()
                schedule.step()
                images.data.clamp_(0, 1)
        return _back(pixels_of(images), pixels)

    def _loss(self, images: Tensor, given: Tensor) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure

        error = 4 * (_reproduced(self._autoencoder, images) - images).square().mean()
        similarity = cast(
            "Tensor", structural_similarity_index_measure(images, given, data_range=1.0)
        )
        return error + self._alpha * (1 - similarity - self._bound).clamp_min(0)


@PURIFIERS.register("regenerate")
class Regenerate:
    """A picture noised a little in latents and denoised by an editor that is told nothing.

    Source: Meng et al., *SDEdit* (arXiv 2108.01073), used so by Nie et al., *DiffPure* (arXiv
    2205.07460, in pixels) and Zhao et al., *Invisible Image Watermarks Are Provably Removable*
    (arXiv 2306.01953, in latents). The editor is fed the picture at its usual size; the result
    gets the picture's own size back.

    Args:
        model: Catalogue name, or a diffusers pipeline folder.
        strength: How much noise is added, in (0, 1].
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Raises:
        UnknownName: If the model is not known.
        ModelError: If it cannot be loaded, or not edit.
        UsageError: If it has no img2img, the strength is out of range, or the device is not there.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, strength: float = 0.2, device: str = "auto"
    ) -> None:
        from photovax.adversary.edits import Adversary

        # With an empty prompt guidance changes nothing, but doubles the work.
        self._edit = replace(usual_edit(model, "img2img"), strength=strength, guidance=1.0)
        self._adversary = Adversary(model, device=device)
        self._adversary.load(("img2img",))

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The picture as the editor redraws it."""
        return _back(self._adversary.edit(pixels, self._edit, seed=seed), pixels)


def _whole_autoencoder(model: str, device: torch.device, weights: Path | None) -> Autoencoder:
    found = load_autoencoder(model, device=device, weights=weights)
    if not found.decodes:
        raise ModelError(f"model {model} has no decoder: it cannot purify")
    return found


def _reproduced(autoencoder: Autoencoder, images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    # Autoencoders continue sides that do not divide, and give them back longer.
    return autoencoder.decode(autoencoder.encode(images))[..., :height, :width]


def _back(made: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.array(Image.fromarray(made).resize((width, height), Image.Resampling.LANCZOS))
