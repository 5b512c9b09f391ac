"""Which models there are, and where their weights come from. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from photovax.edit import MODES, SIZES, USUAL_STRENGTH, Edit, Mode, valid_size
from photovax.errors import ModelError, UsageError
from photovax.registry import unknown

if TYPE_CHECKING:
    import torch

    from photovax.models.autoencoders import KLAutoencoder
    from photovax.models.contracts import Autoencoder
    from photovax.models.editors import LatentEditor

__all__ = [
    "CATALOG",
    "DEFAULT_MODEL",
    "Entry",
    "denoiser_folders",
    "fed_size",
    "load_autoencoder",
    "load_editor",
    "model_folder",
    "pick_device",
    "usual_edit",
    "weights_digest",
]

DEFAULT_MODEL = "embedded"

_MODE_OF_CHANNELS: dict[int, Mode] = {4: "img2img", 8: "instruct", 9: "inpaint"}

# What the pipelines of the Stable Diffusion family are used with; the strength is the paper's.
USUAL_EDITS: dict[Mode, Edit] = {
    "instruct": Edit("instruct", guidance=7.5, image_guidance=1.5, steps=50),
    "inpaint": Edit("inpaint", guidance=7.5, steps=50),
    "img2img": Edit("img2img", guidance=7.5, strength=USUAL_STRENGTH, steps=50),
}


@dataclass(frozen=True)
class Entry:
    """One model that can be named.

    Attributes:
        summary: What it stands for, in a line.
        folder: The diffusers pipeline folder with its weights; None where these do not ship with
            photovax and are looked for as ``files``.
        licence: Of the weights.
        latent: Latent channels and how much smaller the latent's sides are.
        memory: What one step of an encoder attack at its own size takes, roughly.
        files: Names of its weight files, for ``--weights FOLDER``.
        size: Short side, in pixels, at which its editors are usually fed a photo.
        edits: What each way of editing that it knows is usually asked with.
    """

    summary: str
    folder: Path | None
    licence: str
    latent: str
    memory: str
    files: tuple[str, ...] = ()
    size: int = 512
    edits: Mapping[Mode, Edit] = field(default_factory=lambda: USUAL_EDITS)

    @property
    def weight_bytes(self) -> int:
        """Size of the weight files that are there."""
        if self.folder is None:
            return 0
        return sum(file.stat().st_size for file in self.folder.glob("*/*.safetensors"))


CATALOG: dict[str, Entry] = {
    "embedded": Entry(
        summary="small Stable-Diffusion-format editor that ships with photovax",
        folder=Path(__file__).parent / "embedded",
        licence="MIT",
        latent="4 channels, 1/8 size",
        memory="0.3 GB",
        size=256,
        edits={
            "instruct": Edit("instruct", guidance=1.5, image_guidance=1.3, steps=12),
            "inpaint": Edit("inpaint", guidance=3, steps=20),
            "img2img": Edit("img2img", guidance=3, strength=0.3, steps=30),
        },
    ),
    "taef2": Entry(
        summary="tiny stand-in for the autoencoder of FLUX.2, by Ollin Boer Bohan",
        folder=None,
        licence="MIT",
        latent="32 channels, 1/8 size",
        memory="1 GB",
        files=("taef2_encoder.pth", "taef2_decoder.pth"),
        edits={},
    ),
    "taesana": Entry(
        summary="tiny stand-in for the autoencoder of Sana (encoder only), by Ollin Boer Bohan",
        folder=None,
        licence="MIT",
        latent="32 channels, 1/32 size",
        memory="0.5 GB",
        files=("taesana_encoder.pth",),
        edits={},
    ),
}


def model_folder(name: str) -> Path:
    """The folder of a model by catalogue name, or the folder that was named itself.

    Raises:
        UnknownName: If it is neither.
        ModelError: If the model is no more than an autoencoder.
    """
    if name in CATALOG:
        folder = CATALOG[name].folder
        if folder is None:
            raise ModelError(f"model {name} is no more than an autoencoder: it cannot edit")
        return folder
    if not Path(name).is_dir():
        raise unknown("model", name, CATALOG)
    return Path(name)


def load_autoencoder(
    name: str, *, device: torch.device, weights: Path | None = None
) -> Autoencoder:
    """The autoencoder of a model: by catalogue name, a pipeline's folder, or its own.

    Args:
        name: Catalogue name or folder.
        device: Where to load it.
        weights: The folder of weight files that do not ship with photovax.

    Raises:
        UnknownName: If it is none of these.
        ModelError: If its weights cannot be loaded.
    """
    from photovax.models.autoencoders import KLAutoencoder

    files = CATALOG[name].files if name in CATALOG else ()
    if files:
        from photovax.models.tiny import TinyAutoencoder

        if weights is None:
            raise ModelError(
                f"model {name} does not ship with photovax: put {' and '.join(files)} of the "
                "taesd project in a folder and say --weights FOLDER"
            )
        return TinyAutoencoder.from_folder(weights, name=name, device=device)
    folder = model_folder(name)
    own = folder / "vae" if (folder / "vae").is_dir() else folder
    return KLAutoencoder.from_folder(own, name=_called(name), device=device, size=fed_size(name))


def load_editor(
    name: str, *, device: torch.device, autoencoder: KLAutoencoder | None = None
) -> LatentEditor:
    """A whole editor, by catalogue name or from a diffusers pipeline folder.

    Raises:
        UnknownName: If it is neither.
        ModelError: If its weights cannot be loaded.
    """
    from photovax.models.editors import LatentEditor

    return LatentEditor.from_folder(
        model_folder(name), name=_called(name), device=device, autoencoder=autoencoder
    )


def denoiser_folders(folder: Path, *, name: str) -> dict[Mode, Path]:
    """The denoisers of a pipeline's folder, by what their input channels let them do.

    Raises:
        ModelError: If there is none, or one of another family.
    """
    found: dict[Mode, Path] = {}
    for config in sorted(folder.glob("unet*/config.json")):
        try:
            channels = json.loads(config.read_text(encoding="utf-8"))["in_channels"]
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"model {name}: {config} cannot be read: {error}") from None
        if channels not in _MODE_OF_CHANNELS:
            raise ModelError(
                f"model {name}: {config.parent.name} takes {channels} channels, known are "
                "4 (img2img), 8 (instruct) and 9 (inpaint)"
            )
        found[_MODE_OF_CHANNELS[channels]] = config.parent
    if not found:
        raise ModelError(
            f"model {name}: no unet in {folder}; an edit needs a whole pipeline's folder, "
            "an encoder attack only its vae"
        )
    return found


def weights_digest(folder: Path) -> str:
    """SHA-256 over the digests of all weight files of a pipeline's folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*/*.safetensors")):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def fed_size(name: str, size: int | None = None) -> int:
    """Short side, in pixels, at which a model is fed a photo: the one given, or its usual one.

    Raises:
        UsageError: If the given size is not a multiple of 8 from 64 up.
        UnknownName: If the model is not known.
    """
    if size is not None:
        if not valid_size(size):
            raise UsageError(f"size must be {SIZES}, got {size}")
        return size
    if name in CATALOG:
        return CATALOG[name].size
    folder = model_folder(name)
    # What a denoiser was trained at tells; the sample size of an autoencoder often does not.
    for config in sorted(folder.glob("unet*/config.json")):
        with suppress(OSError, ValueError, KeyError):
            trained = 8 * int(json.loads(config.read_text(encoding="utf-8"))["sample_size"])
            if valid_size(trained):
                return trained
    return 512


def usual_edit(name: str, mode: str) -> Edit:
    """What a model is usually asked with, for one way of editing, with an empty prompt.

    Raises:
        UnknownName: If there is no such model or way of editing.
        ModelError: If the model is no more than an autoencoder.
    """
    model_folder(name)
    edits = dict(CATALOG[name].edits if name in CATALOG else USUAL_EDITS)
    for known, edit in edits.items():
        if known == mode:
            return edit
    raise unknown("mode", mode, dict.fromkeys(MODES))


def _called(name: str) -> str:
    return name if name in CATALOG else Path(name).resolve().name


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
