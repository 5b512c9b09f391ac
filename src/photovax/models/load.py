"""Loading of models by name, folder, file or hub id.

Imports nothing heavy until a model is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from photovax.errors import ModelError, UsageError
from photovax.models.catalog.entries import CATALOG, USUAL_EDITS, Entry
from photovax.models.catalog.fits import check_fits
from photovax.models.catalog.flows import flow_of
from photovax.models.catalog.holdings import (
    NAMED_BY_CONFIGURATION,
    NAMED_BY_HUB,
    NAMED_BY_TENSORS,
    PACKAGED,
    check_holding,
)
from photovax.models.catalog.places import (
    autoencoder_in,
    autoencoder_place,
    called,
    fed_size,
    holds_transformer,
    model_folder,
    no_model,
)
from photovax.models.edit import MODES, Edit, Mode
from photovax.registry import unknown

if TYPE_CHECKING:
    import torch

    from photovax.models.contracts import Autoencoder
    from photovax.models.transformer.editor import FlowEditor
    from photovax.models.unet.editor import LatentEditor

__all__ = [
    "CATALOG",
    "Entry",
    "load_autoencoder",
    "load_editor",
    "pull",
    "usual_edit",
    "usual_edits",
]


def load_autoencoder(
    name: str, *, device: torch.device, weights: Path | None = None
) -> Autoencoder:
    """Load the autoencoder of a model.

    The weights of a catalogue name are searched in ``weights``, then in the hub's cache. Any
    other name is a folder (a pipeline's or its autoencoder's) or the id of a cached repository.

    Args:
        name: Catalogue name, folder, or ``owner/name``.
        device: Device to load it on.
        weights: Folder that holds ``NAME`` (a diffusers folder), ``NAME.safetensors`` or the
            model's loose weight files; or that folder or file itself.

    Raises:
        UnknownName: If the name is none of these.
        ModelError: If its weights are missing, cannot be loaded, or are of another model.
    """
    from photovax.models.autoencoders.load import load_folder

    if name not in CATALOG:
        folder = autoencoder_in(model_folder(name))
        return load_folder(folder, name=called(name), device=device, size=fed_size(name))
    if "vae" in CATALOG[name].lent:
        return _lent_autoencoder(name, device, weights)
    place = autoencoder_place(name, weights)
    by = None
    if place.is_file():
        by = NAMED_BY_TENSORS if check_holding(name, place).names else None
    elif check_fits(name, place):
        by = NAMED_BY_CONFIGURATION
    loaded = _load_known(name, place, device)
    if CATALOG[name].packaged:
        by = PACKAGED
    elif weights is None or not place.is_relative_to(weights):
        by = NAMED_BY_HUB
    elif by is None:
        from photovax.models.autoencoders.likeness import named_by_weights

        by = named_by_weights(name, loaded, place)
    loaded.identified_by = by
    return loaded


def _lent_autoencoder(name: str, device: torch.device, weights: Path | None) -> Autoencoder:
    """The autoencoder that another model lends, as this model's."""
    entry = CATALOG[name]
    loaded = load_autoencoder(entry.lent["vae"], device=device, weights=weights)
    loaded.name, loaded.size = name, entry.size
    return loaded


def _load_known(name: str, place: Path, device: torch.device) -> Autoencoder:
    """Load the autoencoder of a catalogue's model from the folder or file that holds it."""
    from photovax.models.autoencoders.load import load_file, load_folder

    entry = CATALOG[name]
    loose = bool(entry.files) and all((place / file).is_file() for file in entry.files)
    if loose or (not entry.config and entry.folder is None):
        from photovax.models.autoencoders.tiny import TinyAutoencoder

        return TinyAutoencoder.load(place, design=name, name=name, device=device, size=entry.size)
    if place.is_file():
        return load_file(place, entry.config, name=name, device=device, size=entry.size)
    return load_folder(place, name=name, device=device, size=entry.size)


def load_editor(
    name: str,
    *,
    device: torch.device,
    autoencoder: Autoencoder | None = None,
    weights: Path | None = None,
) -> LatentEditor | FlowEditor:
    """Load a whole editor by catalogue name, diffusers pipeline folder or cached hub id.

    Args:
        name: Catalogue name, folder, or ``owner/name``.
        device: Device to load it on.
        autoencoder: Its autoencoder, if that is loaded already.
        weights: Folder of weights, as for ``load_autoencoder``.

    Raises:
        UnknownName: If the name is none of these.
        ModelError: If its weights are missing or cannot be loaded, or are of a pipeline whose edits
            are not run here.
    """
    folder = model_folder(name, weights=weights)
    if holds_transformer(folder):
        from photovax.models.transformer.load import load_flow

        return load_flow(folder, name=called(name), device=device, autoencoder=autoencoder)
    from photovax.models.unet.editor import LatentEditor

    return LatentEditor.from_folder(
        folder, name=called(name), device=device, autoencoder=autoencoder
    )


def pull(name: str, *, whole: bool) -> Path:
    """Download the weights of a catalogue's model into the hub's cache.

    Args:
        name: Catalogue name.
        whole: Whether to download its denoiser and text encoders as well, where it has them, and
            not its autoencoder alone.

    Returns:
        The folder that holds them.

    Raises:
        UnknownName: If the name is not in the catalogue.
        ModelError: If the hub cannot be reached or refuses the download.
    """
    from photovax.models.catalog import hub

    if name not in CATALOG:
        raise no_model(name)
    entry = CATALOG[name]
    if "vae" in entry.lent:
        return pull(entry.lent["vae"], whole=False)
    if entry.folder is not None:
        return entry.folder
    return hub.pull(name, entry, whole=whole and entry.whole)


def usual_edit(name: str, mode: str) -> Edit:
    """The usual settings of a model for one way of editing, with an empty prompt.

    Raises:
        UnknownName: If there is no such model or way of editing.
        ModelError: If the model is only an autoencoder, or its edits are not run here.
        UsageError: If the model edits in other ways only.
    """
    known = usual_edits(name)
    for usual, edit in known.items():
        if usual == mode:
            return edit
    if mode not in MODES:
        raise unknown("mode", mode, dict.fromkeys(MODES))
    raise UsageError(f"model {name} cannot {mode}; it knows {', '.join(known)}")


def usual_edits(name: str) -> dict[Mode, Edit]:
    """The usual settings of a model for each way of editing that it knows, with empty prompts.

    A folder with UNets may know fewer.

    Raises:
        UnknownName: If there is no such model.
        ModelError: If the model is only an autoencoder, or its edits are not run here.
    """
    if name in CATALOG:
        edits = CATALOG[name].edits
        if not edits:
            raise ModelError(f"model {name} is only an autoencoder: it cannot edit")
        return {mode: edits[mode] for mode in MODES if mode in edits}
    folder = model_folder(name)
    if not holds_transformer(folder):
        return USUAL_EDITS
    edit = flow_of(folder, name=name)[2]
    return {edit.mode: edit}
