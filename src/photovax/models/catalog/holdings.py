"""What a file of weights holds, by its first bytes and by the names and shapes of its tensors.

Whole checkpoints in their makers' layout name their model in this way. A bare autoencoder does not;
see ``photovax.models.autoencoders.likeness``. Imports nothing heavy.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from photovax.errors import ModelError
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.objects import unloadable

__all__ = [
    "AS_TOLD",
    "AUTOENCODER_PREFIXES",
    "NAMED_BY_CONFIGURATION",
    "NAMED_BY_DIGEST",
    "NAMED_BY_HUB",
    "NAMED_BY_LATENTS",
    "NAMED_BY_TENSORS",
    "PACKAGED",
    "Holding",
    "another_model",
    "check_bytes",
    "check_holding",
    "denoiser_of",
    "held",
    "shown_file",
]

PACKAGED = "shipped with photovax"
NAMED_BY_HUB = "the name of its repository in the hub's cache"
NAMED_BY_TENSORS = "the names and shapes of its tensors"
NAMED_BY_CONFIGURATION = "the configuration of its pipeline"
NAMED_BY_DIGEST = "the published SHA-256 of its file"
NAMED_BY_LATENTS = "its latents of the sample photo"
AS_TOLD = "as told: nothing in its weights names their model"
"""What says that weights are of the model that is named; in records."""

AUTOENCODER_PREFIXES = ("first_stage_model.", "vae.")
"""Prefixes of the autoencoder's tensors in whole checkpoints."""

_DENOISER = "model.diffusion_model."
_PICKLED = "pickled weights (.ckpt, .pt, .bin), which could run code when they are loaded"
_OTHER = "no .safetensors file; no others are loaded"
_SAFETENSORS = "photovax reads safetensors only: convert it, or download it in that form"
_SIGNS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs.github.com/spec/",
        "a git-LFS pointer, which stands for weights that are not downloaded",
        "run 'git lfs pull' in its folder, or download the file itself",
    ),
    (b"<!doctype html", "a web page (HTML), not weights", "download the file itself"),
    (b"<html", "a web page (HTML), not weights", "download the file itself"),
    (b"<?xml", "a page in XML, not weights", "download the file itself"),
    (b"gguf", "a GGUF file, whose weights are quantised", _SAFETENSORS),
    (b"pk\x03\x04", _PICKLED, _SAFETENSORS),
    (b"\x80\x02", _PICKLED, _SAFETENSORS),
    (b"\x80\x03", _PICKLED, _SAFETENSORS),
    (b"\x80\x04", _PICKLED, _SAFETENSORS),
    (b"\x80\x05", _PICKLED, _SAFETENSORS),
    (b"\x89hdf", "an HDF5 file, as of Keras", _SAFETENSORS),
)
"""First bytes, in small letters; what such a file is; and the remedy."""

# Parts of names that only files of this kind have.
_PARTS = {
    "a LoRA, which changes the weights of a model and is none": (
        *("lora_up.", "lora_down.", ".lora_A.", ".lora_B.", ".lora.up.", ".lora.down."),
        *("lora_unet_", "lora_te", ".lora_linear_layer.", ".hada_w1_", ".lokr_w1"),
    ),
    "a ControlNet, which steers a model and is none": (
        *("control_model.", "controlnet_", "input_hint_block.", "zero_convs."),
    ),
    "an IP-Adapter, which steers a model and is none": ("ip_adapter.", "image_proj."),
}
_EMBEDDING = "a textual-inversion embedding, which adds a word to prompts and is no model"
_EMBEDDINGS = {"emb_params", "clip_l", "clip_g", "t5xxl", "string_to_param.*"}
_TEXT_WIDTHS = (768, 1024, 1280)
_TEXT_PARTS = ("text_model.", "encoder.block.", "transformer.resblocks.", "text_projection")

# Width of the text that a UNet attends to: family, and names by the UNet's input channels.
_UNETS: dict[int, tuple[str, dict[int, str]]] = {
    768: ("Stable Diffusion 1", {4: "sd15", 9: "sd15-inpaint", 8: "instruct-pix2pix"}),
    1024: ("Stable Diffusion 2", {4: "sd2", 9: "sd2-inpaint"}),
    2048: ("SDXL", {4: "sdxl", 9: "sdxl-inpaint"}),
    1280: ("SDXL's refiner", {4: "sdxl"}),
}
# Prefixes of the text encoders in whole checkpoints, and the width of their text.
_TEXT_ENCODERS = {
    "conditioner.embedders.": 2048,
    "cond_stage_model.transformer.": 768,
    "cond_stage_model.model.": 1024,
}


@dataclass(frozen=True)
class Holding:
    """The contents of a file of weights.

    Attributes:
        what: Description, which begins with an article.
        names: Catalogue names of the model that it is of; empty if it does not tell.
        loads: Whether an autoencoder can be loaded from it.
    """

    what: str
    names: tuple[str, ...] = ()
    loads: bool = False


def denoiser_of(width: int, channels: int | None) -> tuple[str, tuple[str, ...]] | None:
    """The family of a UNet and its catalogue names; None if it is of no known family.

    Args:
        width: Width of the text that it attends to.
        channels: Number of its input channels; None if that is not known.
    """
    if width not in _UNETS:
        return None
    family, by_channels = _UNETS[width]
    name = by_channels.get(channels or 0)
    return family, (name,) if name else tuple(by_channels.values())


def check_bytes(name: str, file: Path, *, pickled: bool = False) -> None:
    """Refuse a file that is no safetensors file, and say what it is instead.

    Args:
        name: Name that the user gave the model.
        file: File of weights.
        pickled: Whether pickled weights are allowed as well, as the tiny models' own are.

    Raises:
        ModelError: If it is of another kind, empty, or cannot be read.
    """
    found = _other_kind(name, file)
    if found is not None and not (pickled and found[0] in (_PICKLED, _OTHER)):
        raise ModelError(f"model {name}: {file} is {found[0]}", hint=found[1])


def check_holding(name: str, file: Path) -> Holding:
    """Refuse a file without an autoencoder, or of another model than a catalogue name says.

    Returns:
        What it holds.

    Raises:
        ModelError: If it is of another kind or model, or damaged.
    """
    found = held(name, file)
    if not found.loads:
        raise ModelError(f"model {name}: {file} is {found.what}")
    if found.names and name not in found.names:
        raise another_model(name, file, f"it is {found.what}", found.names)
    return found


def another_model(name: str, place: Path, why: str, names: Sequence[str]) -> ModelError:
    """The error for weights of another model than the user named.

    Args:
        name: Name that the user gave the model.
        place: File or folder of weights.
        why: Reason, as the rest of a sentence.
        names: Catalogue names of the model that they are of; possibly none.
    """
    return ModelError(
        f"model {name}: {place} is of another model: {why}",
        hint=f"name it with --model {' or '.join(names)}" if names else None,
    )


def shown_file(name: str, file: Path) -> ModelError:
    """The error for a file where the name or folder of a model is needed."""
    found = _other_kind(name, file)
    if found is not None:
        return ModelError(f"model {name} is {found[0]}", hint=found[1])
    holding = held(name, file)
    if not holding.loads:
        return ModelError(f"model {name} is {holding.what}")
    names = holding.names or tuple(CATALOG)
    return ModelError(
        f"model {name}: a file does not name its model; this is {holding.what}",
        hint=f"give --model NAME --weights {file}, with NAME one of {', '.join(names)}; edits need "
        "the folder of a whole pipeline",
    )


def held(name: str, file: Path) -> Holding:
    """What a safetensors file holds.

    Raises:
        ModelError: If it is of another kind, or damaged.
    """
    check_bytes(name, file)
    try:
        with safe_open(file, framework="np") as opened:
            keys = list(opened.keys())
            return _holding(keys, lambda key: list(opened.get_slice(key).get_shape()))
    except (OSError, SafetensorError) as error:
        raise unloadable(name, file, error) from error


def _other_kind(name: str, file: Path) -> tuple[str, str] | None:
    """What a file is that is no safetensors file, and the remedy; None for safetensors."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            first = opened.read(512)
    except OSError as error:
        raise unloadable(name, file, error) from error
    # The header of safetensors is a JSON object after its length in 8 bytes.
    if first[8:9] == b"{" and struct.unpack("<Q", first[:8])[0] <= size - 8:
        return None
    if not first:
        return "empty (0 bytes)", "download it again"
    start = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for sign, what, remedy in _SIGNS:
        if start.startswith(sign):
            return what, remedy
    if start.startswith(b"{"):
        return "a text in JSON, as of a failed download", "download the file itself"
    if file.suffix == ".safetensors":
        return None  # cut short or damaged: its reader says how
    return _OTHER, _SAFETENSORS


def _holding(keys: Sequence[str], shape: Callable[[str], list[int]]) -> Holding:
    for what, parts in _PARTS.items():
        if any(part in key for key in keys for part in parts):
            return Holding(what)
    shapes = [shape(key) for key in keys] if len(keys) <= 3 else []
    lone = shapes and all(len(each) in (1, 2) and each[-1] in _TEXT_WIDTHS for each in shapes)
    if keys and (set(keys) <= _EMBEDDINGS or (lone and not any("." in key for key in keys))):
        return Holding(_EMBEDDING)
    family, names = _family(keys, shape)
    if any(key.startswith(AUTOENCODER_PREFIXES) for key in keys):
        return Holding(f"a whole checkpoint{family and f' of {family}'}", names, loads=True)
    if family or any(key.startswith(_DENOISER) for key in keys):
        return Holding(f"a denoiser{family and f' of {family}'} without its autoencoder")
    if any(key.startswith(_TEXT_PARTS) for key in keys):
        return Holding("a text encoder")
    if any(key.startswith("encoder.") for key in keys):
        return Holding("an autoencoder", loads=True)
    if any(key.startswith("decoder.") for key in keys):
        return Holding("a decoder without its encoder")
    return Holding(f"none that is known, with tensors such as {min(keys, default='none')!r}")


def _family(keys: Sequence[str], shape: Callable[[str], list[int]]) -> tuple[str, tuple[str, ...]]:
    """The family of the denoiser in a file and its catalogue names; empty if there is none."""
    own = {key.removeprefix(_DENOISER): key for key in keys}
    if any(key.startswith("double_blocks.") for key in own):
        if any(key.startswith("double_stream_modulation") for key in own):
            return "FLUX.2", ("flux2", "flux2-dev", "flux2-klein")
        fed = shape(own["img_in.weight"])[-1] if "img_in.weight" in own else 0
        if fed > 64:  # the kept region and the mask are further channels
            return "FLUX.1 Fill", ("flux1", "flux1-fill")
        return "FLUX.1", ("flux1", "flux1-dev", "flux1-kontext")
    if any(key.startswith("joint_blocks.") for key in own):
        if any(key.endswith(".attn.ln_q.weight") for key in own):
            return "Stable Diffusion 3.5", ("sd35",)
        return "Stable Diffusion 3", ("sd3",)
    text = next((key for key in own if key.endswith(".attn2.to_k.weight")), None)
    first = next((key for key in ("input_blocks.0.0.weight", "conv_in.weight") if key in own), None)
    encoders = [start for start in _TEXT_ENCODERS if any(key.startswith(start) for key in keys)]
    width = _TEXT_ENCODERS[encoders[0]] if encoders else 0
    if text is not None:
        width = shape(own[text])[-1]
    channels = None if first is None else shape(own[first])[1]
    return denoiser_of(width, channels) or ("", ())
