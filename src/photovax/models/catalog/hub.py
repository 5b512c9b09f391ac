"""Weights from the Hugging Face hub: search in its cache, and download.

Only ``pull`` downloads, and only files that are used here: configurations, tokenizers and
safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from photovax.errors import ModelError, first_line
from photovax.models.catalog.entries import Entry, Source

__all__ = [
    "STEMS",
    "VOCABULARIES",
    "by_hand",
    "cache_folder",
    "cached",
    "command",
    "looks_like_repository",
    "pull",
    "snapshot",
    "wanted",
]

_REPOSITORY = re.compile(r"(?!.*(?:--|\.\.))\w[\w.-]*/\w[\w.-]*(?<![.-])", re.ASCII)
_HALVES = ".fp16"
_INDEX, _HALVES_INDEX = ".safetensors.index.json", ".safetensors.index.fp16.json"  # of shards
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")  # a tokenizer has one of them
_PATIENCE = 10.0  # seconds until a hub that does not answer counts as out of reach
STEMS = ("diffusion_pytorch_model", "model")  # in diffusers and in transformers


def looks_like_repository(name: str) -> bool:
    """Whether a name has the form ``owner/name``."""
    return _REPOSITORY.fullmatch(name) is not None


def cache_folder() -> Path:
    """The cache of the hub's client (``HF_HOME``, ``HF_HUB_CACHE``)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached(source: Source, *, whole: bool) -> Path | None:
    """The cached snapshot of a source, if it holds what is needed; nothing is downloaded.

    Args:
        source: Repository. The pinned revision is preferred to the newest one in the cache;
            records identify the weights by their digest.
        whole: Whether a whole pipeline is needed, or the autoencoder alone.
    """
    if whole and not source.pipeline:
        return None
    groups = _needed(source, whole=whole)
    for revision in dict.fromkeys((source.revision, None)):
        found = [snapshot(source.repository, group, revision=revision) for group in groups]
        if all(found):
            return found[0]
    return None


def snapshot(repository: str, files: Sequence[str], *, revision: str | None = None) -> Path | None:
    """The cached snapshot of a repository that holds at least one of some files."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        place = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(place, str):
            return Path(place).parents[len(Path(file).parts) - 1]
    return None


def pull(name: str, entry: Entry, *, whole: bool) -> Path:
    """Download a model's weights into the hub's cache.

    If a source is gated or gone, the next one with the same weights is tried.

    Args:
        name: Name of the entry, for errors.
        entry: The model.
        whole: Whether to download the whole pipeline, or the autoencoder alone.

    Returns:
        The snapshot's folder.

    Raises:
        ModelError: If the hub cannot be reached or refuses the download.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if not entry.sources:
        raise ModelError(f"model {name} is not on the hub", hint=by_hand(name, entry, whole=whole))
    _reach(name)
    refusals, hint = [], None
    for source in filter(lambda source: source.pipeline or not whole, entry.sources):
        there = f"https://huggingface.co/{source.repository}"
        try:
            return Path(
                snapshot_download(
                    source.repository,
                    revision=source.revision,
                    allow_patterns=wanted(source, whole=whole),
                )
            )
        except GatedRepoError:
            refusals.append(f"the licence at {there} is not accepted")
            hint = "accept it there and log in with 'hf auth login'"
        except RepositoryNotFoundError:
            refusals.append(f"{there} is gone or private")
        except (LocalEntryNotFoundError, ConnectionError) as error:
            raise ModelError(
                f"model {name}: the hub cannot be reached", hint=_elsewhere(name)
            ) from error
        except (HfHubHTTPError, OSError) as error:
            reason = first_line(error)
            raise ModelError(
                f"model {name}: {source.repository} cannot be downloaded ({reason})",
                hint=_elsewhere(name),
            ) from error
    raise ModelError(f"model {name}: {', and '.join(refusals)}", hint=hint)


def _reach(name: str) -> None:
    """Ask the hub once for anything, since its client repeats what fails for half a minute.

    Raises:
        ModelError: If there is no answer.
    """
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:
        raise ModelError(
            f"model {name}: the hub cannot be reached ({first_line(error)})", hint=_elsewhere(name)
        ) from error


def by_hand(name: str, entry: Entry, *, whole: bool) -> str:
    """Instructions for users who have the files already."""
    if entry.files and not whole:
        what = f"{' and '.join(entry.files)} of github.com/madebyollin/taesd in FOLDER"
    elif whole:
        what = f"the pipeline folder of {entry.sources[0].repository} in FOLDER/{name}"
    else:
        source = entry.sources[0]
        what = f"{' and '.join(wanted(source, whole=False))} of {source.repository}"
        what += f" in FOLDER/{name}"
    return f"put {what} and give --weights FOLDER"


def command(name: str, source: Source, *, whole: bool) -> str:
    """The command of the hub's own client that downloads the same files into ``NAME``."""
    revision = "" if source.revision is None else f" --revision {source.revision}"
    # Double quotes, which are those that every shell knows.
    patterns = " ".join(f'--include "{pattern}"' for pattern in wanted(source, whole=whole))
    return f"hf download {source.repository}{revision} {patterns} --local-dir {name}"


def wanted(source: Source, *, whole: bool) -> list[str]:
    """Patterns of the files of a repository that are downloaded."""
    if source.file:
        return [source.file]
    end = f"{_HALVES if source.halves else ''}.safetensors"
    part = f"{source.part}/" if source.part else ""
    patterns = [f"{part}config.json", f"{part}{STEMS[0]}{end}"]
    if whole:
        patterns.append("model_index.json")
        for folder in source.pipeline:
            patterns += _patterns(folder, source)
    return patterns


def _patterns(folder: str, source: Source) -> list[str]:
    """Patterns of the files in one folder of a source's pipeline."""
    if folder.startswith("tokenizer"):
        return [f"{folder}/*"]
    stem = _stem(folder)
    if stem is None:
        return [f"{folder}/*.json"]
    weights = f"{folder}/{stem}"
    if "transformer" in source.pipeline:  # its text encoders may be sharded as well
        own = [f"{weights}.safetensors", f"{weights}-*.safetensors", f"{weights}{_INDEX}"]
    else:
        # A text encoder may be in full precision even where the rest is in half precision only.
        half = _HALVES if folder == "unet" else "*"
        own = [f"{weights}{half if source.halves else ''}.safetensors"]
    return [f"{folder}/config.json", *own]


def _stem(folder: str) -> str | None:
    """The stem of the weight files in one folder of a pipeline; None if it holds none."""
    if folder.startswith("text_encoder"):
        return STEMS[1]
    return STEMS[0] if folder in ("unet", "transformer") else None


def _elsewhere(name: str) -> str:
    return f"'photovax models show {name}' shows how to download it on another machine"


def _needed(source: Source, *, whole: bool) -> list[tuple[str, ...]]:
    """Groups of files; at least one file of each group is needed."""
    if source.file:
        return [(source.file,)]

    def weights(stem: str) -> tuple[str, ...]:
        whole = (f"{stem}.safetensors", f"{stem}{_HALVES}.safetensors")
        return (*whole, f"{stem}{_INDEX}", f"{stem}{_HALVES_INDEX}")

    part = f"{source.part}/" if source.part else ""
    groups = [(f"{part}config.json",), weights(f"{part}{STEMS[0]}")]
    for folder in source.pipeline if whole else ():
        stem = _stem(folder)
        if stem is not None:
            groups += [(f"{folder}/config.json",), weights(f"{folder}/{stem}")]
        elif folder.startswith("tokenizer"):
            groups.append(tuple(f"{folder}/{file}" for file in VOCABULARIES))
        elif folder == "scheduler":
            groups.append(("scheduler/scheduler_config.json",))
    return groups
