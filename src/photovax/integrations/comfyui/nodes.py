"""Three nodes: immunize pictures, check them, and edit them beside their originals.

The attributes in capitals are the host's protocol, see "Server overview" in its documentation.
Models stay loaded between runs, as ``photovax.functions`` keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

import photovax
from photovax.attack.budgets import VISIBILITY
from photovax.attack.optimise import Step
from photovax.attack.presets import DEFAULT, PRESETS
from photovax.checks.check import Check as Found
from photovax.checks.verdicts import weakest
from photovax.evaluation.true_edits import lost
from photovax.integrations.comfyui.batches import batch_of, kept_in, pairs, pictures_of
from photovax.integrations.comfyui.host import device, teller
from photovax.metrics.distortion import visibility
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.edit import MODES, STEPS, STRENGTHS
from photovax.ranges import SEEDS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

_OWN = "of the recipe"
_MODELS = (
    "STRING",
    {"default": DEFAULT_MODEL, "tooltip": "Catalogue names or folders, with commas between them."},
)
_SIZE = (
    "INT",
    {
        "default": 0,
        "min": 0,
        "max": 4096,
        "step": 8,
        "tooltip": "Short side in pixels at which models are fed the picture; 0 is the model's.",
    },
)
# Without a new seed after each run, for which the host would immunize again.
_SEED = (
    "INT",
    {"default": 0, "min": 0, "max": SEEDS.most, "control_after_generate": False},
)
_MASK = (
    "MASK",
    {"tooltip": "What an editor repaints. Recipes change only what it keeps; empty is no mask."},
)


class Immunize:
    """Immunizes every picture of a batch, at its own size."""

    CATEGORY: ClassVar = "photovax"
    DESCRIPTION: ClassVar = "Add a change too small to see that makes AI edits go wrong."
    FUNCTION: ClassVar = "immunize"
    RETURN_TYPES: ClassVar = ("IMAGE",)
    RETURN_NAMES: ClassVar = ("immunized",)
    OUTPUT_TOOLTIPS: ClassVar = ("8-bit levels: save it without loss, and do not resize it.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs, for the host."""
        return {
            "required": {
                "image": ("IMAGE",),
                "recipe": (list(PRESETS), {"default": DEFAULT}),
                "visibility": ([_OWN, *VISIBILITY], {"default": _OWN}),
                "levels": (
                    "FLOAT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 255,
                        "step": 0.5,
                        "tooltip": "Largest change in 8-bit levels instead; 0 is the recipe's.",
                    },
                ),
                "seed": _SEED,
            },
            "optional": {
                "mask": _MASK,
                "mode": (
                    [_OWN, *MODES],
                    {"default": _OWN, "tooltip": "Way of editing, for recipes through an edit."},
                ),
                "models": _MODELS,
                "size": _SIZE,
            },
        }

    def immunize(
        self,
        image: Tensor,
        recipe: str,
        visibility: str,
        levels: float,
        seed: int,
        mask: Tensor | None = None,
        mode: str = _OWN,
        models: str = DEFAULT_MODEL,
        size: int = 0,
    ) -> tuple[Tensor]:
        """Immunize the pictures of an IMAGE; see ``photovax.immunize``."""
        given, tell = pictures_of(image), teller()
        made: list[np.ndarray] = []
        for picture, kept in zip(given, kept_in(mask, len(given)), strict=True):
            made.append(
                photovax.immunize(
                    picture,
                    recipe=recipe,
                    visibility=None if visibility == _OWN else visibility,
                    budget=levels or None,
                    mode=None if mode == _OWN else mode,
                    models=_names(models),
                    mask=kept,
                    size=size or None,
                    seed=seed,
                    device=device(),
                    callback=_steps(tell, len(made), len(given)),
                )
            )
            tell(len(made), len(given))  # recipes without steps report none
        return (batch_of(made, image),)


class Check:
    """Measures pictures against their originals."""

    CATEGORY: ClassVar = "photovax"
    DESCRIPTION: ClassVar = "How strongly pictures, or resized copies of them, are immunized."
    FUNCTION: ClassVar = "check"
    OUTPUT_NODE: ClassVar = True
    RETURN_TYPES: ClassVar = ("STRING", "FLOAT", "STRING")
    RETURN_NAMES: ClassVar = ("verdict", "shift", "report")
    OUTPUT_TOOLTIPS: ClassVar = (
        "PASS, WEAK or FAIL: the worst of all pictures and models.",
        "The smallest shift of a latent, in standard deviations.",
        "All figures.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs, for the host."""
        return {
            "required": {"image": ("IMAGE",), "original": ("IMAGE",)},
            "optional": {"models": _MODELS, "size": _SIZE},
        }

    def check(
        self, image: Tensor, original: Tensor, models: str = DEFAULT_MODEL, size: int = 0
    ) -> dict[str, Any]:
        """Check the pictures of an IMAGE; see ``photovax.check``."""
        compared, tell = pairs(image, original), teller()
        found: list[Found] = []
        for after, before in compared:
            found.append(
                photovax.check(
                    after, before, models=_names(models), size=size or None, device=device()
                )
            )
            tell(len(found), len(compared))
        every = {
            f"{index} {name}": model
            for index, each in enumerate(found)
            for name, model in each.models.items()
        }
        report = "\n".join(_lines(index, each) for index, each in enumerate(found, 1))
        shift = min(model.effect.shift for model in every.values())
        verdict = weakest(every).value
        return {"ui": {"text": [report]}, "result": (verdict, shift, report)}


class EditAndCompare:
    """Edits pictures and their originals alike, and compares the edits."""

    CATEGORY: ClassVar = "photovax"
    DESCRIPTION: ClassVar = "The same edit of pictures and of their originals, with one seed."
    FUNCTION: ClassVar = "edit"
    OUTPUT_NODE: ClassVar = True
    RETURN_TYPES: ClassVar = ("IMAGE", "IMAGE", "FLOAT", "STRING")
    RETURN_NAMES: ClassVar = ("edited", "edited original", "psnr", "report")
    OUTPUT_TOOLTIPS: ClassVar = (
        "Edits of the pictures.",
        "Edits of the originals.",
        "Largest PSNR between the two, in dB: the lower, the more they differ.",
        "All figures.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs, for the host."""
        return {
            "required": {
                "image": ("IMAGE",),
                "original": ("IMAGE",),
                "prompt": ("STRING", {"multiline": True, "default": "make it night"}),
                "mode": (list(MODES),),
                "seed": _SEED,
            },
            "optional": {
                "mask": _MASK,
                "model": ("STRING", {"default": DEFAULT_MODEL}),
                "steps": (
                    "INT",
                    {"default": 0, "min": 0, "max": STEPS.most, "tooltip": "0 is the model's."},
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": STRENGTHS.most,
                        "step": 0.05,
                        "tooltip": "Of img2img and inpaint; 0 is the model's.",
                    },
                ),
                "size": _SIZE,
            },
        }

    def edit(
        self,
        image: Tensor,
        original: Tensor,
        prompt: str,
        mode: Any,
        seed: int,
        mask: Tensor | None = None,
        model: str = DEFAULT_MODEL,
        steps: int = 0,
        strength: float = 0,
        size: int = 0,
    ) -> dict[str, Any]:
        """Edit the pictures of two IMAGEs; see ``photovax.edit``."""
        compared, tell = pairs(image, original), teller()
        edits, clean, figures, lines = [], [], [], []
        masks = kept_in(mask, len(compared))
        for index, (pair, kept) in enumerate(zip(compared, masks, strict=True)):
            made = []
            for picture in pair:
                made.append(
                    photovax.edit(
                        picture,
                        prompt,
                        mode=mode,
                        model=model,
                        mask=kept,
                        strength=strength or None,
                        steps=steps or None,
                        seed=seed,
                        size=size or None,
                        device=device(),
                    )
                )
                tell(2 * index + len(made), 2 * len(compared))
            found = visibility(made[1], made[0])
            further = lost(prompt, pair[1], made[1], made[0]) if mode == "instruct" else None
            edits.append(made[0])
            clean.append(made[1])
            figures.append(found.psnr)
            lines.append(
                f"picture {index + 1}: PSNR between the edits {found.psnr:.1f} dB"
                + ("" if found.ssim is None else f", SSIM {found.ssim:.3f}")
                + ("" if further is None else f"; {further:.1f} dB further from the true edit")
            )
        report = "\n".join(lines)
        result = (batch_of(edits, image), batch_of(clean, image), max(figures), report)
        return {"ui": {"text": [report]}, "result": result}


def _steps(tell: Callable[[int, int], object], done: int, pictures: int) -> Callable[[Step], None]:
    """A callback of a descent, after which so many pictures of a batch are done."""

    def report(step: Step) -> None:
        tell(done * step.steps + step.index + 1, pictures * step.steps)

    return report


def _names(models: str) -> list[str]:
    return [name for name in map(str.strip, models.split(",")) if name]


def _lines(number: int, found: Found) -> str:
    step = "" if found.step is None else f" ({found.step.line}; the original likewise)"
    lines = [
        f"picture {number}: {found.verdict.value}, {found.meaning}{step}",
        f"  seen: {found.seen.line}",
    ]
    lines += [
        f"  {name}: {model.verdict.value}, latent shift {model.effect.shift:.3f}, by noise of the "
        f"same size {model.floor.shift:.3f}"
        for name, model in found.models.items()
    ]
    return "\n".join(lines)


NODE_CLASS_MAPPINGS: dict[str, type[Any]] = {
    "PhotovaxImmunize": Immunize,
    "PhotovaxCheck": Check,
    "PhotovaxEditAndCompare": EditAndCompare,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "PhotovaxImmunize": "Immunize (photovax)",
    "PhotovaxCheck": "Check immunization (photovax)",
    "PhotovaxEditAndCompare": "Edit and compare (photovax)",
}
