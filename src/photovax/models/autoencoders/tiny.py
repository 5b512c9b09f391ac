"""Tiny autoencoders of the TAESD family: cheap approximations of those of large models.

By Ollin Boer Bohan, MIT licence. They are state dicts of plain ``Sequential`` stacks for images in
[0, 1], with latents of about unit scale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file as load_safetensors
from torch import Generator, Tensor, nn

from photovax.digests import combined_digest, file_digest
from photovax.errors import ModelError
from photovax.models.catalog.holdings import AS_TOLD, check_bytes
from photovax.models.catalog.places import joined
from photovax.models.damaged import loading
from photovax.models.padding import continued
from photovax.models.recompute import Recomputed

__all__ = ["TINY", "TinyAutoencoder"]


class _Block(nn.Module):
    def __init__(self, channels: int, *, pooled: bool = False) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Sequential(
            _conv(channels, channels),
            nn.ReLU(),
            _conv(channels, channels),
            nn.ReLU(),
            _conv(channels, channels),
        )
        self.pool: nn.Module | None = None
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(channels, 4 * channels, 1, bias=False),
                nn.GroupNorm(4, 4 * channels),
                nn.ReLU(),
                nn.Conv2d(4 * channels, channels, 1, bias=False),
            )

    def recompute(self) -> None:
        """Keep the inputs of both branches only."""
        if not isinstance(self.conv, Recomputed):
            self.conv = Recomputed(self.conv)
            self.pool = None if self.pool is None else Recomputed(self.pool)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(self.conv(x) + x)


class _SoftClamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


def _conv(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)


def _level(blocks: int, *, pooled: bool = False) -> list[nn.Module]:
    return [
        _conv(64, 64, stride=2, bias=False),
        *(_Block(64, pooled=pooled) for _ in range(blocks)),
    ]


def _encoder(channels: int, *, pooled: bool = False) -> nn.Sequential:
    levels = [*_level(3), *_level(3), *_level(3, pooled=pooled)]
    return nn.Sequential(_conv(3, 64), _Block(64), *levels, _conv(64, channels))


def _decoder(channels: int, *, pooled: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [_SoftClamp(), _conv(channels, 64), nn.ReLU()]
    for blocks, here in ((3, pooled), (3, False), (3, False)):
        layers += [_Block(64, pooled=here) for _ in range(blocks)]
        layers += [nn.Upsample(scale_factor=2), _conv(64, 64, bias=False)]
    return nn.Sequential(*layers, _Block(64), _conv(64, 3))


def _deep_encoder() -> nn.Sequential:
    stem = [_conv(3, 32, stride=2), nn.ReLU(), _conv(32, 64, stride=2), nn.ReLU(), _Block(64)]
    return nn.Sequential(*stem, *_level(3), *_level(3), *_level(3), _conv(64, 32))


TINY: dict[str, tuple[int, Callable[[], nn.Sequential], Callable[[], nn.Sequential] | None]] = {
    "taesd": (8, lambda: _encoder(4), lambda: _decoder(4)),
    "taesdxl": (8, lambda: _encoder(4), lambda: _decoder(4)),
    "taesd3": (8, lambda: _encoder(16), lambda: _decoder(16)),
    "taef1": (8, lambda: _encoder(16), lambda: _decoder(16)),
    "taef2": (8, lambda: _encoder(32, pooled=True), lambda: _decoder(32, pooled=True)),
    "taesana": (32, _deep_encoder, None),
}
"""Downscaling, encoder, and decoder (None for those without) of each model."""


class TinyAutoencoder:
    """One of ``TINY``, frozen.

    Attributes:
        name: Name that the user gave.
        digest: SHA-256 over the digests of its weight files, in hexadecimal digits.
        size: Short side, in pixels, at which the editors that it stands for are fed a photo.
        identified_by: What says that the weights are of the model of this name.
        multiple: Side of an image divided by that of its latent.
        channels: Channels of a latent.
        decodes: Whether there is a decoder.
    """

    def __init__(
        self,
        encoder: nn.Sequential,
        decoder: nn.Sequential | None,
        *,
        design: str,
        name: str,
        digest: str,
        size: int = 512,
    ) -> None:
        self.name = name
        self.size = size
        self.digest = digest
        self.identified_by = AS_TOLD
        self.multiple = TINY[design][0]
        self.channels = cast(nn.Conv2d, encoder[-1]).out_channels
        self.decodes = decoder is not None
        self._encoder = _frozen(encoder)
        self._decoder = None if decoder is None else _frozen(decoder)

    @classmethod
    def load(
        cls, place: Path, *, design: str, name: str, device: torch.device, size: int = 512
    ) -> TinyAutoencoder:
        """Load from a folder of loose files, or from one file with both parts.

        Args:
            place: Folder with the project's ``DESIGN_encoder.pth`` and, if the family has a
                decoder, ``DESIGN_decoder.pth``; or the hub's ``.safetensors`` file, with the layers
                of both numbered as in diffusers; or a folder with that as ``joined(DESIGN)``.
            design: Name in ``TINY``.
            name: Name of the model.
            device: Device to load it on.
            size: Short side, in pixels, at which its editors are usually fed a photo.

        Raises:
            ModelError: If a file is missing or does not fit.
        """
        _, make_encoder, make_decoder = TINY[design]
        parts = {"encoder": make_encoder()}
        if make_decoder is not None:
            parts["decoder"] = make_decoder()
        both = place / joined(design)
        if both.is_file():
            place = both
        digests = []
        for part, module in parts.items():
            file = place / f"{design}_{part}.pth" if place.is_dir() else place
            if not file.is_file():
                raise ModelError(
                    f"model {name}: no {file.name} in {place}",
                    hint="download it from the taesd project and give --weights FOLDER",
                )
            check_bytes(name, file, pickled=True)
            with loading(name, file):
                state = _state(file, part)
                module.load_state_dict({key: value.float() for key, value in state.items()})
            digests.append(file_digest(file))
        return cls(
            parts["encoder"].to(device),
            parts["decoder"].to(device) if "decoder" in parts else None,
            design=design,
            name=name,
            digest=combined_digest(digests),
            size=size,
        )

    def recompute(self) -> None:
        """Use less memory and more time for the same gradients."""
        for part in filter(None, (self._encoder, self._decoder)):
            for module in part.modules():
                if isinstance(module, _Block):
                    module.recompute()

    def in_pipelines(self) -> Any:
        """The same layers in an ``AutoencoderTiny``, for diffusers' pipelines.

        Raises:
            ModelError: If there is no decoder.
        """
        if self._decoder is None:
            raise self._no_decoder()
        import diffusers  # heavy, and not needed by attacks on a lone autoencoder

        parts: Any = diffusers  # its classes look empty to a type checker
        model = parts.AutoencoderTiny(latent_channels=self.channels)
        model.encoder.layers = self._encoder
        model.decoder.layers = self._decoder[1:]  # its own first layer is the clamp
        return model

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, 1 or 3, H, W) in [0, 1] as (N, C, H / multiple, W / multiple)."""
        x = continued(images.expand(-1, 3, -1, -1), self.multiple)
        latents: Tensor = self._encoder(x.contiguous(memory_format=torch.channels_last))
        return latents.to(images.dtype)

    def sample(self, images: Tensor, generator: Generator) -> Tensor:
        """A latent as pipelines draw it: here, without a distribution, that of ``encode``."""
        del generator
        return self.encode(images)

    def own_latent(self, images: Tensor) -> Tensor:
        """As ``encode``: these latents are not scaled."""
        return self.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to images (N, 3, H, W) in [0, 1].

        Raises:
            ModelError: If there is no decoder.
        """
        return self.decode_unclipped(latents).clamp(0, 1)

    def decode_unclipped(self, latents: Tensor) -> Tensor:
        """As ``decode``, but not clipped to [0, 1]: clipped values have no gradient.

        Raises:
            ModelError: If there is no decoder.
        """
        if self._decoder is None:
            raise self._no_decoder()
        images: Tensor = self._decoder(latents)
        return images

    def _no_decoder(self) -> ModelError:
        return ModelError(f"model {self.name} has no decoder")


def _state(file: Path, part: str) -> dict[str, Tensor]:
    """The weights of one part, with the names of ``Sequential``."""
    if file.suffix == ".pth":
        # weights_only: nothing but tensors is unpickled.
        unpickled: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return unpickled
    # diffusers does not number the clamp at the start of decoders.
    offset = 1 if part == "decoder" else 0
    state = {}
    for key, value in load_safetensors(file).items():
        if key.startswith(f"{part}.layers."):
            layer, rest = key.removeprefix(f"{part}.layers.").split(".", 1)
            state[f"{int(layer) + offset}.{rest}"] = value
    return state


def _frozen(layers: nn.Sequential) -> nn.Sequential:
    frozen: Any = layers.eval().requires_grad_(False)
    return cast(nn.Sequential, frozen.to(memory_format=torch.channels_last))
