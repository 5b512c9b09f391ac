"""The settings of an edit, shared by the attack and the adversary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from photovax.errors import UsageError
from photovax.ranges import Range
from photovax.registry import unknown

__all__ = [
    "GUIDANCES",
    "MODES",
    "SIZES",
    "STEPS",
    "STRENGTHS",
    "USUAL_STRENGTH",
    "Edit",
    "Mode",
    "valid_size",
]

Mode = Literal["instruct", "inpaint", "img2img"]
MODES: tuple[Mode, ...] = get_args(Mode)

USUAL_STRENGTH = 0.5
"""Strength of img2img in PhotoGuard's paper (arXiv 2302.06588)."""

STRENGTHS = Range(above=0, most=1)
GUIDANCES = Range(least=1)
STEPS = Range(least=1, most=1000, whole=True)
_ETAS = Range(least=0, most=1)
SIZES = "a multiple of 8 from 64 up"


def valid_size(size: int) -> bool:
    """Whether editors can be fed pictures with this short side, in pixels; see ``SIZES``."""
    return size >= 64 and size % 8 == 0


@dataclass(frozen=True)
class Edit:
    """One edit, without photo, mask and seed.

    Attributes:
        mode: Way of editing. ``instruct`` follows an instruction (InstructPix2Pix, arXiv
            2211.09800); ``inpaint`` repaints a region by a description; ``img2img`` redraws the
            whole picture from a noised copy (SDEdit, arXiv 2108.01073).
        prompt: Instruction or description.
        negative_prompt: Description that guidance moves away from.
        strength: Share of the noise that img2img and inpaint add, in (0, 1]. The lower it is, the
            more of the photo img2img keeps.
        guidance: Scale of classifier-free guidance, 1 or more; 1 disables it.
        image_guidance: Scale of guidance by the photo itself in ``instruct``, 1 or more.
        steps: Denoising steps of a whole schedule, 1 to 1000; img2img takes ``strength`` of them.
        eta: Share of noise that DDIM steps add, in [0, 1].

    Raises:
        UnknownName: If there is no such mode.
        UsageError: If a value is out of range.
    """

    mode: Mode
    prompt: str = ""
    negative_prompt: str = ""
    strength: float = 1.0
    guidance: float = 2.0
    image_guidance: float = 1.0
    steps: int = 20
    eta: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown("mode", self.mode, dict.fromkeys(MODES))
        allowed = {
            "strength": STRENGTHS,
            "steps": STEPS,
            "guidance": GUIDANCES,
            "image_guidance": GUIDANCES,
            "eta": _ETAS,
        }
        for name, within in allowed.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or value not in within:
                whole = "a whole number " if within.whole and not isinstance(value, int) else ""
                raise UsageError(f"{name} must be {whole}{within}, got {value}")
        for name in ("prompt", "negative_prompt"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"{name} must be a text, got {getattr(self, name)!r}")
        if self.mode != "instruct" and int(self.steps * self.strength) < 1:
            raise UsageError(
                f"{self.steps} steps at strength {self.strength:g} leave none to take",
                hint="raise --steps or --strength",
            )

    def asking(self, prompt: str) -> Edit:
        """The same edit with another prompt."""
        return replace(self, prompt=prompt)

    @property
    def guided(self) -> bool:
        """Whether classifier-free guidance is on."""
        return self.guidance > 1
