"""Purifications: what adversaries do to a photo before editing it, to remove an immunization.

``PURIFICATIONS`` holds the named settings, each a purifier of ``PURIFIERS`` with its options. Heavy
packages are imported only when a purifier that needs them is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from photovax.adversary.purify import (  # noqa: F401 - they register themselves
    denoiser,
    filters,
    models,
    retouching,
    sharing,
)
from photovax.adversary.purify.contract import PURIFIERS, Purifier
from photovax.pictures.chains import CHAINS
from photovax.registry import Part, unknown

__all__ = [
    "PURIFICATIONS",
    "PURIFIERS",
    "THEN",
    "Purifier",
    "in_turn",
    "is_cheap",
    "load_purifier",
    "purification_digest",
]

THEN = "+"
"""Between the names of purifications that are applied in turn, as in ``jpeg75+blur``."""

PURIFICATIONS: dict[str, Part] = {
    "none": Part("identity"),
    "jpeg95": Part("jpeg", {"quality": 95}),
    "jpeg85": Part("jpeg", {"quality": 85}),
    "jpeg75": Part("jpeg", {"quality": 75}),
    "jpeg60": Part("jpeg", {"quality": 60}),
    "webp80": Part("webp", {"quality": 80}),
    "avif": Part("avif"),
    "resize50": Part("resize", {"share": 0.5}),
    "resize75": Part("resize", {"share": 0.75}),
    "resize512": Part("short_side", {"pixels": 512}),
    "cropresize": Part("crop_resize"),
    "rotate2": Part("rotate", {"degrees": 2.0}),
    "noise": Part("noise"),
    "blur": Part("blur"),
    "median": Part("median"),
    "bits5": Part("bits", {"bits": 5}),
    "gamma": Part("gamma"),
    "screenshot": Part("screenshot"),
    **{name: Part("shared", {"chain": name}) for name in CHAINS},
    "adversecleaner": Part("adversecleaner"),
    "nlmeans": Part("nlmeans"),
    "tv": Part("tv"),
    "autoencoder": Part("autoencoder"),
    "denoiser": Part("denoiser"),
    "denoiser-perceptual": Part("denoiser", {"against": "perceptual"}),
    "denoiser-opposed": Part("denoiser", {"against": "opposed"}),
    "impress": Part("impress"),
    "regenerate": Part("regenerate"),
}
"""Purifiers and their options by the name of the purification, roughly from fast to slow."""


_DEAR = ("none", "impress", "regenerate")


def is_cheap(name: str) -> bool:
    """Whether a purification is a single one that takes no minutes at the size editors are fed."""
    return name not in _DEAR and THEN not in name


def in_turn(purifiers: Sequence[Purifier]) -> Purifier:
    """Several purifiers, one after the other."""
    return sharing.InTurn(tuple(purifiers))


def purification_digest(name: str, purifier: Purifier) -> str:
    """A digest of what a purification does: its steps, their options, and their weights.

    Args:
        name: As for ``load_purifier``.
        purifier: What that returned.
    """
    parts = [PURIFICATIONS.get(each) or Part(each) for each in name.split(THEN)]
    steps = [
        step
        for part in parts
        for step in (CHAINS[part.options["chain"]].steps if part.name == "shared" else (part,))
    ]
    told = [[step.name, dict(step.options)] for step in steps]
    made_by = getattr(purifier, "digest", None)
    text = json.dumps([told, made_by], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def load_purifier(name: str, *, device: str = "auto", weights: Path | None = None) -> Purifier:
    """Load a purifier, which can then be used on any number of pictures.

    Args:
        name: A key of ``PURIFICATIONS``, or the name of a registered purifier, such as a plug-in's;
            or several with ``THEN`` between them, which are applied in turn.
        device: Device of purifiers that run a model: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: Folder of weight files that do not ship with photovax.

    Raises:
        UnknownName: If there is no purification of that name.
        UsageError: If a package that it needs is not installed, a plug-in cannot be loaded, or the
            device is not available.
        ModelError: If its model cannot be loaded.
    """
    part = PURIFICATIONS.get(name)
    if part is None and name not in PURIFIERS and THEN in name:
        each = name.split(THEN)
        return in_turn([load_purifier(one, device=device, weights=weights) for one in each])
    if part is None:
        if name not in PURIFIERS:
            raise unknown("purification", name, PURIFICATIONS)
        part = Part(name)
    return PURIFIERS.create(part, device=device, weights=weights)
