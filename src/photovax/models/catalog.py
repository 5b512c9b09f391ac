"""Which models there are, and where their weights come from. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from photovax.registry import unknown

if TYPE_CHECKING:
    import torch

    from photovax.models.autoencoders import KLAutoencoder

__all__ = ["CATALOG", "DEFAULT_MODEL", "Entry", "load_model", "pick_device"]

DEFAULT_MODEL = "embedded"


@dataclass(frozen=True)
class Entry:
    """One model that can be named.

    Attributes:
        summary: What it stands for, in a line.
        folder: The diffusers folder with its weights.
        licence: Of the weights.
        latent: Latent channels and how much smaller the latent's sides are.
        memory: What one step at 512 x 512 pixels takes, roughly.
    """

    summary: str
    folder: Path
    licence: str
    latent: str
    memory: str

    @property
    def weight_bytes(self) -> int:
        """Size of the weight files."""
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))


CATALOG: dict[str, Entry] = {
    "embedded": Entry(
        summary="small Stable-Diffusion-format autoencoder that ships with photovax",
        folder=Path(__file__).parent / "embedded" / "vae",
        licence="MIT",
        latent="4 channels, 1/8 size",
        memory="0.6 GB",
    ),
}


def load_model(name: str, *, device: torch.device) -> KLAutoencoder:
    """A model by catalogue name, or from the path of a diffusers folder.

    Raises:
        UnknownName: If it is neither.
        ModelError: If its weights cannot be loaded.
    """
    from photovax.models.autoencoders import KLAutoencoder

    if name in CATALOG:
        return KLAutoencoder.from_folder(CATALOG[name].folder, name=name, device=device)
    if not Path(name).is_dir():
        raise unknown("model", name, CATALOG)
    return KLAutoencoder.from_folder(Path(name), name=Path(name).resolve().name, device=device)


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; the fastest there is for ``auto``.

    Raises:
        UsageError: If the name means nothing or the device is not there.
    """
    import torch

    from photovax.errors import UsageError

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"device {name!r} cannot be used ({reason}); use auto, cpu, cuda or mps"
        ) from None
    return device
