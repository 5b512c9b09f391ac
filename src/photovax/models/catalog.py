"""Models by name, folder, file or hub id: what they are and how they are loaded.

Imports nothing heavy until something is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from photovax.digests import file_digest
from photovax.edit import MODES, SIZES, Edit, Mode, valid_size
from photovax.errors import ModelError, UsageError, first_line
from photovax.models.entries import CATALOG, USUAL_EDITS, Entry
from photovax.models.places import (
    autoencoder_in,
    autoencoder_place,
    cached_repository,
    check_fits,
    holds_transformer,
    no_whole_edit,
    pipeline_folder,
)
from photovax.registry import unknown

if TYPE_CHECKING:
    import torch

    from photovax.models.autoencoders import FrozenAutoencoder
    from photovax.models.contracts import Autoencoder
    from photovax.models.editors import LatentEditor
    from photovax.models.flows import FlowDenoiser

__all__ = [
    "CATALOG",
    "DEFAULT_MODEL",
    "Entry",
    "denoiser_folders",
    "each_once",
    "fed_size",
    "load_autoencoder",
    "load_denoiser",
    "load_editor",
    "model_folder",
    "pick_device",
    "pull",
    "usual_edit",
    "weight_digests",
]

DEFAULT_MODEL = "embedded"

_MODE_OF_CHANNELS: dict[int, Mode] = {4: "img2img", 8: "instruct", 9: "inpaint"}


def model_folder(name: str, *, weights: Path | None = None) -> Path:
    """The pipeline folder of a model: by catalogue name, a folder itself, or a cached hub id.

    Args:
        name: Catalogue name, folder, or ``owner/name``.
        weights: Where ``NAME``'s folder may lie, or that folder, for catalogue names; looked at
            before the hub's cache.

    Raises:
        UnknownName: If it is none of these.
        ModelError: If the model is no more than an autoencoder, or its weights are not there.
    """
    if name in CATALOG:
        return pipeline_folder(name, weights)
    if Path(name).is_dir():
        return Path(name)
    return cached_repository(name)


def load_autoencoder(
    name: str, *, device: torch.device, weights: Path | None = None
) -> Autoencoder:
    """The autoencoder of a model, from where its weights are found first.

    A catalogue name is looked for in ``weights``, then in the hub's cache. Anything else is a
    folder (a pipeline's, or its autoencoder's own) or the id of a cached hub repository.

    Args:
        name: Catalogue name, folder, or ``owner/name``.
        device: Where to load it.
        weights: A folder that holds ``NAME`` (a diffusers folder), ``NAME.safetensors`` or the
            model's loose weight files; or that folder or file itself.

    Raises:
        UnknownName: If the name is none of these.
        ModelError: If its weights are not there, or cannot be loaded.
    """
    from photovax.models.loading import load_file, load_folder

    if name not in CATALOG:
        if Path(name).suffix == ".safetensors":
            raise ModelError(
                f"model {name}: a file does not tell which model it is; say "
                f"--model NAME --weights {name}, NAME being one of {', '.join(CATALOG)}"
            )
        folder = autoencoder_in(model_folder(name))
        return load_folder(folder, name=_called(name), device=device, size=fed_size(name))
    entry = CATALOG[name]
    place = autoencoder_place(name, weights)
    loose = bool(entry.files) and all((place / file).is_file() for file in entry.files)
    if loose or (not entry.config and entry.folder is None):
        from photovax.models.tiny import TinyAutoencoder

        return TinyAutoencoder.load(place, name=name, device=device, size=entry.size)
    if place.is_file():
        return load_file(place, entry.config, name=name, device=device, size=entry.size)
    check_fits(name, place)
    return load_folder(place, name=name, device=device, size=entry.size)


def load_editor(
    name: str,
    *,
    device: torch.device,
    autoencoder: FrozenAutoencoder | None = None,
    weights: Path | None = None,
) -> LatentEditor:
    """A whole editor: by catalogue name, from a diffusers pipeline folder, or a cached hub id.

    Raises:
        UnknownName: If the name is none of these.
        ModelError: If its weights are not there, cannot be loaded, or are those of a model whose
            edits are not run here.
    """
    from photovax.models.editors import LatentEditor

    if name in CATALOG and CATALOG[name].denoiser is not None:
        raise no_whole_edit(name)
    return LatentEditor.from_folder(
        model_folder(name, weights=weights),
        name=_called(name),
        device=device,
        autoencoder=autoencoder,
    )


def load_denoiser(
    name: str,
    *,
    device: torch.device,
    autoencoder: FrozenAutoencoder | None = None,
    weights: Path | None = None,
) -> LatentEditor | FlowDenoiser:
    """A denoiser with its autoencoder, from where ``load_editor`` looks: all editors have one.

    Raises:
        UnknownName: If the name is none of these.
        ModelError: If its weights are not there, or cannot be loaded.
    """
    folder = model_folder(name, weights=weights)
    if not holds_transformer(folder):
        return load_editor(name, device=device, autoencoder=autoencoder, weights=weights)
    from photovax.models.flow_families import load_flow

    return load_flow(folder, name=_called(name), device=device, autoencoder=autoencoder)


def pull(name: str, *, whole: bool = True) -> Path:
    """Download the weights of a catalogue's model into the hub's cache.

    Args:
        name: Catalogue name.
        whole: Whether to download what its edits or its denoiser need too, where it has them.

    Returns:
        The folder that holds them.

    Raises:
        UnknownName: If the name is not in the catalogue.
        ModelError: If the hub cannot be reached, or does not give them.
    """
    from photovax.models import hub

    if name not in CATALOG:
        raise unknown("model", name, CATALOG)
    entry = CATALOG[name]
    if entry.folder is not None:
        return entry.folder
    return hub.pull(name, entry, whole=whole and entry.whole)


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
    if not found and holds_transformer(folder):
        raise no_whole_edit(name)
    if not found:
        raise ModelError(
            f"model {name}: no unet in {folder}; an edit needs a whole pipeline's folder, "
            "an encoder attack only its vae"
        )
    return found


def weight_digests(folder: Path) -> dict[Path, str]:
    """SHA-256 of each weight file of a pipeline's folder, by name, in hexadecimal digits."""
    return {file: file_digest(file) for file in sorted(folder.glob("*/*.safetensors"))}


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
    transformer = holds_transformer(folder)
    # What a denoiser was trained at tells; the sample size of an autoencoder often does not.
    parts = "transformer" if transformer else "unet*"
    for config in sorted(folder.glob(f"{parts}/config.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            trained = 8 * int(json.loads(config.read_text(encoding="utf-8"))["sample_size"])
            if valid_size(trained):
                return trained
    return 1024 if transformer else 512


def usual_edit(name: str, mode: str) -> Edit:
    """What a model is usually asked with, for one way of editing, with an empty prompt.

    Raises:
        UnknownName: If there is no such model or way of editing.
        ModelError: If the model is no more than an autoencoder.
    """
    if name in CATALOG:
        edits = dict(CATALOG[name].edits)
        if CATALOG[name].denoiser is not None:
            raise no_whole_edit(name)
        if not edits:
            raise ModelError(f"model {name} is no more than an autoencoder: it cannot edit")
        known = [found for found in MODES if found in edits]
        if mode in MODES and mode not in known:
            raise UsageError(f"model {name} cannot {mode}; it knows {', '.join(known)}")
    else:
        model_folder(name)
        edits = USUAL_EDITS
    for usual, edit in edits.items():
        if usual == mode:
            return edit
    raise unknown("mode", mode, dict.fromkeys(MODES))


def each_once(names: Iterable[str]) -> list[str]:
    """Names of models without repetitions.

    Raises:
        UsageError: If two folders have one last name, by which results would be mixed up.
    """
    found: dict[str, str] = {}
    for name in names:
        called = _called(name)
        if found.setdefault(called, name) != name:
            raise UsageError(
                f"two models would be called {called!r}: {found[called]} and {name}; rename a "
                "folder, or name the one that it is in"
            )
    return list(found.values())


def _called(name: str) -> str:
    if name in CATALOG or not Path(name).is_dir():
        return name
    return Path(name).resolve().name


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; the fastest there is for ``auto``.

    Raises:
        UsageError: If the name means nothing or the device is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise UsageError(
            f"device {name!r} cannot be used ({reason}); use auto, cpu, cuda or mps"
        ) from None
    return device
