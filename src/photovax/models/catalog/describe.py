"""Description of a model for users."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from photovax.errors import ModelError
from photovax.models.catalog import hub
from photovax.models.catalog.entries import CATALOG, Entry, Source
from photovax.models.catalog.objects import json_object, unloadable
from photovax.models.catalog.places import (
    WANTED,
    autoencoder_in,
    denoiser_folders,
    fed_size,
    holds_transformer,
    loose_model,
    model_folder,
)
from photovax.models.edit import Mode

__all__ = ["described"]


def described(name: str) -> dict[str, Any]:
    """Describe a model, and where its weights are.

    Args:
        name: Catalogue name, folder, or ``owner/name`` of a cached repository.

    Returns:
        Texts by topic, some of them empty; ``here``, whether weights are on this machine (not
        counting folders given with ``--weights``), and ``whole``, whether these are all of them
        and not the autoencoder alone; ``megabytes`` of weights that ship with photovax, or are in
        the folder; and, of catalogue names, ``sources``, a list.

    Raises:
        UnknownName: If the name is none of these.
        ModelError: If it is a file, or a folder without a model.
    """
    if name not in CATALOG:
        return _described_folder(name, model_folder(name))
    entry = CATALOG[name]
    lender = entry.lent.get("vae", name)  # of what has to be downloaded
    missing = CATALOG[lender]
    complete = entry.folder if entry.packaged else _cached(missing, whole=missing.whole)
    part = None if complete is not None else _cached(missing, whole=False)
    return {
        "summary": entry.summary,
        "here": complete is not None or part is not None,
        "whole": complete is not None,
        "weights": _weights(lender, missing, complete, part),
        "megabytes": 0.0 if entry.folder is None else _megabytes(entry.folder),
        "latent": str(entry.latent),
        "licence": entry.licence + (" (to be accepted on the hub)" if entry.gated else ""),
        "memory": f"about {entry.memory} for a step on latents at its own size; up to three times "
        "as much for one that decodes, as those of fast, or a tenth more time",
        "pace": entry.pace,
        "size": f"{entry.size} pixels on the short side",
        "attacks": ", ".join(entry.attacks),
        "edits": ", ".join(entry.edits),
        "proven": entry.proven,
        "note": entry.note,
        "sources": [_source(source) for source in missing.sources],
        "command": _command(lender, missing),
        "by hand": "" if entry.packaged else hub.by_hand(lender, missing, whole=False),
    }


def _described_folder(name: str, folder: Path) -> dict[str, Any]:
    own = autoencoder_in(folder)
    file, loose = own / "config.json", loose_model(own)
    if loose is None and not file.is_file():
        raise ModelError(f"model {name}: no config.json in {own}; {WANTED}")
    transformer = folder / "transformer" / "config.json"
    try:
        config = json_object(file) if loose is None else {"_class_name": loose}
        denoiser = json_object(transformer) if holds_transformer(folder) else {}
    except (OSError, ValueError) as error:
        raise unloadable(name, folder, error) from None
    edits: list[Mode] = []
    if any(folder.glob("unet*/config.json")):
        edits = list(denoiser_folders(folder, name=name))
    elif denoiser:
        with suppress(ModelError):  # of other transformers, the autoencoder can be attacked
            edits = list(denoiser_folders(folder, name=name))
    attacks = ["latent", *["denoiser", "edit"] * bool(edits)]
    channels = config.get("latent_channels", config.get("z_dim"))
    if loose is not None:
        channels = CATALOG[loose].latent.channels
    return {
        "summary": f"{'a pipeline' if own != folder else 'an autoencoder'} in a folder",
        "here": True,
        "whole": True,
        "weights": str(folder),
        "megabytes": _megabytes(folder),
        "autoencoder": str(config.get("_class_name", "unknown")),
        "latent": "" if channels is None else f"{channels} channels",
        "size": f"{fed_size(name)} pixels on the short side",
        "attacks": ", ".join(attacks),
        "edits": ", ".join(edits),
        "denoiser": str(denoiser.get("_class_name", "")),
    }


def _megabytes(folder: Path) -> float:
    files = [*folder.rglob("*.safetensors"), *folder.glob("**/*_*coder.pth")]
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def _cached(entry: Entry, *, whole: bool) -> Path | None:
    places = (hub.cached(source, whole=whole) for source in entry.sources)
    return next(filter(None, places), None)


def _weights(name: str, entry: Entry, complete: Path | None, part: Path | None) -> str:
    if complete is not None:
        return str(complete)
    if not entry.sources:
        return f"{' and '.join(entry.files)}, in the folder that --weights names"
    pull = f"photovax models pull {name}"
    if part is not None:
        return f"{part}, the autoencoder alone; {pull} --editor ({entry.download})"
    return f"{pull}{' [--editor]' if entry.whole else ''} ({entry.download})"


def _command(name: str, entry: Entry) -> str:
    if not entry.sources:
        return ""
    return hub.command(name, entry.sources[0], whole=entry.whole)


def _source(source: Source) -> str:
    revision = f" at {source.revision}" if source.revision else ""
    return f"{source.repository}{revision}{', gated' if source.gated else ''}"
