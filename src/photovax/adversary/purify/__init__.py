"""What adversaries do to immunized photos before editing them, hoping to wash the change off.

``PURIFICATIONS`` are the settings that users name, made of the purifiers in ``PURIFIERS``.
Nothing heavy is imported before a purifier that needs it is loaded.
"""

from __future__ import annotations

from pathlib import Path

from photovax.adversary.purify import (  # noqa: F401 - they register themselves
    denoiser,
    filters,
    models,
    retouching,
    sharing,
)
from photovax.adversary.purify.contract import PURIFIERS, Purifier
from photovax.registry import Part, unknown

__all__ = ["PURIFICATIONS", "PURIFIERS", "Purifier", "load_purifier"]

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
    "adversecleaner": Part("adversecleaner"),
    "nlmeans": Part("nlmeans"),
    "tv": Part("tv"),
    "autoencoder": Part("autoencoder"),
    "denoiser": Part("denoiser"),
    "impress": Part("impress"),
    "regenerate": Part("regenerate"),
}
"""Purifiers and their options, by what users call them; from cheap to dear."""


def load_purifier(name: str, *, device: str = "auto", weights: Path | None = None) -> Purifier:
    """A purifier, ready for any number of pictures.

    Args:
        name: One of ``PURIFICATIONS``, or a purifier that another package has registered.
        device: Where those with a model run: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: The folder of weight files that do not ship with photovax.

    Raises:
        UnknownName: If the name is not one of them.
        UsageError: If it needs a package that is not installed, or the device is not there.
        ModelError: If its model cannot be loaded.
    """
    part = PURIFICATIONS.get(name)
    if part is None:
        if name not in PURIFIERS:
            raise unknown("purification", name, PURIFICATIONS)
        part = Part(name)
    return PURIFIERS.create(part, device=device, weights=weights)
