"""Whether photovax works on this machine: versions, device, memory, weights, and a trial run.

Imports nothing heavy until it is asked, and then PyTorch last, so that a broken one is reported.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from photovax.errors import PhotovaxError, first_line
from photovax.machine.allocator import chosen_by_user, is_glibc
from photovax.machine.cores import cores
from photovax.machine.device import pick_device
from photovax.machine.memory import available_bytes
from photovax.machine.precision import quick_passes
from photovax.models.catalog.entries import CATALOG, DEFAULT_MODEL
from photovax.models.catalog.places import autoencoder_in, autoencoder_place, model_folder
from photovax.version import VERSION

__all__ = ["EXTRAS", "Computing", "Diagnosis", "Extra", "Held", "Trial", "diagnose"]

EXTRAS = {
    "evaluate": "photovax evaluate: its metrics, purifications and report",
    "certificates": "photovax certificate, register and renew",
    "service": "photovax serve, and the client for Python",
    "faces": "the distance between faces in photovax evaluate",
    "visibility": "JOD, FLIP, and --visibility as a number",
    "postgres": "photovax serve --database, for services that share their jobs",
    "c2pa": "photovax sign: Content Credentials",
    "heic": "HEIC and HEIF photos",
    "watch": "photovax immunize --watch",
    "cluster": "photovax immunize and serve --cluster, on several machines",
    "s3": "photos and results at s3://",
    "onnx": "photovax models export-network, for runtimes other than PyTorch",
}
"""The optional extras of the package, and what each is for."""

SCARCE = 2**30
"""Bytes of available memory below which an immunization may fail."""

_NAME = "photovax"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_SIDE = 128
_LARGER = 160  # a photo that models are fed smaller, as most are
_STEPS = 4


@dataclass(frozen=True)
class Extra:
    """One optional extra of the package.

    Attributes:
        purpose: What it is for.
        lacking: Its packages that are missing or of another version; empty if it can be used.
    """

    purpose: str
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Held:
    """Weights on this machine.

    Attributes:
        place: File or folder that holds them.
        whole: Whether the denoiser of a model that has one is there as well.
    """

    place: str
    whole: bool


@dataclass(frozen=True)
class Computing:
    """What PyTorch computes with.

    Attributes:
        device: Device that is used.
        name: Name of the card or of the processor.
        instructions: Vector instructions of the processor that PyTorch uses.
        bfloat16: Whether the device has instructions for bfloat16, so that steps are quicker.
        threads: Number of threads on the processor.
        cuda: Whether PyTorch can use an NVIDIA card, be it chosen or not.
    """

    device: str
    name: str
    instructions: str
    bfloat16: bool
    threads: int
    cuda: bool = False


@dataclass(frozen=True)
class Trial:
    """A short immunization of the sample photo, and an edit of it by the embedded editor.

    Attributes:
        problem: Reason why photovax cannot work, in one line; None if it can.
        seconds: Duration in seconds, with the loading of the model.
    """

    problem: str | None
    seconds: float


@dataclass(frozen=True)
class Diagnosis:
    """What was found on this machine.

    Attributes:
        versions: Version of Python, photovax and each package that it needs; None if missing.
        system: Name of the operating system and the processor.
        cores: Number of processor cores that this process may use.
        computing: What PyTorch computes with; None if it cannot be imported.
        allocator: What is done about the allocator of memory.
        available: Available memory in bytes; None where the system does not report it.
        weights: Weights that were found, by catalogue name.
        extras: Optional extras by name.
        trial: The trial run.
        changes: What to change, in one line each.
    """

    versions: Mapping[str, str | None]
    system: str
    cores: int
    computing: Computing | None
    allocator: str
    available: int | None
    weights: Mapping[str, Held]
    extras: Mapping[str, Extra]
    trial: Trial
    changes: tuple[str, ...]

    @property
    def works(self) -> bool:
        """Whether photovax can work on this machine."""
        return self.trial.problem is None


def diagnose(*, device: str = "auto", weights: Path | None = None) -> Diagnosis:
    """Look at this machine, and immunize and edit the sample photo on it.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        weights: Folder of weights that do not ship with photovax, searched before the hub's cache.

    Raises:
        UsageError: If the device is unknown or not available.
    """
    needed = [need for need in _requirements(_NAME) if need.marker is None]
    computing, broken = _computing(device)
    available = available_bytes()
    trial = Trial(broken, 0.0) if computing is None else _trial(computing.device)
    return Diagnosis(
        versions={
            "Python": platform.python_version(),
            "photovax": VERSION,
            **{need.name: _version(need.name) for need in needed},
        },
        system=platform.platform(),
        cores=cores(),
        computing=computing,
        allocator=_allocator(),
        available=available,
        weights=_held(weights),
        extras={
            name: Extra(EXTRAS.get(name, ""), tuple(_lacking(_NAME, name)))
            for name in metadata(_NAME).get_all("Provides-Extra", [])
        },
        trial=trial,
        changes=tuple(_changes(needed, computing, cores(), available, trial)),
    )


def _requirements(package: str) -> list[Requirement]:
    return [Requirement(text) for text in requires(package) or ()]


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _unmet(need: Requirement) -> str | None:
    """What is wrong with a package that is needed, in a few words; None if nothing is."""
    found = _version(need.name)
    if found is None:
        return need.name
    fits = need.specifier.contains(found, prereleases=True)
    return None if fits else f"{need.name}{need.specifier} instead of {found}"


def _lacking(package: str, extra: str) -> Iterator[str]:
    """What is wrong with the packages of an extra, and with those of extras that they need."""
    for need in _requirements(package):
        if need.marker is None or not need.marker.evaluate({"extra": extra}):
            continue
        if unmet := _unmet(need):
            yield unmet
            continue
        for other in sorted(need.extras):
            yield from _lacking(need.name, other)


def _computing(device: str) -> tuple[Computing | None, str | None]:
    """What PyTorch computes with, or None and the reason why it cannot be imported."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - of versions that do not fit together, anything
        return None, f"PyTorch cannot be imported: {first_line(error)}"
    chosen = pick_device(device)
    card = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else ""
    found = Computing(
        device=str(chosen),
        name=card or platform.processor() or platform.machine(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        bfloat16=quick_passes("auto", chosen) is not None,
        threads=torch.get_num_threads(),
        cuda=torch.cuda.is_available(),
    )
    return found, None


def _allocator() -> str:
    if not is_glibc():
        return "the system's own, left as it is"
    if chosen := chosen_by_user():
        return f"glibc, left as {' and '.join(chosen)} set it"
    return "glibc, keeps freed memory during a descent"


def _held(weights: Path | None) -> dict[str, Held]:
    """The weights of the catalogue's models that are on this machine."""
    found = {}
    for name, entry in CATALOG.items():
        try:
            place = autoencoder_place(name, weights)
        except PhotovaxError:
            continue
        # Weights that --weights names itself would be taken for those of any name.
        unnamed = weights is not None and place in (weights, autoencoder_in(weights))
        lender = CATALOG[entry.lent.get("vae", name)]
        own_files = [place / file for file in lender.files]
        if unnamed and not (own_files and all(file.is_file() for file in own_files)):
            continue
        whole = True
        if entry.whole:
            try:
                model_folder(name, weights=weights)
            except PhotovaxError:
                whole = False
        found[name] = Held(str(entry.folder if entry.packaged else place), whole)
    return found


def _trial(device: str) -> Trial:
    began = time.perf_counter()
    try:
        problem = _tried(device)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the user must know
        problem = f"{type(error).__name__}: {first_line(error)}"
    return Trial(problem, time.perf_counter() - began)


def _tried(device: str) -> str | None:
    """Immunize and edit the sample photo; what is wrong with the results, or None."""
    from dataclasses import replace

    import numpy as np

    from photovax.attack.presets import DEFAULT, PRESETS
    from photovax.evaluation.true_edits import TRUE_EDITS, truth
    from photovax.functions import edit, immunize
    from photovax.metrics.distortion import psnr
    from photovax.pictures.photo import read_photo
    from photovax.pictures.resize import resized
    from photovax.pictures.sample import SAMPLE

    sample = read_photo(SAMPLE).pixels
    photo, picture = (np.asarray(resized(sample, side)) for side in (_LARGER, _SIDE))
    options: dict[str, Any] = {"size": _SIDE, "device": device}
    quick = replace(PRESETS[DEFAULT], steps=_STEPS)
    if np.array_equal(immunize(photo, recipe=quick, **options), photo):
        return "an immunization changes no pixel"
    asked = TRUE_EDITS["sepia"]
    prompt = asked.orders[0]
    true, made = truth(asked, picture), edit(picture, prompt, **options)
    # A device that computes wrongly gives noise or a plain surface.
    near, before = psnr(true, made), psnr(true, picture)
    if near > before:
        return None
    return (
        f"the embedded editor does not do what it is told: its {prompt!r} is {near:.1f} dB from "
        f"the exact result, the unedited photo {before:.1f} dB"
    )


def _changes(
    needed: list[Requirement],
    computing: Computing | None,
    cores: int,
    available: int | None,
    trial: Trial,
) -> Iterator[str]:
    unmet = [found for need in needed if (found := _unmet(need))]
    if unmet:
        yield f"photovax needs {', '.join(unmet)}: pip install --upgrade photovax"
    if computing is None:
        yield "install PyTorch again, as pytorch.org says for this machine"
        return
    if trial.problem is not None and computing.device != "cpu":
        yield f"{computing.device} fails: give --device cpu, or bring its driver up to date"
    if computing.device == "cpu" and not computing.cuda and shutil.which("nvidia-smi"):
        yield (
            "there is an NVIDIA driver, but this PyTorch does not use it: install a PyTorch with "
            "CUDA, as pytorch.org says"
        )
    held_back = [name for name in _THREADS if os.environ.get(name)]
    if computing.device == "cpu" and held_back and computing.threads < cores:
        yield (
            f"{' and '.join(held_back)} lets PyTorch use {computing.threads} of {cores} cores: "
            "unset it, unless other work shares them"
        )
    if is_glibc() and (chosen := chosen_by_user()):
        yield f"unset {' and '.join(chosen)}: steps on a CPU may then be a quarter faster"
    if available is not None and available < SCARCE:
        yield (
            f"{available / 2**30:.1f} GiB of memory are available, the {DEFAULT_MODEL} model may "
            f"need {SCARCE / 2**30:.0f}: close other programs"
        )
