"""The effect of a change on models, compared with that of random noise, and the verdict on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

import numpy as np
import torch

from photovax.metrics.latent import LatentEffect, latent_effects
from photovax.models.contracts import Autoencoder

__all__ = ["FLOOR_SEEDS", "Fed", "ModelCheck", "Verdict", "judge", "weakest"]

FLOOR_SEEDS = (0, 1, 2)
WEAK_RATIO = 2.0
# By how much the mean effect of noise may differ from that of its first seed. On photos with a
# short side of 96 to 321 pixels it differed by less than 0.06.
_SCATTER = 0.2


@dataclass(frozen=True)
class _Bar:
    """What an effect has to reach: a size, and a multiple of that of noise.

    Attributes:
        enough: Least size of a PASS.
        times: Least multiple of a PASS.
        little: Least size of a WEAK, which has twice the effect of noise.
    """

    enough: float
    times: float
    little: float

    def verdict(self, effect: float, floor: float) -> Verdict:
        # In this order an effect that is no number, as of faulty weights, fails.
        if effect >= self.enough and effect >= self.times * floor:
            return Verdict.PASS
        if effect > 0 and effect >= self.little and effect >= WEAK_RATIO * floor:
            return Verdict.WEAK
        return Verdict.FAIL


_SHIFT = _Bar(enough=0.30, times=5.0, little=0.0)
_DAMAGE = _Bar(enough=4.0, times=3.0, little=1.0)

Fed = tuple[Autoencoder, int]
"""A model and the short side, in pixels, at which it is fed photos."""

_MEANING = {
    "PASS": "edits by these models usually come out worse, though one can still succeed",
    "WEAK": "edits by these models come out a little worse, and many succeed",
    "FAIL": "these models see hardly more than noise: edits come out as those of the original",
}


class Verdict(StrEnum):
    """The verdict of a check.

    PASS: the latent of every model moves by 0.30 of its standard deviation or more, and at least
    five times as far as under random noise of the same size; or its reconstruction loses 4 dB or
    more instead, and at least three times as much. WEAK: the latent moves at least twice as far as
    under noise; or by 0.30, and the reconstruction loses 1 dB or more, and at least twice as much.
    FAIL: less.

    docs/checks.md gives the measurements behind these thresholds.
    """

    PASS = "PASS"  # noqa: S105 - a verdict, not a secret
    WEAK = "WEAK"
    FAIL = "FAIL"

    @property
    def exit_code(self) -> int:
        """0, 10 or 11, which no error uses."""
        return {"PASS": 0, "WEAK": 10, "FAIL": 11}[self.value]

    @property
    def meaning(self) -> str:
        """What it means for edits, in words."""
        return _MEANING[self.value]


@dataclass(frozen=True)
class ModelCheck:
    """The effect on one model, and that of random noise of the same size.

    Attributes:
        effect: Effect of the immunization.
        floor: Mean effect of random noise over some seeds.
    """

    effect: LatentEffect
    floor: LatentEffect

    @property
    def verdict(self) -> Verdict:
        """The verdict for this model alone: the better of those by latent and reconstruction."""
        found = [_SHIFT.verdict(self.effect.shift, self.floor.shift)]
        far = self.effect.shift >= _SHIFT.enough
        if far and self.effect.damage is not None and self.floor.damage is not None:
            found.append(_DAMAGE.verdict(self.effect.damage, self.floor.damage))
        return max(found, key=_ORDER.index)


_ORDER = (Verdict.FAIL, Verdict.WEAK, Verdict.PASS)


def weakest(models: Mapping[str, ModelCheck]) -> Verdict:
    """The worst verdict of some models."""
    return min((found.verdict for found in models.values()), key=_ORDER.index)


def judge(
    models: Sequence[Fed],
    before: np.ndarray,
    after: np.ndarray,
    spoilt: Callable[[int], np.ndarray],
    device: torch.device,
    *,
    seeds: Sequence[int] = FLOOR_SEEDS,
    decoded: int | None = None,
    decide: bool = False,
) -> dict[str, ModelCheck]:
    """The effect of a change on each model, by its name.

    Args:
        models: Loaded models, and the sizes at which they are fed photos.
        before: The picture without the change, uint8 (H, W, C).
        after: The changed picture, of the same shape.
        spoilt: Function of a seed that returns the picture with noise of the same size instead.
        device: Device of the models.
        seeds: Seeds of the noise.
        decoded: Number of pictures, the changed one first, for which to measure the damage to
            reconstructions, too; all when None.
        decide: Whether only the verdict counts: no more seeds are used than it depends on, and the
            damage of all is measured after all where it may depend on that.
    """
    found = {}
    for model, size in models:
        pictures = chain([after], map(spoilt, seeds))
        effect, *floors = latent_effects(
            model,
            before,
            pictures,
            device,
            size=size,
            decoded=decoded,
            decide=_undecided if decide else None,
            enough=_decided if decide else None,
        )
        damages = [each.damage for each in floors if each.damage is not None]
        floor = LatentEffect(
            size=size,
            shift=float(np.mean([each.shift for each in floors])),
            damage=float(np.mean(damages)) if damages else None,
        )
        found[model.name] = ModelCheck(effect, floor)
    return found


def _decided(shifts: Sequence[float]) -> bool:
    """Whether the verdict is known: shifts under more noise cannot change it."""
    effect, *floors = shifts
    if not floors:
        return False
    floor = float(np.mean(floors))
    if _undecided((effect, (1 + _SCATTER) * floor)):
        return False
    least, most = (_SHIFT.verdict(effect, share * floor) for share in (1 - _SCATTER, 1 + _SCATTER))
    return least is most


def _undecided(shifts: Sequence[float]) -> bool:
    """Whether the verdict depends on reconstructions: the latent moves far, but so by noise."""
    effect, *floors = shifts
    return _SHIFT.enough <= effect < _SHIFT.times * float(np.mean(floors))
