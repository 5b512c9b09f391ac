"""Autoencoders of diffusion models, as encoders that speak [0, 1]."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Generator, Tensor

from photovax.errors import ModelError
from photovax.randomness import draw_noise

__all__ = ["KLAutoencoder", "file_digest"]


class KLAutoencoder:
    """A diffusers ``AutoencoderKL``, frozen.

    Attributes:
        name: What the user calls it.
        digest: SHA-256 of its weight file.
        size: Short side, in pixels, at which its editors are usually fed a photo.
        model: The diffusers model, in evaluation mode and without weight gradients.
    """

    multiple = 8
    decodes = True

    def __init__(self, model: Any, *, name: str, digest: str, size: int = 512) -> None:
        self.name = name
        self.size = size
        self.digest = digest
        # Channels-last convolutions are the faster ones on CPUs and on tensor cores.
        # Typed as Any, since diffusers' own classes look empty to a type checker.
        self.model: Any = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @classmethod
    def from_folder(
        cls, folder: Path, *, name: str, device: torch.device, size: int = 512
    ) -> KLAutoencoder:
        """Load from a diffusers folder with ``config.json`` and safetensors weights.

        Weights stored in half precision are widened to float32, the precision of the attack.

        Raises:
            ModelError: If files are missing, damaged or not those of an ``AutoencoderKL``.
        """
        weights = folder / "diffusion_pytorch_model.safetensors"
        for file in (folder / "config.json", weights):
            if not file.is_file():
                raise ModelError(
                    f"model {name}: no {file.name} in {folder}; give a diffusers folder of an "
                    "AutoencoderKL with safetensors weights (for a whole pipeline, its vae folder)"
                )
        try:
            kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
            if kind != "AutoencoderKL":
                raise ModelError(f"model {name}: {folder} holds a {kind}, expected AutoencoderKL")
            model = AutoencoderKL.from_pretrained(  # type: ignore[no-untyped-call]
                folder,
                torch_dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=False,  # asks for accelerate, which nothing else here needs
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"model {name}: {folder} cannot be loaded: {reason}") from error
        return cls(model.to(device), name=name, digest=file_digest(weights), size=size)

    def encode(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [0, 1] to latents (N, 4, H/8, W/8) of about unit scale.

        Grey images are encoded as RGB. Sides that are not multiples of 8 are continued by
        their last row or column.
        """
        return (self.posterior(images)[0] - self._shift) * self._scale

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (N, 4, H/8, W/8) of the latent, before any scaling."""
        height, width = images.shape[-2:]
        padding = (-width % self.multiple, -height % self.multiple)
        x = images.expand(-1, 3, -1, -1) * 2 - 1
        if any(padding):
            x = F.pad(x, (0, padding[0], 0, padding[1]), mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        found = self.model.encode(x).latent_dist
        return found.mean, found.logvar

    def sample(self, images: Tensor, generator: Generator) -> Tensor:
        """A latent drawn from the posterior, as most pipelines encode; scaled as ``encode``."""
        mean, logvar = self.posterior(images)
        noise = draw_noise(mean.shape, mean, generator)
        return (mean + (0.5 * logvar).exp() * noise - self._shift) * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents as ``encode`` gives them to images (N, 3, 8 h, 8 w) in [0, 1]."""
        return self.decode_unclipped(latents).clamp(0, 1)

    def decode_unclipped(self, latents: Tensor) -> Tensor:
        """As ``decode``, but values may lie outside [0, 1], where clipping kills gradients."""
        decoded = self.model.decode(latents / self._scale + self._shift).sample
        return cast(Tensor, decoded / 2 + 0.5)

    @property
    def _scale(self) -> float:
        return float(self.model.config.scaling_factor)

    @property
    def _shift(self) -> float:
        return float(self.model.config.shift_factor or 0.0)


def file_digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
