"""Saving of results: the file is written, reopened, verified and measured, and gets a record."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from photovax.attack.budgets import TOLERANCE
from photovax.attack.decoded import within_file
from photovax.checks.check import saved_effects, saved_survival
from photovax.checks.verdicts import ModelCheck, weakest
from photovax.digests import file_digest
from photovax.errors import BudgetExceeded, MetricUnavailable, PhotovaxError, first_line
from photovax.immunized import Compressed, Immunized, Saved
from photovax.machine.allocator import kept_memory
from photovax.metrics.distortion import visibility
from photovax.metrics.latent import LatentEffect, latent_effect
from photovax.metrics.visibility import VIEWING, VisibleDifference, visible_difference
from photovax.models.contracts import Autoencoder
from photovax.pictures.atomic import write_bytes, write_text
from photovax.pictures.compression import HIGHER_QUALITY, Compression, least_loss
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.rights import forbids_training
from photovax.pictures.write import write_photo
from photovax.tensors import tensor
from photovax.version import VERSION

__all__ = ["Extra", "always", "check_promises", "save"]

Extra = Literal["visibility", "survival"]
"""Measurements that may be left out: SSIM, JOD and FLIP, and what common treatments leave."""

_NO_TIME = "no time left"


def always(measurement: Extra) -> bool:
    """True: there is time for every measurement."""
    return True


def check_promises(result: Immunized, reopened: Photo, shown: Photo | None = None) -> None:
    """Verify a reopened file against the result it was written from.

    Args:
        result: Result that was written.
        reopened: Photo that was read from the file.
        shown: Photo that the file must show, where its compression changes pixels on purpose. The
            budget then bounds ``result.photo``, which was compressed.

    Raises:
        BudgetExceeded: If size, channels, pixels, transparency, rights or a JPEG's gain map differ,
            a pixel outside the mask changed, but for hidden ones of an AVIF, or the change exceeds
            the budget.
    """
    given, promised = result.original, result.photo
    in_jpeg = reopened.format in ("JPEG", "MPO")
    kept = ~result.allowed
    if reopened.format == "AVIF":  # whose codec changes colours that are hidden
        kept &= given.opaque
    broken = None
    if reopened.pixels.shape != given.pixels.shape:
        broken = f"shape {reopened.pixels.shape} instead of {given.pixels.shape}"
    elif not np.array_equal(reopened.pixels, (shown or promised).pixels):
        broken = "pixels other than those that were written"
    elif not _same(given.alpha, reopened.alpha):
        broken = "a different transparency"
    elif forbids_training(promised.metadata) and not forbids_training(reopened.metadata):
        broken = "no statement against AI training"
    elif in_jpeg and reopened.gain_map != promised.gain_map:
        broken = "a different gain map"
    elif (promised.pixels != given.pixels)[kept].any():
        broken = "changes outside the mask"
    else:
        after, before = (tensor(photo.visible()) for photo in (promised, given))
        size = result.constraint.size(after, before).item()
        if size > 1 + TOLERANCE:
            broken = f"{size:.4f} of the budget"
    if broken is not None:
        raise BudgetExceeded(f"the saved file would have {broken}; nothing was saved")


def save(
    result: Immunized,
    path: str | Path | Destination,
    models: Sequence[Autoencoder],
    digests: Sequence[str],
    device: torch.device,
    *,
    memory: int | None = None,
    overwrite: bool = False,
    survival: bool = False,
    checked: bool = False,
    measure: bool = True,
    time_for: Callable[[Extra], bool] = always,
) -> Saved:
    """Write a photo, verify the reopened file, measure it, and write its record next to it.

    Args:
        result: Result of the immunization.
        path: File to write, or a ``Destination`` that is already checked.
        models: Autoencoders on which to measure the effect.
        digests: SHA-256 of the attacked weights of each model, in hexadecimal digits.
        device: Device of the models.
        memory: Memory limit of the process in bytes; all that the system has left when None.
        overwrite: Whether existing files may be replaced; a ``Destination`` states it itself.
        survival: Whether to measure what common treatments leave of the effect, too.
        checked: Whether to find out what ``photovax check`` says of the file, too.
        measure: Whether to measure visibility and effect; see ``Immunizer.save``.
        time_for: Function that is asked before each measurement that may be left out.

    Raises:
        BudgetExceeded, OutputExists, SaveError, MetricUnavailable: See ``Immunizer.save``.
    """
    if isinstance(path, Destination):
        destination = path
    else:
        destination = Destination(Path(path), overwrite)
        destination.check()
        destination.check_fits(result.photo, masked=result.masked, compression=result.compression)
    result = replace(result, compression=destination.fitting(result.compression))
    written = result.photo
    finest = least_loss(destination.suffix)
    if result.compression is None and finest is not None:
        written, shown = within_file(written, result.original.pixels, result.constraint, finest)
        result = replace(result, photo=shown)
    _check_left(result)

    named = [
        {"name": model.name, "sha256": digest, "identified_by": model.identified_by}
        for model, digest in zip(models, digests, strict=True)
    ]
    saved: Saved | None = None
    unmeasured: Exception | None = None
    recorded, former = False, _former(destination.record)

    def finish(file: Path) -> None:
        nonlocal saved, unmeasured, recorded
        most = result.photo.height * result.photo.width
        reopened = read_photo(file, max_pixels=most)
        check_promises(result, reopened, result.shown)
        # WebP, AVIF and HEIC files do not say how they are compressed.
        known = replace(reopened, compression=result.compression or reopened.compression)
        try:
            saved = _measured(
                result,
                known,
                destination,
                models,
                device,
                memory=memory,
                checked=checked,
                measure=measure,
                time_for=time_for,
            )
        except (MemoryError, RuntimeError) as error:  # which must not throw away the work
            unmeasured = error
        wanted = survival and measure
        if wanted and saved is not None and not time_for("survival"):
            note = f"what treatments leave was not measured: {_NO_TIME}; --survival of check does"
            saved = replace(saved, notes=(*saved.notes, note))
        elif wanted and saved is not None:
            saved = _with_survival(saved, known, result, models, device, roomy=memory is None)
        # The record comes first: a photo without one would be nobody's after a loss of power.
        _write_record(result, saved, named, device, destination, file_digest(file))
        recorded = True

    try:
        write_photo(written, destination, compression=result.compression, verify=finish)
    except BaseException:
        if recorded:
            _put_back(destination.record, former)
        raise
    if saved is None:
        raise MetricUnavailable(
            f"{destination.path} is written and verified, but it could not be measured: "
            f"{first_line(unmeasured or MemoryError())}"
        ) from unmeasured
    return saved


def _former(record: Path) -> bytes | None:
    """The record that a file has already, if it can be read."""
    try:
        return record.read_bytes()
    except OSError:
        return None


def _put_back(record: Path, former: bytes | None) -> None:
    """Undo the writing of a record, whose photo could not be written."""
    if former is None:
        record.unlink(missing_ok=True)
    else:
        write_bytes(former, record, overwrite=True)


def _with_survival(
    saved: Saved,
    reopened: Photo,
    result: Immunized,
    models: Sequence[Autoencoder],
    device: torch.device,
    *,
    roomy: bool,
) -> Saved:
    """What was measured of a file, with what common treatments leave, or a note of why not.

    Args:
        saved: Saved file and its measurements.
        reopened: Photo that was read from the file.
        result: Result that was written.
        models: Autoencoders on which the effect was measured.
        device: Device of the models.
        roomy: Whether memory is not limited.
    """
    fed = [(model, saved.effects[model.name].size) for model in models]
    fresh = {name: effect.shift for name, effect in saved.effects.items()}
    # Those of a check compare as the treated photos are compared: after the file's compression.
    fresh |= {name: found.effect.shift for name, found in (saved.checks or {}).items()}
    try:
        left = saved_survival(reopened, result.original, fed, fresh, device, roomy=roomy)
    except (MemoryError, RuntimeError, PhotovaxError) as error:  # which must not lose the work
        note = f"what treatments leave was not measured: {first_line(error)}"
        return replace(saved, notes=(*saved.notes, note))
    return replace(saved, survival=left)


def _check_left(result: Immunized) -> None:
    """Refuse a compression that makes the same file of the photo as of its original.

    Raises:
        BudgetExceeded: If nothing of the change is left.
    """
    compression, shown = result.compression, result.shown.visible()
    if compression is None:
        return
    if np.array_equal(shown, result.original.compressed(compression).visible()):
        raise BudgetExceeded(
            f"{compression.label}: nothing of the change is left after this compression; nothing "
            "was saved",
            hint=HIGHER_QUALITY,
        )


def _measured(
    result: Immunized,
    reopened: Photo,
    destination: Destination,
    models: Sequence[Autoencoder],
    device: torch.device,
    *,
    memory: int | None,
    checked: bool,
    measure: bool,
    time_for: Callable[[Extra], bool],
) -> Saved:
    """Measure a written file, whose pixels are those of ``result.shown``.

    Args:
        result: Result that was written.
        reopened: Photo that was read from the file, with its compression.
        destination: Destination of the file.
        models: Autoencoders on which to measure the effect.
        device: Device of the models.
        memory: Memory limit of the process in bytes; all that the system has left when None.
        checked: Whether to find out what ``photovax check`` says, too.
        measure: Whether to measure visibility and effect.
        time_for: Function that is asked before each measurement that may be left out.
    """
    before, after = result.original.visible(), result.shown.visible()
    fed = [(model, result.recipe.size or model.size) for model in models]
    effects: dict[str, LatentEffect] = {}
    checks: dict[str, ModelCheck] | None = None
    # Floats of one large picture after the other: clearing their pages takes as long as the rest.
    with kept_memory() if memory is None else nullcontext():
        if measure and checked:
            effects, checks = saved_effects(reopened, result.original, fed, device)
        elif measure:
            effects = {
                model.name: latent_effect(model, before, after, device, size=size)
                for model, size in fed
            }
    seen = measure and time_for("visibility")
    why = f"{_NO_TIME}; photovax check measures it" if measure else "not asked for"
    return Saved(
        path=destination.path,
        record=destination.record,
        notes=_notes(result, destination),
        visible=visibility(before, after, structure=seen),
        seen=visible_difference(before, after, memory=memory)
        if seen
        else VisibleDifference(None, None, None, why),
        effects=effects,
        compressed=None
        if result.compression is None
        else _compressed(result, result.compression, structure=seen),
        checks=checks,
    )


def _notes(result: Immunized, destination: Destination) -> tuple[str, ...]:
    """Lines on what the file does not keep, and on a strength that was not reached."""
    return (*destination.notes(result.original), *([result.missed] if result.missed else []))


def _compressed(result: Immunized, compression: Compression, *, structure: bool) -> Compressed:
    original = result.original
    before = original.visible()
    return Compressed(
        compression,
        asked=visibility(before, result.photo.visible(), structure=structure),
        alone=visibility(before, original.compressed(compression).visible(), structure=structure),
    )


def _write_record(
    result: Immunized,
    saved: Saved | None,
    models: Sequence[Mapping[str, str]],
    device: torch.device,
    destination: Destination,
    sha256: str,
) -> None:
    """Write the record: a JSON file with all settings and measurements.

    It is a separate file, so that the photo itself does not reveal how it was made.

    Args:
        result: Result that was written.
        saved: Saved file and its measurements; None if it could not be measured.
        models: For each model its name, the SHA-256 of the attacked weights, and what says that
            they are of that model.
        device: Device of the immunization.
        destination: Destination of the photo.
        sha256: SHA-256 of the photo's file, in hexadecimal digits.
    """
    record = {
        "photovax": VERSION,
        "photo": destination.path.name,
        "sha256": sha256,
        "recipe": asdict(result.recipe),
        "recipe_digest": result.recipe.digest(),
        "models": list(models),
        "budget": asdict(result.recipe.budget),
        "realised": saved and saved.visible.figures() | saved.seen.figures() | {"viewing": VIEWING},
        "compressed": saved and saved.compressed and saved.compressed.figures(),
        "effects": saved and {name: asdict(effect) for name, effect in saved.effects.items()},
        **({"verdict": weakest(saved.checks).value} if saved and saved.checks else {}),
        **({"survival": saved.survival.figures()} if saved and saved.survival else {}),
        "loss": result.loss,
        "steps": result.steps,
        "passes": result.passes,
        "networks": dict(result.networks),
        "bfloat16_steps": result.quick_steps,
        "stopped": result.stopped,
        "seconds": round(result.seconds, 3),
        "device": str(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": version("diffusers"),
        },
        "notes": list(saved.notes if saved else _notes(result, destination)),
        **destination.facts,
    }
    text = json.dumps(record, indent=1) + "\n"
    write_text(text, destination.record, overwrite=destination.overwrite)


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        # WebP and AVIF drop an alpha channel that is opaque everywhere.
        there = second if first is None else first
        return there is None or bool((there == 255).all())
    return np.array_equal(first, second)
