"""Transformers whose edits are run: their usual settings by the class of their pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from photovax.errors import ModelError, first_line
from photovax.models.catalog.objects import json_object
from photovax.models.edit import Edit

__all__ = ["DISTILLED", "FLOW_EDITS", "flow_of"]

_SD3 = Edit("img2img", guidance=7, strength=0.6, steps=50)
_FLUX = Edit("img2img", guidance=7, strength=0.6, steps=28)
_FLUX2 = Edit("instruct", guidance=4, steps=50)
_QWEN = Edit("img2img", guidance=4, strength=0.6, steps=50)
_QWEN_EDIT = Edit("instruct", guidance=4, steps=50)

FLOW_EDITS: dict[str, Edit] = {
    "StableDiffusion3Pipeline": _SD3,
    "StableDiffusion3Img2ImgPipeline": _SD3,
    "FluxPipeline": _FLUX,
    "FluxImg2ImgPipeline": _FLUX,
    "FluxKontextPipeline": Edit("instruct", guidance=3.5, steps=28),
    "FluxFillPipeline": Edit("inpaint", guidance=30, steps=50),
    "Flux2Pipeline": _FLUX2,
    "Flux2KleinPipeline": _FLUX2,
    "QwenImagePipeline": _QWEN,
    "QwenImageImg2ImgPipeline": _QWEN,
    "QwenImageEditPipeline": _QWEN_EDIT,
    "QwenImageEditPlusPipeline": _QWEN_EDIT,
}
"""The only way of editing of each pipeline, with the defaults of its call in diffusers."""

DISTILLED = Edit("instruct", guidance=1, steps=4)
"""The usual edit of FLUX.2 [klein] where it is distilled, as its model card says."""


def flow_of(folder: Path, *, name: str) -> tuple[str, bool, Edit]:
    """What a pipeline's folder says of its transformer, in ``model_index.json``.

    Args:
        folder: Folder of the pipeline.
        name: Name that the user gave the model.

    Returns:
        The class of the pipeline, a key of ``FLOW_EDITS``; whether guidance is distilled into the
        transformer, so that there is none; and its usual edit.

    Raises:
        ModelError: If the index is missing or damaged, or edits by such a pipeline are not run.
    """
    index = folder / "model_index.json"
    try:
        told = json_object(index)
        pipeline = str(told["_class_name"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"model {name}: {index} cannot be read: {first_line(error)}; give the whole folder of "
            "a diffusers pipeline"
        ) from error
    if pipeline not in FLOW_EDITS:
        raise ModelError(
            f"model {name}: {folder} holds a {pipeline}; transformers edit and can be attacked in "
            f"{', '.join(FLOW_EDITS)}, in others only the autoencoder"
        )
    distilled = bool(told.get("is_distilled", False))
    return pipeline, distilled, replace(DISTILLED if distilled else FLOW_EDITS[pipeline])
