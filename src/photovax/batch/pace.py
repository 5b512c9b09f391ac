"""The plan of a photo's time: what its limit leaves for steps and for optional measurements."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from photovax.models.contracts import Autoencoder
from photovax.models.views import ShortSide
from photovax.pictures.display import FULL_HD
from photovax.pictures.photo import Photo
from photovax.saving import Extra
from photovax.tensors import tensor

__all__ = ["Asked", "Pace", "Plan"]

_RESIZED = 0.020
"""Seconds a megapixel of a resize to the size of a model, with which a machine is compared."""


@dataclass(frozen=True)
class _Cost:
    """Time of a stage, measured on one core of a Xeon.

    Attributes:
        fixed: Seconds for any photo.
        megapixel: Seconds for each megapixel of the photo.
        displayed: Seconds for each megapixel that a full-HD display shows of it.
        passes: Passes through the encoders, whose time is measured on the photo itself.
    """

    fixed: float = 0.0
    megapixel: float = 0.0
    displayed: float = 0.0
    passes: float = 0.0


_ANSWER = _Cost(megapixel=0.03, passes=8)  # of the networks, with its score
_STEP = _Cost(megapixel=0.03, passes=24)  # one, with all that is done once before and after steps
_ROUNDING = _Cost(megapixel=0.10)  # and enlarging, which comes before
_WRITING = _Cost(fixed=0.02, megapixel=0.25)  # and reading and verifying the file
_VERDICT = _Cost(megapixel=0.15, passes=9)
_OPTIONAL: dict[Extra, _Cost] = {
    "visibility": _Cost(fixed=0.5, megapixel=0.18, displayed=1.9),
    "survival": _Cost(fixed=1, megapixel=4, passes=40),
}
_JOD = _Cost(displayed=0.9)
_TRIES = 9  # of a search for a strength


@dataclass(frozen=True)
class Asked:
    """What is asked of a photo beside its steps.

    Attributes:
        answered: Whether networks give an answer without steps.
        jod: Whether a visibility in JOD is searched for.
        passing: Whether the weakest change that passes is searched for.
        survival: Whether to measure what common treatments leave.
        measured: Whether to measure visibility and effect.
    """

    answered: bool
    jod: bool = False
    passing: bool = False
    survival: bool = False
    measured: bool = True


class Plan:
    """The plan of one photo.

    Args:
        ends: Time of ``time.perf_counter`` at which the file should be there.
        answer: Predicted time of the least that is done before rounding, in seconds.
        step: The same with one step.
        rounding: Predicted time of rounding, and of a search for a strength.
        saving: Predicted time from there to the verdict on the saved file.
        optional: Predicted time of each optional measurement that is wanted.

    Attributes:
        least: Predicted time, in seconds from now, until there is a file and its verdict.
        steps: Time limit of the descent, in seconds; 0 for the networks' answer alone.
    """

    def __init__(
        self,
        ends: float,
        *,
        answer: float,
        step: float,
        rounding: float,
        saving: float,
        optional: dict[Extra, float],
    ) -> None:
        self._ends, self._saving, self._optional = ends, saving, optional
        self._immunized = math.inf
        must = rounding + saving
        self.least = min(answer, step) + must
        left = ends - time.perf_counter() - must
        wanted = sum(optional.values())
        if left - wanted >= step:
            self.steps = left - wanted
        else:
            self.steps = left if left >= step else 0.0

    @property
    def late(self) -> bool:
        """Whether even the least takes longer than there is time."""
        return time.perf_counter() + self.least > self._ends

    def immunized(self) -> None:
        """Note that the result is rounded, so that only the saving is left."""
        self._immunized = time.perf_counter()

    def time_for(self, measurement: Extra) -> bool:
        """Whether there is time for a measurement, judged by the time that the saving took."""
        now = time.perf_counter()
        taken = (now - self._immunized) / self._saving if self._saving else 1.0
        return now + self._optional[measurement] * taken <= self._ends

    def correction(self, measured: Sequence[Extra]) -> float:
        """The time from rounding to now, relative to that predicted for these measurements."""
        predicted = self._saving + sum(self._optional[each] for each in measured)
        return (time.perf_counter() - self._immunized) / predicted


class Pace:
    """Plans the time of photos, and corrects its predictions by each that was worked on."""

    def __init__(self) -> None:
        self._correction = 1.0

    def plan(
        self,
        models: Sequence[Autoencoder],
        photo: Photo,
        device: torch.device,
        ends: float,
        asked: Asked,
        *,
        size: int | None,
    ) -> Plan:
        """Plan a photo that is read and about to be immunized.

        A resize of the photo, and a pass through each model's encoder, are timed for it.

        Args:
            models: Models.
            photo: Photo.
            device: Device of the models.
            ends: Time of ``time.perf_counter`` at which the file should be there.
            asked: What is asked beside the steps.
            size: Short side in pixels at which models are fed photos; each model's own when None.
        """
        megapixels = photo.width * photo.height / 1e6
        displayed = megapixels * FULL_HD.scale(photo.height, photo.width) ** 2
        resized, each = _timed(models, photo, device, size)
        slower = resized / (_RESIZED * megapixels) * self._correction

        def predicted(cost: _Cost) -> float:
            pixels = cost.megapixel * megapixels + cost.displayed * displayed
            return slower * (cost.fixed + pixels) + self._correction * cost.passes * each

        step, rounding, verdict = predicted(_STEP), predicted(_ROUNDING), predicted(_VERDICT)
        search = 0.0
        if asked.jod:
            search += _TRIES * (rounding + predicted(_JOD))
        if asked.passing:
            search += _TRIES * (rounding + verdict)
        wanted: list[Extra] = ["visibility"] if asked.measured else []
        if asked.survival:
            wanted.append("survival")
        return Plan(
            ends,
            answer=predicted(_ANSWER) if asked.answered else step,
            step=step,
            rounding=rounding + search,
            saving=predicted(_WRITING) + (verdict if asked.measured else 0.0),
            optional={name: predicted(_OPTIONAL[name]) for name in wanted},
        )

    def learn(self, plan: Plan, measured: Sequence[Extra]) -> None:
        """Correct later predictions by a photo that is saved.

        Args:
            plan: Its plan.
            measured: Extra measurements that were made.
        """
        self._correction *= plan.correction(measured)


def _timed(
    models: Sequence[Autoencoder], photo: Photo, device: torch.device, size: int | None
) -> tuple[float, float]:
    """Seconds of a resize of the photo, and of one pass through all encoders."""
    resized = passed = 0.0
    count = 0
    # A small photo is resized several times, since a few milliseconds say little.
    times = min(8, math.ceil(1e6 / (photo.width * photo.height)))
    with torch.no_grad():
        for model in models:
            view, generator = ShortSide(size or model.size), Generator(device)
            began = time.perf_counter()
            for _ in range(times):
                fed: Tensor = view(tensor(photo.visible(), device), generator)
            # A value is read, since devices other than a CPU compute after the call.
            fed.sum().item()
            count += times
            ready = time.perf_counter()
            model.encode(fed).sum().item()
            resized += ready - began
            passed += time.perf_counter() - ready
    return resized / count, passed
