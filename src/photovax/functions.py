"""The functions of ``import photovax``, which return the kind of picture that they are given.

They use ``Immunizer``, ``photovax.checks.check.check`` and ``Adversary`` for single pictures in
memory or in a file. Models stay loaded for the next call.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.attack.recipe import Recipe
from photovax.attack.strength import Aim
from photovax.errors import UsageError
from photovax.machine.host import own_settings
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.load import usual_edit
from photovax.pictures.already import refuse_immunized
from photovax.pictures.compression import Quality, compression_for
from photovax.pictures.masks import load_mask, white_of
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.types import WRITTEN_SUFFIXES
from photovax.ranges import SEEDS

if TYPE_CHECKING:
    from photovax.adversary.edits import Adversary
    from photovax.attack.optimise import Step
    from photovax.checks.check import Check
    from photovax.immunizer import Immunizer

__all__ = ["check", "edit", "immunize"]

File = str | Path | bytes
Picture = Image.Image | np.ndarray | Photo | File
Mask = Image.Image | np.ndarray | str | Path


@own_settings()
def immunize(
    picture: Picture,
    *,
    recipe: str | Path | Recipe = DEFAULT,
    visibility: str | float | None = None,
    budget: float | None = None,
    mode: str | None = None,
    models: str | Path | Sequence[str] = DEFAULT_MODEL,
    mask: Mask | None = None,
    size: int | None = None,
    seed: int | None = None,
    suffix: str | None = None,
    quality: Quality = "same",
    weights: str | Path | None = None,
    networks: Sequence[str | Path] = (),
    device: str = "auto",
    again: bool = False,
    callback: Callable[[Step], None] | None = None,
) -> Any:
    """Immunize a picture.

    Args:
        picture: Pillow image, array (see ``Photo.from_array``), ``Photo``, path of a file, or bytes
            of a file.
        recipe: Name of a preset, path of a recipe file, or ``Recipe``.
        visibility: Largest visibility of the change: ``low``, ``medium``, ``high``, or the least
            ColorVideoVDP (arXiv 2401.11485) in JOD, from 5 to below 10.
        budget: Largest change in 8-bit levels, instead of a visibility.
        mode: Way of editing to attack, for recipes that depend on one: ``instruct``, ``inpaint`` or
            ``img2img``.
        models: Catalogue names or folders; a string is one model.
        mask: Region that may change and that editors keep: white in a picture or its file, true in
            a bool array (H, W). Everything when None.
        size: Short side in pixels at which models are fed the photo; each model's own when None.
        seed: Seed of all random choices; the recipe's when None.
        suffix: Suffix of the file that the result will be saved to, such as ``.jpg``, if that is
            compressed with loss. The change is then made to survive the compression.
        quality: Quality of that file: from 1 to 100, or ``same`` for the compression of the
            picture's own JPEG file (90 for JPEG from other pictures, 85 for AVIF, 60 for HEIC;
            WebP is lossless).
        weights: Folder of weights that do not ship with photovax.
        networks: Files of perturbation networks of these models, as ``photovax train-immunizer``
            writes them, in addition to those that ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        again: Whether to immunize a file that is immunized already, instead of refusing it.
        callback: Function called after every step.

    Returns:
        An image for an image, an array of the same shape and type for an array, and ``Immunized``
        for a ``Photo``, a path or bytes. Its ``image`` is the result as a Pillow image, and its
        ``save`` writes and verifies a file. Its ``missed`` says where a visibility in JOD cannot be
        kept; for images and arrays that is a warning.

    Raises:
        PhotovaxError: If an argument, file or model cannot be used; its subclasses are those of
            ``photovax.errors``.
        KeyboardInterrupt: If interrupted by Ctrl-C; ``Immunizer.immunize`` returns the best so far.
    """
    photo = _photo(picture)
    if isinstance(picture, str | Path) and not again:
        refuse_immunized(Path(picture), photo)
    chosen = load_recipe(str(recipe)) if isinstance(recipe, str | Path) else recipe
    aim = None if visibility is None or isinstance(visibility, str) else Aim(jod=visibility)
    chosen = chosen.adjusted(levels=budget, visibility=visibility, mode=mode, size=size, seed=seed)
    immunizer = _immunizer(
        _names(models),
        None if weights is None else Path(weights).resolve(),
        tuple(_State.of(Path(file)) for file in networks),
        device,
    )
    given = None if mask is None else _mask(mask, photo)
    compression = compression_for(_suffix(suffix), photo.compression, quality)
    result = immunizer.immunize(
        photo, chosen, mask=given, aim=aim, compression=compression, callback=callback
    )
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    if result.missed and isinstance(picture, Image.Image | np.ndarray):
        warnings.warn(result.missed, stacklevel=3)  # an image cannot say it
    if isinstance(picture, str | Path):
        result = replace(result, source=Path(picture))
    if isinstance(picture, Image.Image):
        return result.image
    return result.photo.to_array(picture) if isinstance(picture, np.ndarray) else result


@own_settings()
def check(
    picture: Picture,
    original: Picture,
    *,
    models: str | Path | Sequence[str] = DEFAULT_MODEL,
    weights: str | Path | None = None,
    size: int | None = None,
    survival: bool = False,
    device: str = "auto",
) -> Check:
    """Measure how strongly a picture is immunized, compared with its original.

    Args:
        picture: Immunized picture, of any kind that ``immunize`` takes, or a copy that was resized,
            cropped or saved as JPEG.
        original: Original picture, of any such kind.
        models: Catalogue names or folders; a string is one model.
        weights: Folder of weights that do not ship with photovax.
        size: Short side in pixels at which models are fed the photo; each model's own when None.
        survival: Whether to measure what common treatments (compression, resizing, platforms,
            filters) leave of the effect, too, which takes some seconds.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Returns:
        The distortion, the visibility of the change, the effect on each model, the verdict, and
        with ``survival`` what is left after each treatment.

    Raises:
        PhotovaxError: If an argument, file or model cannot be used; its subclasses are those of
            ``photovax.errors``.
    """
    from photovax.checks.check import check as check_photo

    return check_photo(
        _photo(picture),
        _photo(original),
        models=_names(models),
        weights=weights,
        size=size,
        survival=survival,
        device=device,
    )


@own_settings()
def edit(
    picture: Picture,
    prompt: str,
    *,
    mode: Literal["instruct", "inpaint", "img2img"] | None = None,
    model: str = DEFAULT_MODEL,
    mask: Mask | None = None,
    strength: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    size: int | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
) -> Any:
    """Edit a picture as an adversary would.

    Args:
        picture: Picture, of any kind that ``immunize`` takes.
        prompt: Instruction, or description for ``inpaint`` and ``img2img``.
        mode: Way of editing; when None, ``inpaint`` with a mask and ``instruct`` without one.
        model: Catalogue name or folder of the editor.
        mask: Region that ``inpaint`` keeps: white in a picture or its file, true in a bool array
            (H, W).
        strength: Share of the noise that ``img2img`` and ``inpaint`` add, above 0 and up to 1; the
            model's usual share when None.
        steps: Number of denoising steps; the model's usual number when None.
        seed: Seed of the noise.
        size: Short side in pixels at which the editor is fed the photo; its own when None.
        weights: Folder of weights that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Returns:
        The edited picture at the editor's size: an array, uint8 (H, W, 3), for an array, and a
        Pillow image for all other kinds.

    Raises:
        PhotovaxError: If an argument, file or model cannot be used; its subclasses are those of
            ``photovax.errors``.
    """
    photo = _photo(picture)
    if seed not in SEEDS:
        raise UsageError(f"a seed must be a whole number {SEEDS}, got {seed!r}")
    chosen = mode or ("instruct" if mask is None else "inpaint")
    if mask is not None and chosen != "inpaint":
        raise UsageError(f"a mask is for inpainting, not for {chosen}: leave one of them out")
    asked = replace(usual_edit(model, chosen), prompt=prompt)
    given: dict[str, Any] = {"strength": strength, "steps": steps}
    asked = replace(asked, **{name: value for name, value in given.items() if value is not None})
    place = None if weights is None else Path(weights).resolve()
    adversary = _adversary(model, place, device)
    repaint = None if mask is None else ~_mask(mask, photo)
    made = adversary.edit(photo.visible(), asked, seed=seed, repaint=repaint, size=size)
    return made if isinstance(picture, np.ndarray) else Image.fromarray(made)


def _names(models: str | Path | Sequence[str]) -> tuple[str, ...]:
    return (str(models),) if isinstance(models, str | Path) else tuple(map(str, models))


@dataclass(frozen=True)
class _State:
    """A file and its state: one that is written anew is read anew."""

    file: Path
    size: int
    changed: int

    @classmethod
    def of(cls, file: Path) -> _State:
        try:
            found = file.stat()
        except OSError:  # its reader says what is wrong
            return cls(file.resolve(), 0, 0)
        return cls(file.resolve(), found.st_size, found.st_mtime_ns)


def _suffix(suffix: str | None) -> str:
    """A suffix in lower case, with its dot."""
    if not suffix:
        return ""
    ending = f".{suffix.lower().removeprefix('.')}"
    if ending not in WRITTEN_SUFFIXES:
        known = ", ".join(sorted(WRITTEN_SUFFIXES))
        raise UsageError(f"a suffix must be one of {known}, got {suffix!r}")
    return ending


def _photo(picture: Picture) -> Photo:
    if isinstance(picture, Photo):
        return picture
    if isinstance(picture, Image.Image):
        return Photo.from_image(picture)
    if isinstance(picture, np.ndarray):
        return Photo.from_array(picture)
    if isinstance(picture, str | Path | bytes):
        return read_photo(picture)
    raise UsageError(
        "a picture must be a Pillow image, a NumPy array, a Photo, a path or bytes, got "
        f"{type(picture).__name__}"
    )


def _mask(mask: Mask, photo: Photo) -> np.ndarray:
    """The pixels that an editor keeps, bool (H, W), from a mask of any kind."""
    if isinstance(mask, str | Path):
        return load_mask(Path(mask), photo)
    if isinstance(mask, np.ndarray) and mask.dtype == np.bool_:
        mask = mask.astype(np.uint8) * 255
    kept: np.ndarray = white_of(_photo(mask), photo, name="the mask")
    return kept


# Only two are kept, since a model takes hundreds of megabytes.
@lru_cache(maxsize=2)
def _immunizer(
    models: tuple[str, ...], weights: Path | None, networks: tuple[_State, ...], device: str
) -> Immunizer:
    from photovax.immunizer import Immunizer

    files = [each.file for each in networks]
    return Immunizer(models, weights=weights, networks=files, device=device)


@lru_cache(maxsize=2)
def _adversary(model: str, weights: Path | None, device: str) -> Adversary:
    from photovax.adversary.edits import Adversary

    return Adversary(model, weights=weights, device=device)
