"""Purifiers that use a diffusion model or its autoencoder."""

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
    """Encode and decode a picture at its own size.

    Source: the reformer of Meng and Chen, *MagNet* (arXiv 1705.09064), and the first regeneration
    of Zhao et al., *Invisible Image Watermarks Are Provably Removable* (arXiv 2306.01953), without
    noise on the latent.

    Args:
        model: Catalogue name or diffusers folder.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: Folder of weight files that do not ship with photovax.

    Attributes:
        digest: SHA-256 of its weights.

    Raises:
        UnknownName: If the model is not known.
        ModelError: If it cannot be loaded or has no decoder.
        UsageError: If the device is not available.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, device: str = "auto", weights: Path | None = None
    ) -> None:
        self._device = pick_device(device)
        self._autoencoder = _whole_autoencoder(model, self._device, weights)
        self.digest = self._autoencoder.digest

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The decoded picture."""
        import torch

        from photovax.tensors import pixels_of, tensor

        with torch.no_grad():
            return pixels_of(_reproduced(self._autoencoder, tensor(pixels, self._device)))


@PURIFIERS.register("impress")
class Impress:
    """IMPRESS: search near the picture for one that an autoencoder reproduces better.

    Autoencoders reproduce immunized pictures badly. Starting from a noised copy, Adam minimises
    ``||D(E(x)) - x||² + alpha max(distance(x, picture) - bound, 0)``, where the first term is a
    mean over pixels in [-1, 1]. Source: Cao et al., *IMPRESS* (arXiv 2310.19248). The learning rate
    of .005 with cosine decay and the noise of .05 are those of its code against PhotoGuard
    (github.com/AAAAAAsuka/Impress).

    Departures from that code: the distance is 1 - SSIM instead of LPIPS, which needs weights of its
    own. Alpha and bound therefore differ, too (theirs are .01 and .1, too weak for a small
    autoencoder that reproduces smooth pictures best). There are 200 steps by default instead of
    1000, float32 instead of half precision, and no Adam epsilon of 1e-5, which outweighs gradients
    of a mean over so many pixels. Reproductions are clipped to the range of pixels. A photo keeps
    its proportions instead of becoming 512 x 512.

    Args:
        model: Catalogue name or diffusers folder.
        steps: Number of Adam steps, 1 or more.
        alpha: Weight of the distance beyond the bound.
        bound: Distance without a penalty, in [0, 1).
        size: Short side, in pixels, at which the picture is purified, before it is resized
            back. The size at which the model's editors are usually fed a photo when None.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: Folder of weight files that do not ship with photovax.

    Attributes:
        digest: SHA-256 of its weights.

    Raises:
        UnknownName: If the model is not known.
        ModelError: If it cannot be loaded or has no decoder.
        UsageError: If an option is out of range, or the device is not available.
    """

    rate = 0.005 / 2  # halved, like the noise: pixels are in [0, 1] here, in [-1, 1] there
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
        self.digest = self._autoencoder.digest

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
                # Adam ignores the scale of a loss while its epsilon is small against the gradients.
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
    """Add a little noise to the latents of a picture, and denoise them without a prompt.

    Source: Meng et al., *SDEdit* (arXiv 2108.01073), used for this by Nie et al., *DiffPure* (arXiv
    2205.07460, on pixels), and Zhao et al., *Invisible Image Watermarks Are Provably Removable*
    (arXiv 2306.01953, on latents). The editor is fed the picture at its usual size. The result is
    resized to the size of the picture.

    Args:
        model: Catalogue name or diffusers pipeline folder.
        strength: Share of the noise schedule that is added and removed again, in (0, 1].
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Raises:
        UnknownName: If the model is not known.
        ModelError: If it cannot be loaded or has no denoiser.
        UsageError: If it has no img2img, the strength is out of range, or the device is not
            available.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, *, strength: float = 0.2, device: str = "auto"
    ) -> None:
        from photovax.adversary.edits import Adversary

        # Guidance changes nothing with an empty prompt, and doubles the work.
        self._edit = replace(usual_edit(model, "img2img"), strength=strength, guidance=1.0)
        self._adversary = Adversary(model, device=device)
        self._adversary.load(("img2img",))

    @property
    def digest(self) -> str:
        """SHA-256 of its weights and configurations, which are read for it."""
        return self._adversary.digests(("img2img",))["img2img"]

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The regenerated picture."""
        return _back(self._adversary.edit(pixels, self._edit, seed=seed), pixels)


def _whole_autoencoder(model: str, device: torch.device, weights: Path | None) -> Autoencoder:
    found = load_autoencoder(model, device=device, weights=weights)
    if not found.decodes:
        raise ModelError(f"model {model} has no decoder: it cannot purify")
    return found


def _reproduced(autoencoder: Autoencoder, images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    # Autoencoders pad sides that are not a multiple of their factor, and return them padded.
    return autoencoder.decode(autoencoder.encode(images))[..., :height, :width]


def _back(made: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.array(Image.fromarray(made).resize((width, height), Image.Resampling.LANCZOS))
