"""Measures a saved photo and certifies the result."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from photovax.adversary.purify import load_purifier
from photovax.attack.budgets import BUDGETS
from photovax.attack.networks.headers import told_by
from photovax.attack.presets import recipe_from
from photovax.attack.recipe import Recipe
from photovax.certificates.document import VERSION as FORMAT
from photovax.certificates.document import (
    Budget,
    Certificate,
    Effect,
    Measured,
    ModelFacts,
    PhotoFacts,
    fingerprint,
    signed,
    total_of,
)
from photovax.certificates.keys import KeyRing, timestamp
from photovax.certificates.register import Registered, check_weights
from photovax.certificates.verification import Seen
from photovax.checks.check import Check, check_copy, check_loaded
from photovax.checks.verdicts import ModelCheck
from photovax.digests import file_digest
from photovax.errors import BudgetExceeded, PhotovaxError, UsageError
from photovax.immunizer import Immunizer
from photovax.metrics.latent import LatentEffect, latent_shift
from photovax.metrics.visibility import VisibleDifference
from photovax.models.contracts import Autoencoder
from photovax.pictures.chains import CHAINS
from photovax.pictures.outputs import record_of
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.pillow import MAX_PIXELS
from photovax.registry import Part
from photovax.version import VERSION

__all__ = ["ONLY_INSIDE", "SURVIVES", "Issuer", "length_used", "recorded_networks"]

SURVIVES = ("jpeg75", "resize50", *CHAINS)
"""Common processing of photos, after which the effect is measured again."""

ONLY_INSIDE = "edits that need only what lies outside the mask"
"""What a certificate does not cover if only the subject was changed."""

_OF_A_FORMER: Measured = "at least, against a former protected photo"

_NEVER_COVERED = (
    "models and versions of models that are not listed",
    "what other treatment (purification, other compression, cropping) leaves of the effect",
    "whether a given edit fails: effects are measured on latents, not on finished edits",
)


class Issuer:
    """Registered models, loaded once, and the key that signs what is measured on them.

    Args:
        models: The models to immunize against.
        ring: The provider's keys.
        weights: Folder of weights that do not ship with photovax.
        networks: Files of perturbation networks that do not ship with photovax; those of other
            models are left out.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Raises:
        UsageError: If there is no model.
        ModelError: If weights cannot be loaded or have changed since registration.
    """

    def __init__(
        self,
        models: Sequence[Registered],
        ring: KeyRing,
        *,
        weights: Path | None = None,
        networks: Sequence[Path] = (),
        device: str = "auto",
    ) -> None:
        if not models:
            raise UsageError(
                "no model on the register is supported today", hint="see: photovax register list"
            )
        self.models = tuple(models)
        self.ring = ring
        names = [each.model for each in models]
        # The register changes while a service runs, and a model may be supported no longer.
        known = {each.sha256 for each in models}
        fitting = [file for file in networks if told_by(file)["model_digest"] in known]
        self.immunizer = Immunizer(names, weights=weights, networks=fitting, device=device)
        loaded = dict(zip(dict.fromkeys(names), self.immunizer.models, strict=True))
        self._loaded = [loaded[name] for name in names]
        for model, found in zip(self.models, self._loaded, strict=True):
            check_weights(model, found.digest)

    def only(self, models: Sequence[Registered]) -> Issuer:
        """Return an issuer for some of the models. Both share them; none is loaded again."""
        some = copy.copy(self)
        some.models = tuple(models)
        some._loaded = [self._loaded[self.models.index(each)] for each in models]
        some.immunizer = self.immunizer.only([each.model for each in models])
        return some

    def check(
        self,
        photo: Photo,
        original: Photo,
        *,
        size: int | None = None,
        known: VisibleDifference | None = None,
    ) -> Check:
        """Measure a photo against its original on all models; see ``photovax.check``."""
        device = self.immunizer.device
        return check_loaded(photo, original, self._by_name, device=device, size=size, known=known)

    def check_copy(
        self, photo: Photo, original: Photo, *, size: int | None = None, survival: bool = False
    ) -> Check:
        """Measure a photo, or a copy that a platform serves; see ``photovax.check``."""
        device, models = self.immunizer.device, self._by_name
        return check_copy(photo, original, models, device=device, size=size, survival=survival)

    @property
    def _by_name(self) -> dict[str, Autoencoder]:
        return {each.model: model for each, model in zip(self.models, self._loaded, strict=True)}

    def certify(
        self,
        file: Path,
        original: Photo,
        recipe: Recipe,
        *,
        total: float | None = None,
        masked: bool = False,
        renews: str | None = None,
        known: VisibleDifference | None = None,
        networks: Mapping[str, str] | None = None,
    ) -> str:
        """Measure a saved photo against its original, and certify it.

        Args:
            file: The immunized photo.
            original: The original.
            recipe: The recipe of the immunization.
            total: Largest change by all renewals together, in levels for l-infinity budgets and
                otherwise a length; the recipe's radius when None.
            masked: Whether a mask limited the change.
            renews: The signed certificate that this one replaces.
            known: Visibility of the change, if it was measured before.
            networks: SHA-256 of the perturbation networks that gave the change or its start, by the
                name of the model, as in ``Immunized.networks``.

        Returns:
            The signed certificate.

        Raises:
            BudgetExceeded: If the change is larger than ``total``.
            UsageError: If the two photos do not fit together, or do not differ.
            PhotoError: If the file cannot be read.
        """
        photo = read_photo(file, max_pixels=max(MAX_PIXELS, original.width * original.height))
        size = recipe.size
        found = self.check(photo, original, size=size, known=known)
        if found.visible.linf == 0:
            raise UsageError("the photo is its original: nothing of it is immunized")
        norm = recipe.constraint.norm
        budget = Budget(
            norm=norm,
            unit=recipe.constraint.unit,
            total=total_of(recipe) if total is None else total,
            used=length_used(photo, original, norm),
        )
        facts = self.facts(
            found, photo, original, recipe, "against the original", networks=networks
        )
        visible = found.visible.figures() | found.seen.figures()
        visible["linf"] = float(found.visible.linf)
        return self.sign(file, photo, recipe, budget, facts, visible, masked=masked, renews=renews)

    def facts(
        self,
        found: Check,
        photo: Photo,
        before: Photo,
        recipe: Recipe,
        measured: Measured,
        *,
        networks: Mapping[str, str] | None = None,
    ) -> list[ModelFacts]:
        """Convert the result of a check to the statements of a certificate."""
        attacked = dict(zip(self.immunizer.models, self.immunizer.digests(recipe), strict=True))
        checks = [found.models[loaded.name] for loaded in self._loaded]
        return [
            ModelFacts(
                name=model.name,
                sha256=model.sha256,
                attacked=attacked[loaded],
                size=each.effect.size,
                effect=_effect(each.effect),
                floor=_effect(each.floor),
                verdict=each.verdict.value,
                survival=self._survival(loaded, photo, before, each.effect.size),
                measured=measured,
                network=(networks or {}).get(loaded.name),
            )
            for model, loaded, each in zip(self.models, self._loaded, checks, strict=True)
        ]

    def sign(
        self,
        file: Path,
        photo: Photo,
        recipe: Recipe,
        budget: Budget,
        models: Sequence[ModelFacts],
        visible: dict[str, float | None],
        *,
        masked: bool = False,
        renews: str | None = None,
    ) -> str:
        """Return the signed certificate of a saved photo with these figures.

        Raises:
            BudgetExceeded: If more than the total was used.
        """
        if budget.used > budget.total + 1e-3:
            lossy = photo.compression is not None and not photo.compression.only_rounds
            raise BudgetExceeded(
                f"{file.name}: changed by {budget.used:g} {budget.unit}, "
                f"of {budget.total:g} in total; not certified",
                # A lossy file shows the error of its codec in addition to the change.
                hint="immunize to .png, or with --lossless" if lossy else None,
            )
        limits = [*_NEVER_COVERED]
        if masked:
            limits.append(ONLY_INSIDE)
        limits += [f"{each.name}: hardly moved further than by noise" for each in models
                   if each.verdict == "FAIL"]  # fmt: skip
        seen = Seen.of(file, photo)
        self.ring = self.ring.reread()  # which may have been rotated while the photo was made
        certificate = Certificate(
            kind="photovax certificate",
            version=FORMAT,
            serial=secrets.token_hex(8),
            issued=timestamp(datetime.now(UTC)),
            key=self.ring.current,
            software=f"photovax {VERSION}",
            photo=PhotoFacts(
                sha256=seen.sha256,
                dhash=seen.dhash,
                width=photo.width,
                height=photo.height,
            ),
            recipe=recipe.digest(),
            budget=budget,
            visible=visible,
            models=tuple(models),
            not_covered=tuple(limits),
            renews=None if renews is None else fingerprint(renews),
        )
        return signed(certificate, self.ring)

    def carried(
        self, facts: ModelFacts, photo: Photo, before: Photo, *, grown: float
    ) -> ModelFacts:
        """Return a lower bound of an earlier effect after a further change to the photo.

        By the triangle inequality this is the earlier shift of the latent less the further one.

        Args:
            facts: What was certified of the model.
            photo: Photo with the further change.
            before: Photo before it.
            grown: How many times as large as the former change both together are. Latents move
                nearly in proportion to noise, so that the floor grows as much.
        """
        loaded = next(each for each in self._loaded if each.digest == facts.sha256)
        pair = before.visible(), photo.visible()
        device = self.immunizer.device
        further = latent_shift(loaded, *pair, device, size=facts.size)
        return _less(facts, further, grown)

    def _survival(
        self, model: Autoencoder, photo: Photo, before: Photo, size: int
    ) -> dict[str, float]:
        first, second = before.visible_rgb(), photo.visible_rgb()
        left = {}
        for name in SURVIVES:
            treat = load_purifier(name)
            pair = treat(first, 0), treat(second, 0)
            left[name] = latent_shift(model, *pair, self.immunizer.device, size=size)
        return left


def recorded_networks(photo: Path) -> dict[str, str]:
    """The ``networks`` of the record beside a photo; none without a record of this very file."""
    try:
        return dict(_recorded(photo)["networks"])
    except (KeyError, TypeError):  # there is none, or of an earlier version
        return {}


def recorded_recipe(photo: Path) -> Recipe | None:
    """The recipe in the record beside a photo; None without a record of this very file."""
    said = _recorded(photo)
    try:
        recipe = recipe_from(said["recipe"])
    except (KeyError, TypeError, PhotovaxError):
        return None
    return recipe if recipe.digest() == said.get("recipe_digest") else None


def _recorded(photo: Path) -> dict[str, Any]:
    """The record beside a photo; empty without a record of this very file."""
    try:
        said = json.loads(record_of(photo).read_bytes())
        return dict(said) if said["sha256"] == file_digest(photo) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def length_used(photo: Photo, original: Photo, norm: str) -> float:
    """Return the distance of two photos of one shape, rounded up to four decimals.

    Raises:
        UnknownName: If the norm is unknown.
        UsageError: If the shapes differ.
    """
    if photo.pixels.shape != original.pixels.shape:
        raise UsageError("the two photos differ in size, or one is grey and the other is not")
    # A ball of any radius counts the change in its own norm.
    ball = BUDGETS.create(Part(norm, {"radius": 1}))
    return ball.spent(original.pixels, photo.pixels)


def _effect(found: LatentEffect) -> Effect:
    return Effect(shift=found.shift, damage=found.damage)


def _less(facts: ModelFacts, further: float, grown: float) -> ModelFacts:
    left, floor = max(0.0, facts.effect.shift - further), facts.floor.shift * grown
    verdict = ModelCheck(
        LatentEffect(facts.size, left, None), LatentEffect(facts.size, floor, None)
    ).verdict
    how: Measured = "at least, carried over"
    if facts.measured in ("against the protected photo", _OF_A_FORMER):
        how = _OF_A_FORMER  # from the original the effect may be less
    return facts.model_copy(
        update={
            "effect": Effect(shift=left, damage=None),
            "verdict": verdict.value,
            "survival": {},
            "floor": Effect(shift=floor, damage=None),
            "measured": how,
        }
    )
