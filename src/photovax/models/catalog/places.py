"""Search for the weights of a model on this machine.

Imports nothing heavy, and downloads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from photovax.digests import file_digest
from photovax.errors import ModelError, UnknownName, UsageError, WeightsMissing
from photovax.models.catalog import hub
from photovax.models.catalog.assembled import assembled
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.fits import AUTOENCODER_FOLDERS, check_pipeline
from photovax.models.catalog.flows import flow_of
from photovax.models.catalog.holdings import check_bytes, check_holding, shown_file
from photovax.models.catalog.objects import json_object, unloadable
from photovax.models.edit import SIZES, Mode, valid_size
from photovax.registry import unknown

__all__ = [
    "WANTED",
    "autoencoder_in",
    "autoencoder_place",
    "called",
    "denoiser_folders",
    "each_once",
    "fed_size",
    "holds_sdxl",
    "holds_transformer",
    "joined",
    "loose_model",
    "model_folder",
    "no_model",
    "part_digests",
    "setting_digests",
    "weight_files",
]

_INDEX = "model_index.json"
_SETTINGS = ("*.json", "*/*.json", "*/*.txt")

WANTED = (
    "give a diffusers folder with config.json and safetensors weights (of a whole pipeline, or of "
    "its autoencoder)"
)


def _pipeline_folder(name: str, weights: Path | None) -> Path:
    """The pipeline folder of a catalogue's model, in ``weights`` or in the hub's cache.

    Raises:
        ModelError: If it is only an autoencoder, or its weights are missing.
    """
    entry = CATALOG[name]
    if entry.folder is not None:
        if entry.packaged:
            return entry.folder
        return assembled(name, _parts(entry.folder, entry.lent, weights))
    if not entry.whole:
        raise ModelError(f"model {name} is only an autoencoder: it cannot edit")
    if weights is not None and weights.is_file():
        whole = check_holding(name, weights)
        raise ModelError(
            f"model {name}: {weights} is {whole.what}; edits and denoisers need a pipeline's folder"
        )
    for folder in _offered(name, weights):
        if holds_transformer(folder) or any(folder.glob("unet*/config.json")):
            check_pipeline(name, folder)
            return folder
    for source in entry.sources:
        found = hub.cached(source, whole=True)
        if found is not None:
            return found
    raise _missing(name, weights, whole=True)


def autoencoder_place(name: str, weights: Path | None) -> Path:
    """The folder or file that holds the autoencoder of a catalogue's model.

    Raises:
        ModelError: If it is neither in ``weights`` nor in the hub's cache.
    """
    entry = CATALOG[name]
    if "vae" in entry.lent:
        return autoencoder_place(entry.lent["vae"], weights)
    if entry.folder is not None:
        return entry.folder / "vae"
    if weights is not None and weights.is_file():
        return weights
    for folder in _offered(name, weights):
        if entry.files and all((folder / file).is_file() for file in entry.files):
            return folder
        own = autoencoder_in(folder)
        if (own / "config.json").is_file():
            return own
    if weights is not None:
        for file in (weights / f"{name}.safetensors", weights / name / f"{name}.safetensors"):
            if file.is_file():
                return file
    for source in entry.sources:
        found = hub.cached(source, whole=False)
        if found is not None:
            return found / (source.file or source.part)
    raise _missing(name, weights, whole=False)


def _parts(folder: Path, lent: Mapping[str, str], weights: Path | None) -> dict[str, Path]:
    """The files of a pipeline, of which other models lend parts, by their place in its folder."""
    own = {file.relative_to(folder).as_posix(): file for file in sorted(folder.glob("*/*"))}
    own[_INDEX] = folder / _INDEX
    for part, lender in lent.items():
        if part == "vae":
            place = autoencoder_place(lender, weights)
        else:
            place = _pipeline_folder(lender, weights) / part
        if place.is_file():
            own[f"{part}/{joined(lender)}"] = place
            continue
        loose = [place / file for file in CATALOG[lender].files]
        held = loose and all(file.is_file() for file in loose)
        files = loose if held else sorted(place.glob("*.*"))
        own |= {f"{part}/{file.name}": file for file in files}
    return own


def joined(name: str) -> str:
    """The name, in a folder, of the one file with both parts of a tiny model.

    Not ``NAME.safetensors``, as which a perturbation network for the model may lie there.
    """
    return f"{name}_encoder_decoder.safetensors"


def loose_model(folder: Path) -> str | None:
    """The one catalogue's model whose loose files a folder holds instead of diffusers' files.

    These are its two ``.pth`` files, or the hub's one with both parts, as ``joined`` names it.
    """
    if (folder / "config.json").is_file():
        return None
    found = [
        name
        for name, entry in CATALOG.items()
        if entry.files
        and (
            all((folder / file).is_file() for file in entry.files)
            or (folder / joined(name)).is_file()
        )
    ]
    return found[0] if len(found) == 1 else None


def _offered(name: str, weights: Path | None) -> list[Path]:
    """The folders that ``weights`` may name, the more specific first."""
    return [] if weights is None else [weights / name, weights]


def autoencoder_in(folder: Path) -> Path:
    """The autoencoder's folder in a pipeline's folder, or the folder itself if it has none."""
    return next((folder / part for part in AUTOENCODER_FOLDERS if (folder / part).is_dir()), folder)


def _missing(name: str, weights: Path | None, *, whole: bool) -> WeightsMissing:
    entry = CATALOG[name]
    places = [str(weights)] if weights is not None else []
    if entry.sources:
        places.append(f"the hub's cache ({hub.cache_folder()})")
    where = f" in {' or '.join(places)}" if places else ""
    long = " --editor" if whole else ""
    ways = [f"run 'photovax models pull {name}{long}'"] if entry.sources else []
    if entry.gated:
        ways[0] += " (its licence must be accepted on the hub first)"
    ways.append(hub.by_hand(name, entry, whole=whole))
    lone = sorted(weights.glob("*.safetensors")) if weights is not None and not whole else []
    if lone:
        ways.insert(0, f"name a file, such as --weights {lone[0]}")
    return WeightsMissing(f"model {name}: no weights{where}", hint=", or ".join(ways))


def _cached_repository(name: str) -> Path:
    """The cached snapshot of a hub repository that is not in the catalogue.

    Raises:
        UnknownName: If the name does not have the form ``owner/name``.
        ModelError: If it is not cached.
    """
    if not hub.looks_like_repository(name):
        raise no_model(name)
    marks = ("vae/config.json", "movq/config.json", "config.json")
    found = hub.snapshot(name, marks)
    if found is None:
        raise ModelError(
            f"model {name}: neither a folder nor in the hub's cache ({hub.cache_folder()})",
            hint=f"if it is on the hub, run: hf download {name}",
        )
    return found


def holds_transformer(folder: Path) -> bool:
    """Whether the denoiser in a pipeline's folder is a transformer."""
    return (folder / "transformer" / "config.json").is_file()


def holds_sdxl(folder: Path) -> bool:
    """Whether a pipeline's denoisers are of SDXL's form: conditioned on sizes and pooled text."""
    for config in sorted(folder.glob("unet*/config.json")):
        with suppress(OSError, ValueError):
            return bool(json_object(config).get("addition_embed_type") == "text_time")
    return False


def no_model(name: str) -> ModelError | UnknownName:
    """The error for what is no catalogue name; of a file it says what that is."""
    if Path(name).is_file():
        return shown_file(name, Path(name))
    return unknown("model", name, CATALOG)


def weight_files(folder: Path, *, name: str) -> tuple[list[Path], str | None]:
    """The safetensors weights in the folder of a pipeline's part, which may be sharded.

    Returns:
        The files, and ``"fp16"`` if there are only weights in half precision.

    Raises:
        ModelError: If there are none.
    """
    for variant in (None, "fp16"):
        mark = "" if variant is None else f".{variant}"
        for stem in hub.STEMS:
            file = folder / f"{stem}{mark}.safetensors"
            cut = sorted(folder.glob(f"{stem}{mark}-*-of-*.safetensors"))
            files = [file] if file.is_file() else cut
            for each in files:
                check_bytes(name, each)
            if files:
                return files, variant
    pickled = any(folder.glob("*.bin")) or any(folder.glob("*.ckpt"))
    found = "only pickled weights, which are not loaded," if pickled else "no safetensors weights"
    raise ModelError(f"model {name}: {found} in {folder}; {WANTED}")


def model_folder(name: str, *, weights: Path | None = None) -> Path:
    """The pipeline folder of a model, by catalogue name, folder or cached hub id.

    Args:
        name: Catalogue name, folder, or ``owner/name``.
        weights: Folder that holds the folder ``NAME``, or that folder, for catalogue names;
            searched before the hub's cache.

    Raises:
        UnknownName: If it is none of these.
        ModelError: If the model is only an autoencoder, or its weights are missing.
    """
    if name in CATALOG:
        return _pipeline_folder(name, weights)
    if Path(name).is_dir():
        return Path(name)
    if Path(name).is_file():
        raise no_model(name)
    return _cached_repository(name)


def denoiser_folders(folder: Path, *, name: str) -> dict[Mode, Path]:
    """The denoisers of a pipeline's folder, by way of editing.

    Input channels determine that of a UNet. For latents of C channels (which it has as output)
    C are img2img, 2 C instruct and 2 C + 1 inpaint. Transformers have the one of their pipeline's
    class.

    Raises:
        ModelError: If there is none, a UNet with other input channels, or a transformer whose edits
            are not run.
    """
    found: dict[Mode, Path] = {}
    for config in sorted(folder.glob("unet*/config.json")):
        try:
            read = json_object(config)
            channels, latent = read["in_channels"], int(read.get("out_channels", 4))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unloadable(name, config, error) from None
        modes: dict[int, Mode] = {
            latent: "img2img",
            2 * latent: "instruct",
            2 * latent + 1: "inpaint",
        }
        if not isinstance(channels, int) or channels not in modes:
            known = [f"{count} ({mode})" for count, mode in modes.items()]
            raise ModelError(
                f"model {name}: {config.parent.name} takes {channels} channels, known are "
                f"{', '.join(known[:-1])} and {known[-1]}"
            )
        found[modes[channels]] = config.parent
    if not found and holds_transformer(folder):
        return {flow_of(folder, name=name)[2].mode: folder / "transformer"}
    if not found:
        raise ModelError(
            f"model {name}: no unet in {folder}; an edit needs a whole pipeline's folder, "
            "an encoder attack only its vae"
        )
    return found


def part_digests(folder: Path) -> dict[Path, str]:
    """SHA-256 of each file that decides a pipeline's edits, in hexadecimal digits.

    These are weights, and the configurations and vocabularies beside them.
    """
    return _digests(folder, ("*/*.safetensors", "vae/*.pth", *_SETTINGS))


def setting_digests(name: str, *, weights: Path | None = None) -> list[str]:
    """SHA-256 of the configurations and vocabularies beside a model's weights.

    What a model computes depends on them, too: on the scheduler, the scale of latents, the size
    that it is fed.

    Args:
        name: Catalogue name, folder, file, or ``owner/name`` of a model that can be loaded.
        weights: Folder of weights, or file, as for ``load_autoencoder``.
    """
    if name not in CATALOG:
        place = Path(name) if Path(name).is_file() else model_folder(name)
    else:
        try:
            place = model_folder(name, weights=weights)
        except ModelError:
            place = autoencoder_place(name, weights)
    return list(_digests(place, _SETTINGS).values()) if place.is_dir() else []


def _digests(folder: Path, patterns: Iterable[str]) -> dict[Path, str]:
    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    return {file: file_digest(file) for file in files}


def fed_size(name: str, size: int | None = None) -> int:
    """Short side, in pixels, at which a model is fed a photo: ``size``, or its usual one.

    Raises:
        UsageError: If the given size is not a multiple of 8 from 64 up.
        UnknownName: If the model is not known.
    """
    if size is not None:
        if not valid_size(size):
            raise UsageError(f"size must be {SIZES}, got {size}")
        return size
    if name in CATALOG:
        return CATALOG[name].size
    folder = model_folder(name)
    transformer = holds_transformer(folder)
    # The sample size of a denoiser is that of training; that of an autoencoder often is not.
    parts = "transformer" if transformer else "unet*"
    for config in sorted(folder.glob(f"{parts}/config.json")):
        with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
            trained = 8 * int(json_object(config)["sample_size"])
            if valid_size(trained):
                return trained
    return 1024 if transformer else 512


def each_once(names: Iterable[str] | str) -> list[str]:
    """Names of models without repetitions.

    Raises:
        UsageError: If two folders have the same last part, since results go by that name.
    """
    found: dict[str, str] = {}
    for name in [names] if isinstance(names, str) else names:
        short = called(name)
        if found.setdefault(short, name) != name:
            raise UsageError(
                f"two models would be called {short!r}: {found[short]} and {name}; rename a "
                "folder, or name the one that it is in"
            )
    return list(found.values())


def called(name: str) -> str:
    """The name under which a model appears in results: of a folder, its last part."""
    if name in CATALOG or not Path(name).is_dir():
        return name
    return Path(name).resolve().name
