"""The units of work of a plan for one photo, and the keys that results are stored under.

A key is a digest of everything that determines a result: photo, weights, recipe, edit, mask, seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain

from photovax.adversary.purify import THEN
from photovax.attack.problem import fed_side
from photovax.attack.recipe import Recipe
from photovax.evaluation.plan import Asked, Floor, Plan, Variant
from photovax.evaluation.store import key_of
from photovax.evaluation.subject import FLOOR_SEED, Subject
from photovax.immunizer import Immunizer
from photovax.models.edit import Edit, Mode

__all__ = ["Protection", "Unit", "Units"]


_LARGE = 100_000
"""A short side in pixels that is larger than any model is fed."""


@dataclass(frozen=True)
class Protection:
    """How one saved photo is made: by a recipe or with random noise.

    Attributes:
        key: Key that the photo is stored under.
        by: The recipe or the noise.
        masked: Whether only the subject is changed.
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
        label: Label of the recipe or the noise.
        protection: How the photo is made.
        purification: Purification before the edit.
        asked: The kind of edit.
        edit: The edit with the prompt of this photo.
        seed: Seed of the edit.
        key: Key that the result is stored under.
        reference: Key of the edit of the original.
        floor: Key of the unit with noise to compare with; None for noise.
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
        plan: The plan.
        immunizer: Immunizer, whose weights are part of the keys.
        editor_digests: SHA-256 of the weights of the editor for each way of editing.
        size: Short side, in pixels, at which the editor is fed photos.
        purified_by: Digest of each of the plan's purifications.
        settings: Digests of the configurations of the models that are attacked.
    """

    def __init__(
        self,
        plan: Plan,
        immunizer: Immunizer,
        editor_digests: Mapping[Mode, str],
        size: int,
        purified_by: Mapping[str, str],
        settings: Sequence[str] = (),
    ) -> None:
        self.plan, self.size = plan, size
        self._editor_digests, self._models = editor_digests, immunizer.models
        self._purified_by = purified_by
        # Recipes adapted to each way of editing, with digests of what they use, hashed once, and
        # the sizes that models are fed.
        self._recipes: dict[tuple[str, str], tuple[Recipe, list[str]]] = {}
        self._noise_labels: dict[tuple[str, str], str] = {}
        noises: dict[str, str] = {}
        for variant in plan.variants:
            for mode in plan.modes:
                if variant.applies(mode):
                    recipe = variant.against(mode)
                    floor = self._floor(variant, mode, _LARGE)
                    which = key_of(floor.facts())
                    same = noises.setdefault(floor.label, which) == which
                    label = floor.label if same else f"{floor.label} for {variant.label}"
                    self._noise_labels[variant.label, mode] = label
                    used = [*immunizer.all_digests(recipe), *recipe.picture_digests(), *settings]
                    sizes = [str(recipe.size or model.size) for model in immunizer.models]
                    self._recipes[variant.label, mode] = (recipe, used + sizes)

    def of(self, subject: Subject) -> list[Unit]:
        """The units of one photo, ordered by purification and protection, without duplicates."""
        every = self.plan.purifications
        return self._units(subject, {variant.label: every for variant in self.plan.variants})

    def chained(self, subject: Subject, first: Mapping[str, str]) -> list[Unit]:
        """The units of one photo with two purifications in turn.

        Args:
            subject: The photo.
            first: First purification for each recipe's label; recipes without one are left out.
        """
        return self._units(
            subject,
            {
                label: [f"{name}{THEN}{other}" for other in self.plan.cheap if other != name]
                for label, name in first.items()
            },
        )

    def _units(self, subject: Subject, purifications: Mapping[str, Sequence[str]]) -> list[Unit]:
        """The units of one photo with the purifications of each recipe's label."""
        found: dict[tuple[str, str], Unit] = {}
        for purification in dict.fromkeys(chain.from_iterable(purifications.values())):
            for variant, asked in self._pairs(subject):
                if purification not in purifications.get(variant.label, ()):
                    continue
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
        """What is impossible without a mask: edits, and recipes against other edits."""
        if subject.kept is not None:
            return []
        edits = [asked for asked in self.plan.edits if asked.needs_mask]
        recipes = [
            f"{variant.label}, {asked.name}"
            for variant in self.plan.variants
            for asked in self.plan.edits
            if asked not in edits and variant.applies(asked.edit.mode)
            if variant.against(asked.edit.mode).needs_mask
        ]
        return [*(asked.name for asked in edits), *recipes]

    def reference(self, subject: Subject, asked: Asked, seed: int, purification: str) -> str:
        """The key of an edit of the original."""
        mask = (asked.mask, subject.mask_digest()) if asked.edit.mode == "inpaint" else None
        edit = asked.of(subject.digest)
        made_by = (self._editor_digests[edit.mode], self.size)
        purified_by = self._purified_by.get(purification) or [
            self._purified_by[each] for each in purification.split(THEN)
        ]
        return key_of(subject.digest, purified_by, asdict(edit), mask, seed, *made_by)

    def _pairs(self, subject: Subject) -> Iterator[tuple[Variant, Asked]]:
        masked = subject.kept is not None
        for variant in self.plan.variants:
            for asked in self.plan.edits:
                mode = asked.edit.mode
                if not variant.applies(mode) or (asked.needs_mask and not masked):
                    continue
                if masked or not variant.against(mode).needs_mask:
                    yield variant, asked

    def _protections(
        self, subject: Subject, variant: Variant, asked: Asked
    ) -> list[tuple[str, Protection, Protection | None]]:
        """Label, protection and noise protection of a recipe's noise and of the recipe."""
        mode = asked.edit.mode
        recipe, digests = self._recipes[variant.label, mode]
        short = min(subject.photo.height, subject.photo.width)
        floor, masked = self._floor(variant, mode, short), recipe.needs_mask
        mask = subject.mask_digest() if masked else None
        noise = Protection(
            key_of(subject.digest, "noise", floor.facts(), FLOOR_SEED, mask), floor, masked
        )
        made = Protection(key_of(subject.digest, recipe.digest(), digests, mask), recipe, masked)
        label = self._noise_labels[variant.label, mode]
        return [(label, noise, None), (variant.label, made, noise)]

    def _floor(self, variant: Variant, mode: Mode, short: int) -> Floor:
        """The noise floor of a recipe for photos with a short side of so many pixels."""
        floor = variant.floor(mode)
        if not floor.constraint.bounds_seen:
            return floor
        return replace(floor, side=fed_side(variant.against(mode), self._models, short))


def _group(unit: Unit) -> tuple[str, str]:
    return unit.purification, unit.protection.key
