"""Models by name, folder, file or hub id: what they are and how they are loaded.

Imports nothing heavy until something is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from photovax.errors import ModelError, UsageError
from photovax.models.catalog.entries import CATALOG, USUAL_EDITS, Entry
from photovax.models.catalog.places import (
    autoencoder_in,
    autoencoder_place,
    called,
    check_fits,
    fed_size,
    holds_transformer,
    model_folder,
    no_whole_edit,
)
from photovax.models.edit import MODES, Edit
from photovax.registry import unknown

if TYPE_CHECKING:
    import torch

    from photovax.models.autoencoders.base import FrozenAutoencoder
    from photovax.models.contracts import Autoencoder
    from photovax.models.transformer.denoiser import FlowDenoiser
    from photovax.models.unet.editor import LatentEditor

__all__ = [
    "CATALOG",
    "Entry",
    "load_autoencoder",
    "load_denoiser",
    "load_editor",
    "pull",
    "usual_edit",
]


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
    from photovax.models.autoencoders.load import load_file, load_folder

    if name not in CATALOG:
        if Path(name).suffix == ".safetensors":
            raise ModelError(
                f"model {name}: a file does not tell which model it is",
                hint=f"say --model NAME --weights {name}, NAME being one of {', '.join(CATALOG)}",
            )
        folder = autoencoder_in(model_folder(name))
        return load_folder(folder, name=called(name), device=device, size=fed_size(name))
    entry = CATALOG[name]
    place = autoencoder_place(name, weights)
    loose = bool(entry.files) and all((place / file).is_file() for file in entry.files)
    if loose or (not entry.config and entry.folder is None):
        from photovax.models.autoencoders.tiny import TinyAutoencoder

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
    from photovax.models.unet.editor import LatentEditor

    if name in CATALOG and CATALOG[name].denoiser is not None:
        raise no_whole_edit(name)
    return LatentEditor.from_folder(
        model_folder(name, weights=weights),
        name=called(name),
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
    from photovax.models.transformer.families import load_flow

    return load_flow(folder, name=called(name), device=device, autoencoder=autoencoder)


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
    from photovax.models.catalog import hub

    if name not in CATALOG:
        raise unknown("model", name, CATALOG)
    entry = CATALOG[name]
    if entry.folder is not None:
        return entry.folder
    return hub.pull(name, entry, whole=whole and entry.whole)


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
