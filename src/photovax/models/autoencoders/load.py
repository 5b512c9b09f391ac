"""Loading of autoencoders from a diffusers folder, or from one safetensors file of a known model.

Weights are read from safetensors only and converted to float32, the precision of the attack
(SDXL's autoencoder gives NaN in half precision).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_vae_checkpoint,
    convert_wan_vae_to_diffusers,
)
from safetensors import safe_open

from photovax.digests import combined_digest, file_digest
from photovax.errors import ModelError
from photovax.models.autoencoders.base import FrozenAutoencoder
from photovax.models.autoencoders.families import FAMILIES
from photovax.models.autoencoders.tiny import TinyAutoencoder
from photovax.models.catalog.assembled import link
from photovax.models.catalog.holdings import AUTOENCODER_PREFIXES, check_bytes
from photovax.models.catalog.hub import STEMS
from photovax.models.catalog.objects import json_object
from photovax.models.catalog.places import WANTED, fed_size, loose_model, weight_files
from photovax.models.contracts import Autoencoder, EditorAutoencoder
from photovax.models.damaged import loading
from photovax.models.quiet import quiet_loading
from photovax.models.weights import load_module, misfit

__all__ = [
    "load_file",
    "load_folder",
    "load_own_autoencoder",
]

_Family = TypeVar("_Family", bound=Autoencoder)

# Prefixes that only diffusers' own layout has.
_DIFFUSERS_MARKS = ("encoder.down_blocks.", "encoder.layers.")


def load_folder(
    folder: Path, *, name: str, device: torch.device, size: int = 512
) -> EditorAutoencoder:
    """Load a diffusers folder with ``config.json`` and safetensors weights.

    Instead of these it may hold the loose files of a tiny autoencoder.

    Raises:
        ModelError: If files are missing, damaged or not those of a known family.
    """
    design = loose_model(folder)
    if design is not None:
        return TinyAutoencoder.load(folder, design=design, name=name, device=device, size=size)
    kind = _kind(folder, name)
    files, variant = weight_files(folder, name=name)
    model = load_module(folder, kind, variant, name=name, shown=folder)
    return FAMILIES[kind](model.to(device), name=name, digest=_digest(files), size=size)


def load_file(
    file: Path, config: Mapping[str, Any], *, name: str, device: torch.device, size: int = 512
) -> FrozenAutoencoder:
    """Load one safetensors file: an autoencoder in diffusers' layout, or a checkpoint.

    Checkpoints are those of Stable Diffusion, SDXL and FLUX.1 (``AutoencoderKL``) and of Wan, in
    their makers' layout. Only the autoencoder is read from them.

    Args:
        file: File of weights.
        config: Configuration of the model, with ``_class_name``, which such a file lacks.
        name: Name of the model.
        device: Device to load it on.
        size: Short side, in pixels, at which its editors are usually fed a photo.

    Raises:
        ModelError: If the file is missing, damaged or of another model.
    """
    kind = str(config["_class_name"])
    if file.exists():
        check_bytes(name, file)
    with loading(name, file), safe_open(file, framework="pt") as opened:
        keys = list(opened.keys())
    if any(key.startswith(_DIFFUSERS_MARKS) for key in keys):
        model = _from_lone_file(file, config, name)
    else:
        with loading(name, file), quiet_loading():
            model = _from_checkpoint(file, _autoencoder_tensors(file, keys), config, name)
    return FAMILIES[kind](model.to(device), name=name, digest=file_digest(file), size=size)


def _kind(folder: Path, name: str) -> str:
    """The class of the autoencoder in a folder."""
    file = folder / "config.json"
    if not file.is_file():
        raise ModelError(f"model {name}: no config.json in {folder}; {WANTED}")
    with loading(name, file):
        kind = str(json_object(file)["_class_name"])
    if kind not in FAMILIES:
        raise ModelError(
            f"model {name}: {folder} holds a {kind}, expected one of {', '.join(FAMILIES)}"
        )
    return kind


def load_own_autoencoder(
    folder: Path,
    kinds: tuple[type[_Family], ...],
    *,
    name: str,
    device: torch.device,
    loaded: Autoencoder | None = None,
) -> _Family:
    """Load the autoencoder of a pipeline's folder, which must be of the family of its denoiser.

    Args:
        folder: Folder of the pipeline.
        kinds: Families of autoencoders that it may be of.
        name: Name that the user gave the model.
        device: Device to load it on.
        loaded: The folder's autoencoder, if it is loaded already.

    Raises:
        ModelError: If it is missing, damaged or of another family.
    """
    found = loaded or load_folder(
        folder / "vae", name=name, device=device, size=fed_size(str(folder))
    )
    if not isinstance(found, kinds):
        wanted = " or ".join(known for known, family in FAMILIES.items() if family in kinds)
        raise ModelError(f"model {name}: {folder / 'vae'} holds no {wanted}: it cannot edit here")
    return found


def _digest(files: Sequence[Path]) -> str:
    digests = [file_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else combined_digest(digests)


def _autoencoder_tensors(file: Path, keys: Sequence[str]) -> dict[str, torch.Tensor]:
    """The tensors of a file; of a whole checkpoint, only those of its autoencoder."""
    prefix = next((p for p in AUTOENCODER_PREFIXES if any(key.startswith(p) for key in keys)), "")
    with safe_open(file, framework="pt") as opened:
        return {
            key.removeprefix(prefix): opened.get_tensor(key)
            for key in keys
            if key.startswith(prefix)
        }


def _from_checkpoint(
    file: Path, tensors: dict[str, torch.Tensor], config: Mapping[str, Any], name: str
) -> Any:
    """Build a model from weights in its maker's layout."""
    kind = str(config["_class_name"])
    if kind == "AutoencoderKL":
        converted = convert_ldm_vae_checkpoint(tensors, config)  # type: ignore[no-untyped-call]
    elif kind == "AutoencoderKLWan":
        converted = convert_wan_vae_to_diffusers(tensors)  # type: ignore[no-untyped-call]
    else:
        raise ValueError(f"{kind} is loaded from files in diffusers' layout only")
    model = getattr(diffusers, kind).from_config(dict(config))
    # The error of load_state_dict takes a line for each of them.
    missing = [
        key
        for key, own in model.state_dict().items()
        if key not in converted or converted[key].shape != own.shape
    ]
    if missing:
        raise misfit(name, file, missing)
    model.load_state_dict({key: value.float() for key, value in converted.items()})
    return model


def _from_lone_file(file: Path, config: Mapping[str, Any], name: str) -> Any:
    """Build a model from weights in diffusers' layout without a configuration file."""
    # Loaded as a folder, since that also converts names of old versions of diffusers.
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
        weights = folder / f"{STEMS[0]}.safetensors"
        link(weights, file)
        return load_module(folder, str(config["_class_name"]), None, name=name, shown=file)
