"""Immunization of many photos, one after another, continuing after errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from photovax.attack.optimise import Step
from photovax.attack.recipe import Recipe
from photovax.attack.strength import Aim
from photovax.errors import PhotovaxError
from photovax.immunized import Immunized, Saved
from photovax.immunizer import Immunizer
from photovax.pictures.already import refuse_immunized
from photovax.pictures.compression import Quality, compression_for
from photovax.pictures.masks import load_mask
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import read_photo
from photovax.pictures.pillow import MAX_PIXELS

__all__ = ["MaskOptions", "Outcome", "immunize_files"]


@dataclass(frozen=True)
class MaskOptions:
    """A mask file and the meaning of its white; see ``photovax.pictures.masks``.

    Attributes:
        path: Picture of the photo's size.
        edit_region: Whether white marks the region that an editor repaints, not the one it keeps.
    """

    path: Path
    edit_region: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of one photo and its file, or an error.

    Attributes:
        source: Photo that was given.
        result: Immunized photo; None after an error.
        saved: Saved file and its measurements; None after an error.
        error: Error; None if the photo was immunized.
    """

    source: Path
    result: Immunized | None = None
    saved: Saved | None = None
    error: PhotovaxError | None = None

    @property
    def failure(self) -> str:
        """The error and how to put it right, in one line; empty where there is none."""
        return "" if self.error is None else self.error.line


def immunize_files(
    immunizer: Immunizer,
    outputs: Mapping[Path, Path],
    recipe: Recipe,
    *,
    mask: MaskOptions | None = None,
    aim: Aim | None = None,
    seconds: float | None = None,
    quality: Quality = "same",
    overwrite: bool = False,
    strip_gps: bool = False,
    forbid_ai: bool = False,
    again: bool = False,
    max_pixels: int = MAX_PIXELS,
    callback: Callable[[Path, Step], None] | None = None,
) -> Iterator[Outcome]:
    """Immunize photos one after another, and yield an outcome for each.

    A photo that cannot be immunized yields its error, and the next one follows. After an
    interruption the current photo is saved with the best result so far, and no other is begun.

    Args:
        immunizer: Loaded models.
        outputs: Path of the result for each photo.
        recipe: Recipe for all photos.
        mask: Mask for all photos; None if every pixel may change.
        aim: Strength to search for; None for the recipe's.
        seconds: Time for each photo, in seconds; None for the recipe's number of steps.
        quality: Quality of JPEG and WebP files; see ``compression_for``.
        overwrite: Whether files that exist may be replaced.
        strip_gps: Whether to remove the location from the metadata.
        forbid_ai: Whether to state in XMP that training AI and AI editing are forbidden.
        again: Whether to immunize photos that are immunized already, instead of refusing them.
        max_pixels: Largest width x height that is decoded.
        callback: Function that is called with the photo and each step.
    """
    for source, output in outputs.items():
        try:
            destination = Destination(output, overwrite, source)
            destination.check()
            photo = read_photo(source, max_pixels=max_pixels)
            if not again:
                refuse_immunized(source, photo)
            if strip_gps:
                photo = photo.without_gps()
            if forbid_ai:
                photo = photo.forbidding_ai()
            allowed = (
                None if mask is None else load_mask(mask.path, photo, edit_region=mask.edit_region)
            )
            compression = compression_for(destination.suffix, photo.compression, quality)
            masked = allowed is not None and not allowed.all()
            destination.check_fits(photo, masked=masked, compression=compression)
            result = immunizer.immunize(
                photo,
                recipe,
                mask=allowed,
                aim=aim,
                compression=compression,
                seconds=seconds,
                callback=callback and (lambda step, at=source: callback(at, step)),
            )
            saved = immunizer.save(result, destination)
        except PhotovaxError as error:
            yield Outcome(source, error=error)
            continue
        yield Outcome(source, result, saved)
        if result.stopped == "interrupted":
            return
