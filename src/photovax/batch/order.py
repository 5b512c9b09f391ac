"""What is asked of every photo of a run. Importing this is fast."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from photovax.attack.networks.headers import told_by
from photovax.attack.recipe import Recipe
from photovax.attack.strength import Aim
from photovax.errors import UnreadablePhoto
from photovax.machine.precision import Precision
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.pictures.compression import Quality
from photovax.pictures.pillow import MAX_PIXELS

__all__ = ["MaskOptions", "Order", "brief"]


@dataclass(frozen=True)
class MaskOptions:
    """A mask file and the meaning of its white; see ``photovax.pictures.masks``.

    Attributes:
        path: Picture of the photo's size.
        edit_region: Whether white marks the region that an editor repaints, not the one it keeps.
    """

    path: Path
    edit_region: bool = False

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            UnreadablePhoto: If it cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadablePhoto(f"{self.path}: cannot be read: {reason}") from error


@dataclass(frozen=True)
class Order:
    """What is asked of every photo of a run, for any process or machine that works on it.

    Attributes:
        recipe: Recipe.
        models: Catalogue names or folders.
        weights: Folder of weights that do not ship with photovax.
        networks: Files of perturbation networks that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        memory: Memory limit of a process in bytes; all that the system has left when None.
        precision: Number format of the passes.
        mask: Mask for all photos; None if every pixel may change.
        aim: Strength to search for; None for the recipe's.
        seconds: Time for each photo from start to file, in seconds; None for the recipe's number
            of steps.
        strip_gps: Whether to remove the location from the metadata.
        forbid_ai: Whether to state in XMP that training AI and AI editing are forbidden.
        survival: Whether to measure what common treatments leave of the effect.
        measure: Whether to measure visibility and effect; the budget is verified in any case.
        quality: Quality of JPEG, WebP, AVIF and HEIC files; see ``compression_for``.
        again: Whether to immunize photos that are immunized already, instead of refusing them.
        max_pixels: Largest width x height that is decoded.
        overwrite: Whether files that exist may be replaced.
        keep_times: Whether results get the times of change of their photos.
        keep_partial: Whether the best result so far of an interrupted photo is saved.
        naming: How results are named, such as their suffix.
    """

    recipe: Recipe
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    weights: Path | None = None
    networks: tuple[Path, ...] = ()
    device: str = "auto"
    memory: int | None = None
    precision: Precision = "auto"
    mask: MaskOptions | None = None
    aim: Aim | None = None
    seconds: float | None = None
    strip_gps: bool = False
    forbid_ai: bool = False
    survival: bool = False
    measure: bool = True
    quality: Quality = "same"
    again: bool = False
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False
    keep_times: bool = False
    keep_partial: bool = False
    naming: str = ""

    @property
    def sees(self) -> bool:
        """Whether it is measured how visible changes are."""
        return self.measure or (self.aim is not None and self.aim.jod is not None)

    def digest(self, models: Sequence[str]) -> str:
        """Sixteen hexadecimal digits for everything that decides what a result looks like.

        Args:
            models: SHA-256 of all weights that decide a result, from ``Work.digests``.

        Raises:
            UnreadablePhoto: If the mask, or a target picture of the recipe, cannot be read.
        """
        asked = {
            "recipe": self.recipe.digest(),
            "models": list(models),
            "aim": self._asked_strength(),
            "seconds": self.seconds,
            "mask": self._mask_digest(),
            "strip_gps": self.strip_gps,
            "forbid_ai": self.forbid_ai,
            "quality": self.quality,
            "naming": self.naming,
        }
        # Left out by default: results from before these were counted keep their digest.
        if self.precision != "auto":
            asked["precision"] = self.precision
        if self.recipe.pictures:
            asked["pictures"] = self.recipe.picture_digests()
        return _digest(asked)

    def costs(self) -> str:
        """Sixteen hexadecimal digits for what decides the time and memory of a step."""
        return _digest(
            {
                "recipe": self.recipe.digest(),
                "models": self.models,
                "weights": str(self.weights),
                "networks": [str(file) for file in self.networks],
                "device": self.device,
                "memory": self.memory,
                "precision": self.precision,
            }
        )

    def files(self) -> dict[Path, bytes]:
        """Contents of the mask and networks, which other machines may not have.

        Raises:
            UnreadablePhoto: If the mask cannot be read.
            ModelError: If a network cannot be read.
        """
        found = {} if self.mask is None else {self.mask.path: self.mask.read()}
        for file in self.networks:
            told_by(file)
            found[file] = file.read_bytes()
        return found

    def moved(self, places: Mapping[Path, Path]) -> Order:
        """The order with the mask and networks at other places; those of ``files``."""
        mask = self.mask and replace(self.mask, path=places[self.mask.path])
        return replace(self, mask=mask, networks=tuple(places[file] for file in self.networks))

    def _asked_strength(self) -> dict[str, Any] | None:
        if self.aim is None:
            return None
        asked = asdict(self.aim)
        if not self.aim.within:  # as precision, see above
            del asked["within"]
        return asked

    def _mask_digest(self) -> str | None:
        if self.mask is None:
            return None
        digest = hashlib.sha256(self.mask.read()).hexdigest()
        return f"{digest} {'edit' if self.mask.edit_region else 'keep'}"


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def brief(recipe: Recipe) -> Recipe:
    """A recipe with few steps, by whose duration that of all is estimated."""
    # The first of them takes longer.
    return replace(recipe, steps=3, warm=None)
