"""Whether a folder, or a file of weights, is of the model that was named. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from photovax.errors import ModelError
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.holdings import another_model, denoiser_of, held
from photovax.models.catalog.objects import json_object

__all__ = ["AUTOENCODER_FOLDERS", "check_fits", "check_pipeline", "check_used"]

AUTOENCODER_FOLDERS = ("vae", "movq")
"""Names of the autoencoder's folder in that of a pipeline."""

# What diffusers takes for fields that a configuration lacks.
_USUAL = {"AutoencoderKL": {"latent_channels": 4, "scaling_factor": 0.18215}}
# Catalogue names of a transformer's pipeline, by its class.
_TRANSFORMERS: dict[str, tuple[str, ...]] = {
    "PixArtSigmaPipeline": ("pixart",),
    "StableDiffusion3Pipeline": ("sd3", "sd35"),
    "FluxPipeline": ("flux1", "flux1-dev"),
    "FluxKontextPipeline": ("flux1", "flux1-kontext"),
    "FluxFillPipeline": ("flux1", "flux1-fill"),
    "HiDreamImagePipeline": ("flux1",),
    "ZImagePipeline": ("flux1",),
    "Flux2Pipeline": ("flux2", "flux2-dev"),
    "Flux2KleinPipeline": ("flux2", "flux2-klein"),
    "SanaPipeline": ("sana",),
    "QwenImagePipeline": ("qwen-image",),
    "QwenImageEditPipeline": ("qwen-image-edit", "qwen-image"),
    "QwenImageEditPlusPipeline": ("qwen-image-edit", "qwen-image"),
    "WanPipeline": ("wan",),
}


def check_fits(name: str, folder: Path) -> bool:
    """Refuse the autoencoder of another model, or of another model's pipeline.

    Args:
        name: Catalogue name.
        folder: Folder of the autoencoder, which may be in that of a pipeline.

    Returns:
        Whether the pipeline's configuration says that it is of this model.

    Raises:
        ModelError: If the configurations are those of another model.
    """
    entry = CATALOG[name]
    config = _config(folder / "config.json")
    usual = _USUAL.get(str(config.get("_class_name")), {})
    for key in ("_class_name", "latent_channels", "scaling_factor"):
        wanted, got = entry.config.get(key), config.get(key, usual.get(key))
        if wanted is not None and got is not None and wanted != got:
            raise another_model(name, folder, f"{key} is {got}, expected {wanted}", ())
    return check_pipeline(name, folder.parent if folder.name in AUTOENCODER_FOLDERS else folder)


def check_pipeline(name: str, folder: Path) -> bool:
    """Refuse a pipeline's folder of another model.

    Returns:
        Whether the configurations of its denoisers say that it is of this model.

    Raises:
        ModelError: If they are those of another model.
    """
    told = _pipeline_names(folder)
    names = sorted(set().union(*told.values()))
    if told and name not in names:
        raise another_model(name, folder, f"it holds {' and '.join(told)}", names)
    return bool(told)


def _pipeline_names(folder: Path) -> dict[str, tuple[str, ...]]:
    """What the configurations of a pipeline's denoisers say: families, and catalogue names."""
    kind = str(_config(folder / "model_index.json").get("_class_name"))
    if kind in _TRANSFORMERS:
        return {f"a {kind}": _TRANSFORMERS[kind]}
    told: dict[str, tuple[str, ...]] = {}
    for file in sorted(folder.glob("unet*/config.json")):
        config = _config(file)
        width, channels = config.get("cross_attention_dim"), config.get("in_channels")
        if isinstance(width, int) and isinstance(channels, int):
            found = denoiser_of(width, channels)
            if found is not None:
                told[f"{found[0]} with {channels} input channels"] = found[1]
    return told


def _config(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return json_object(file)
    return {}


def check_used(names: Iterable[str], weights: Path | None) -> None:
    """Refuse a file of weights that none of the models is loaded from.

    Raises:
        ModelError: If all models ship with photovax.
    """
    asked = tuple(names)
    shipped = all(name in CATALOG and CATALOG[name].packaged for name in asked)
    if not shipped or weights is None or not weights.is_file():
        return
    found = held(", ".join(asked), weights)
    raise ModelError(
        f"model {', '.join(asked)} ships with photovax: {weights}, which is {found.what}, is not "
        "used",
        hint=f"name its model with --model, one of {', '.join(found.names or CATALOG)}",
    )
