"""Immunizes a photo against the models of today's register, within its first budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from photovax.attack.budgets import VISIBILITY
from photovax.attack.optimise import Step
from photovax.attack.recipe import Recipe
from photovax.certificates.document import Budget, Certificate, Measured, ModelFacts
from photovax.certificates.issuing import ONLY_INSIDE, Issuer, length_used
from photovax.certificates.keys import KeyRing
from photovax.certificates.register import Gap, Registered, gaps
from photovax.certificates.verification import Seen, verify
from photovax.errors import BudgetSpent, CertificateError, UsageError
from photovax.immunized import Saved
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo, read_photo

__all__ = ["Renewal", "Renewer", "Wish"]


@dataclass(frozen=True, eq=False)
class Wish:
    """A photo to renew.

    Attributes:
        photo: The immunized photo.
        seen: Digests of its file.
        certificate: Its signed certificate.
        output: Destination of the result, checked by the caller.
        original: The photo before it was ever immunized, if available.
        mask: Pixels that may change, bool (H, W).
        most: Bound of the renewal, in the unit of the certificate's budget; all that is left of
            that when None.
        callback: Function called after every step.
    """

    photo: Photo
    seen: Seen
    certificate: str
    output: Destination
    original: Photo | None = None
    mask: np.ndarray | None = None
    most: float | None = None
    callback: Callable[[Step], None] | None = None


@dataclass(frozen=True)
class Renewal:
    """The result of a renewal.

    Attributes:
        gaps: The models that the earlier certificate did not cover.
        basis: Whether the result was made from the original or from the protected photo.
        saved: The file and its measurements.
        certificate: The new signed certificate.
    """

    gaps: tuple[Gap, ...]
    basis: str
    saved: Saved
    certificate: str


@dataclass(frozen=True)
class Renewer:
    """Renews photos against the models that are supported today.

    Attributes:
        ring: The provider's keys. Only certificates signed with them are renewed.
        models: The models of today.
        recipe: Recipe of the renewal. Its bound is replaced by what the certificate leaves. Its
            visibility is replaced by that of the certificate's recipe, if that can be recognised.
        issuer: Function that loads models; called once for a photo.
        written: The recipe at its original strength, by which that of a certificate is recognised;
            ``recipe`` when None.
    """

    ring: KeyRing
    models: tuple[Registered, ...]
    recipe: Recipe
    issuer: Callable[[tuple[Registered, ...]], Issuer]
    written: Recipe | None = None

    def lacking(self, text: str, seen: Seen) -> tuple[Certificate, tuple[Gap, ...]]:
        """Return a certificate and the models of today that it does not cover.

        Raises:
            CertificateError: If the certificate is not valid for the photo.
        """
        found = verify(text, self.ring.public, photo=seen)
        if not found.valid:
            raise CertificateError("; ".join(found.reasons))
        return found.certificate, gaps(found.certificate, self.models)

    def renew(self, wish: Wish) -> Renewal | None:
        """Renew a photo; returns None if its certificate covers all models of today.

        With the original, that is immunized again, against all models, with the whole budget.
        Without it, the photo is changed further, against the models that are not covered, with the
        rest of the budget: the distances from original to photo and from photo to result add up to
        the whole budget at most.

        Raises:
            CertificateError: If the certificate is not valid for the photo.
            BudgetSpent: If nothing of the budget is left and there is no original.
            UsageError: If recipe, photo and original do not fit together, or the wish asks for more
                than is left of the budget.
        """
        certificate, lacks = self.lacking(wish.certificate, wish.seen)
        if not lacks:
            return None
        norm = certificate.budget.norm
        if norm != self.recipe.constraint.norm:
            raise UsageError(
                f"the certificate bounds {norm} and the recipe {self.recipe.constraint.norm}: "
                "renew with a recipe of the same kind"
            )
        if wish.original is None:
            return self._further(wish, certificate, lacks)
        return self._anew(wish, wish.original, certificate, lacks)

    def _anew(
        self, wish: Wish, original: Photo, certificate: Certificate, lacks: tuple[Gap, ...]
    ) -> Renewal:
        budget = certificate.budget
        apart = length_used(wish.photo, original, budget.norm)
        if apart == 0:
            raise UsageError(
                "the original given is the protected photo itself: give another, or leave it out"
            )
        if apart > budget.total + 1e-3:
            raise UsageError(
                f"the photo is {apart:g} {budget.unit} from the original given, more than the "
                f"{budget.total:g} of its certificate: is it another photo's original?"
            )
        issuer = self.issuer(self.models)
        recipe = self._as_visible(certificate).with_bound(_asked(wish, budget, budget.total))
        saved, networks = self._immunized(issuer, original, wish, recipe)
        renewed = issuer.certify(
            wish.output.path,
            original,
            recipe,
            total=budget.total,
            masked=wish.mask is not None,
            renews=wish.certificate,
            known=saved.seen,
            networks=networks,
        )
        return Renewal(lacks, "the original", saved, renewed)

    def _further(self, wish: Wish, certificate: Certificate, lacks: tuple[Gap, ...]) -> Renewal:
        budget, before = certificate.budget, wish.photo
        if budget.left < (1 if budget.unit == "levels" else 1e-3):
            lacking = ", ".join(f"{gap.model.name} {gap.model.version}" for gap in lacks)
            raise BudgetSpent(
                f"not covered: {lacking}. {budget.used:g} of {budget.total:g} {budget.unit} are "
                "used, so the photo cannot be changed further: renew from the original, or certify "
                "the next photos with a larger total"
            )
        every = self.issuer(self.models)
        issuer = every.only([gap.model for gap in lacks])
        recipe = self._as_visible(certificate).with_bound(_asked(wish, budget, budget.left))
        saved, networks = self._immunized(issuer, before, wish, recipe)
        photo = read_photo(wish.output.path, max_pixels=before.width * before.height)
        further = length_used(photo, before, budget.norm)
        grown = 1 + further / budget.used if budget.used else 1.0
        spent = budget.model_copy(update={"used": budget.used + further})
        found = issuer.check(photo, before, size=recipe.size, known=saved.seen)
        how: Measured = "against the protected photo"
        fresh = issuer.facts(found, photo, before, recipe, how, networks=networks)
        # Without the original only an upper bound is known.
        unknown = dict.fromkeys(found.visible.figures() | found.seen.figures())
        bound = unknown | {budget.norm: spent.used}
        renewed = issuer.sign(
            wish.output.path,
            photo,
            recipe,
            spent,
            [*fresh, *_kept(every, certificate, fresh, photo, before, grown)],
            bound,
            # What was certified before lies inside the former mask alone.
            masked=wish.mask is not None or ONLY_INSIDE in certificate.not_covered,
            renews=wish.certificate,
        )
        return Renewal(lacks, "the protected photo", saved, renewed)

    def _as_visible(self, certificate: Certificate) -> Recipe:
        """Return the recipe with the visibility of the certificate's recipe, known by its digest.

        The recipe is unchanged if it does not bound visibility or no visibility gives that digest.
        """
        if not self.recipe.constraint.bounds_seen:
            return self.recipe
        total = certificate.budget.total
        # An earlier renewal bounded the recipe by the total less a whole number of levels.
        bounds = [total - used for used in range(math.ceil(total))]
        for word in VISIBILITY:
            wished = (self.written or self.recipe).with_visibility(word)
            if certificate.recipe in {
                wished.digest(),
                *(wished.with_bound(bound).digest() for bound in bounds),
            }:
                return wished
        return self.recipe

    def _immunized(
        self, issuer: Issuer, photo: Photo, wish: Wish, recipe: Recipe
    ) -> tuple[Saved, Mapping[str, str]]:
        """Immunize and save; returns the file and the networks that gave the change."""
        wish.output.check_fits(photo, masked=wish.mask is not None)
        immunizer = issuer.immunizer
        result = immunizer.immunize(photo, recipe, mask=wish.mask, callback=wish.callback)
        return immunizer.save(result, wish.output), result.networks


def _asked(wish: Wish, budget: Budget, left: float) -> float:
    """The bound that was asked for, or all that is left."""
    if wish.most is None:
        return left
    if wish.most > left:
        raise UsageError(
            f"a renewal may use {left:g} {budget.unit} of the certificate's {budget.total:g}, "
            f"got {wish.most:g}",
            hint=f"give --budget {left:g} or less",
        )
    return wish.most


def _kept(
    issuer: Issuer,
    certificate: Certificate,
    fresh: list[ModelFacts],
    photo: Photo,
    before: Photo,
    grown: float,
) -> list[ModelFacts]:
    """Lower bounds of earlier effects on models that are still supported."""
    new = {each.sha256 for each in fresh}
    former = {each.sha256: each for each in certificate.models if each.sha256 not in new}
    still = (each for each in issuer.models if each.sha256 in former)
    return [issuer.carried(former[each.sha256], photo, before, grown=grown) for each in still]
