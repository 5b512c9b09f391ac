"""What a plan asks of one photo, unit by unit, and the keys that everything is stored under.

A key is a digest of all that decides a result: photo, weights, recipe, edit, mask, seed …
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from photovax.attack.recipe import Recipe
from photovax.evaluation.plan import Asked, Floor, Plan, Variant
from photovax.evaluation.store import key_of
from photovax.evaluation.subject import FLOOR_SEED, Subject
from photovax.immunize import Immunizer
from photovax.models.edit import Edit, Mode

__all__ = ["Protection", "Unit", "Units"]


@dataclass(frozen=True)
class Protection:
    """How one saved photo comes to be: by a recipe, or by random noise.

    Attributes:
        key: What it is stored under.
        by: The recipe or the noise.
        masked: Only the subject is changed.
    """

    key: str
    by: Recipe | Floor
    masked: bool

    @property
    def levels(self) -> float | None:
        """Largest change allowed, in 8-bit levels; None where another norm bounds it."""
        return self.by.levels


@dataclass(frozen=True)
class Unit:
    """One edit of one immunized photo.

    Attributes:
        label: The recipe's or the floor's.
        protection: How the photo was immunized.
        purification: What the adversary does to it first.
        asked: Which edit.
        edit: The edit with this photo's prompt.
        seed: Of the edit.
        key: What it is stored under.
        reference: What the edit of the original is stored under.
        floor: Key of the unit of noise to compare with; None for noise itself.
    """

    label: str
    protection: Protection
    purification: str
    asked: Asked
    edit: Edit
    seed: int
    key: str
    reference: str
    floor: str | None


class Units:
    """The units of a plan.

    Args:
        plan: What to do.
        immunizer: Its weights are part of the keys.
        editor_digests: SHA-256 of the weights that the editor takes for each of the plan's modes.
        size: Short side, in pixels, at which the editor is fed photos.
    """

    def __init__(
        self, plan: Plan, immunizer: Immunizer, editor_digests: Mapping[Mode, str], size: int
    ) -> None:
        self.plan, self.size = plan, size
        self._editor_digests = editor_digests
        # Hashed once: recipes adapted to each way of editing, and the weights they attack.
        self._recipes: dict[tuple[str, str], tuple[Recipe, list[str]]] = {}
        for variant in plan.variants:
            for mode in plan.modes:
                if variant.applies(mode):
                    recipe = variant.against(mode)
                    self._recipes[variant.label, mode] = (recipe, immunizer.digests(recipe))

    @property
    def per_photo(self) -> int:
        """How many units a photo with a mask has."""
        count = 0
        for asked in self.plan.edits:
            fitting = [v for v in self.plan.variants if v.applies(asked.edit.mode)]
            count += len(fitting) + len({v.floor(asked.edit.mode) for v in fitting})
        return count * self.plan.seeds * len(self.plan.purifications)

    def of(self, subject: Subject) -> list[Unit]:
        """The units of one photo: by purification, then by protection, each key and label once."""
        found: dict[tuple[str, str], Unit] = {}
        for purification in self.plan.purifications:
            for variant, asked in self._pairs(subject):
                for label, protection, floor in self._protections(subject, variant, asked):
                    for seed in range(self.plan.seeds):
                        reference = self.reference(subject, asked, seed, purification)
                        unit = Unit(
                            label,
                            protection,
                            purification,
                            asked,
                            asked.of(subject.digest),
                            seed,
                            key_of(reference, protection.key),
                            reference,
                            None if floor is None else key_of(reference, floor.key),
                        )
                        found.setdefault((label, unit.key), unit)
        order = {key: index for index, key in enumerate(dict.fromkeys(map(_group, found.values())))}
        return sorted(found.values(), key=lambda unit: order[_group(unit)])

    def without_mask(self, subject: Subject) -> list[str]:
        """Names of the edits that cannot be done for want of a mask."""
        if subject.kept is not None:
            return []
        return [a.name for a in self.plan.edits if a.edit.mode == "inpaint" and a.needs_mask]

    def reference(self, subject: Subject, asked: Asked, seed: int, purification: str) -> str:
        """The key of an edit of the original."""
        mask = (asked.mask, subject.mask_digest()) if asked.edit.mode == "inpaint" else None
        edit = asked.of(subject.digest)
        made_by = (self._editor_digests[edit.mode], self.size)
        return key_of(subject.digest, purification, asdict(edit), mask, seed, *made_by)

    def _pairs(self, subject: Subject) -> Iterator[tuple[Variant, Asked]]:
        left_out = self.without_mask(subject)
        for variant in self.plan.variants:
            for asked in self.plan.edits:
                mode = asked.edit.mode
                maskless = subject.kept is None and variant.against(mode).needs_mask
                if variant.applies(mode) and asked.name not in left_out and not maskless:
                    yield variant, asked

    def _protections(
        self, subject: Subject, variant: Variant, asked: Asked
    ) -> list[tuple[str, Protection, Protection | None]]:
        """Labels and protections of a recipe and its noise; for the recipe also its noise's."""
        mode = asked.edit.mode
        recipe, digests = self._recipes[variant.label, mode]
        floor, masked = variant.floor(mode), recipe.needs_mask
        mask = subject.mask_digest() if masked else None
        # In folders of older versions "noise" of an l2 norm is too short where it is masked.
        drawn = "noise of full length" if floor.norm == "l2" else "noise"
        noise = Protection(
            key_of(subject.digest, drawn, floor.facts(), FLOOR_SEED, mask), floor, masked
        )
        made = Protection(key_of(subject.digest, recipe.digest(), digests, mask), recipe, masked)
        return [(floor.label, noise, None), (variant.label, made, noise)]


def _group(unit: Unit) -> tuple[str, str]:
    return unit.purification, unit.protection.key
