"""Description of a model for users."""

from __future__ import annotations

from typing import Any

from photovax.models.catalog import hub
from photovax.models.catalog.entries import CATALOG, Entry, Source
from photovax.models.catalog.places import no_model

__all__ = ["described"]


def described(name: str) -> dict[str, Any]:
    """Describe a model of the catalogue, and where its weights are.

    Returns:
        Texts by topic, some of them empty; ``here``, whether the weights are on this machine (not
        counting folders given with ``--weights``); ``megabytes`` of weights that ship with
        photovax; and ``sources``, a list.

    Raises:
        UnknownName: If the name is not in the catalogue.
        ModelError: If it is a file.
    """
    if name not in CATALOG:
        raise no_model(name)
    entry = CATALOG[name]
    whole = entry.whole
    megabytes = 0.0
    if entry.folder is not None:
        files = entry.folder.glob("*/*.safetensors")
        megabytes = round(sum(file.stat().st_size for file in files) / 1e6, 1)
    place = entry.folder or next(
        filter(None, (hub.cached(source, whole=whole) for source in entry.sources)), None
    )
    return {
        "summary": entry.summary,
        "here": place is not None,
        "weights": _weights(name, entry) if place is None else str(place),
        "megabytes": megabytes,
        "latent": str(entry.latent),
        "licence": entry.licence + (" (to be accepted on the hub)" if entry.gated else ""),
        "memory": f"about {entry.memory} for a step of an encoder attack at its own size",
        "pace": entry.pace,
        "size": f"{entry.size} pixels on the short side",
        "attacks": ", ".join(entry.attacks),
        "edits": ", ".join(entry.edits),
        "denoiser": f"of {entry.denoiser}" if entry.denoiser else "",
        "note": entry.note,
        "sources": [_source(source) for source in entry.sources],
        "command": hub.command(name, entry.sources[0], whole=whole) if entry.sources else "",
        "by hand": hub.by_hand(name, entry, whole=False) if entry.folder is None else "",
    }


def _weights(name: str, entry: Entry) -> str:
    if not entry.sources:
        return f"{' and '.join(entry.files)}, in the folder that --weights names"
    return f"photovax models pull {name} ({entry.download})"


def _source(source: Source) -> str:
    revision = f" at {source.revision}" if source.revision else ""
    return f"{source.repository}{revision}{', gated' if source.gated else ''}"
