"""The contract of objectives, their registry, and weighted sums of objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, get_args

import torch
from torch import Generator, Tensor

from photovax.attack.losses import LossFn
from photovax.errors import UsageError
from photovax.models.contracts import Need
from photovax.models.edit import Mode
from photovax.registry import Part, Registry, unknown

__all__ = ["OBJECTIVES", "Encoding", "Objective", "Sum"]


_NEEDS: tuple[Need, ...] = get_args(Need)

S = TypeVar("S", contravariant=True)


class Objective(Protocol[S]):
    """An objective, generic over the kind of surrogate model that it needs."""

    @property
    def needs(self) -> Need:
        """The part of a model that it attacks: ``autoencoder``, ``denoiser`` or ``editor``."""
        ...

    @property
    def random(self) -> bool:
        """Whether a loss returns different values for the same image."""
        ...

    @property
    def mode(self) -> Mode | None:
        """The way of editing that it attacks; None if it does not depend on one."""
        ...

    def options_for(self, mode: str) -> Mapping[str, Any] | None:
        """The options that change for another way of editing; None if it does not depend on one.

        Raises:
            UsageError: If it cannot attack that way of editing.
        """
        ...

    def bind(self, surrogate: S, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """Compute what is needed once (clean latents, targets) and return the loss.

        Args:
            surrogate: Attacked model, of the kind that ``needs`` names.
            origin: Original photo, float32 (N, C, H, W) in [0, 1], as the model is fed it.
            repaint: Pixels that an inpainting editor repaints, bool (1, 1, H, W); None without a
                mask.

        Returns:
            The loss, a function of images (N, C, H, W) in [0, 1] and a generator. It returns one
            number per image (N,), differentiable with respect to the images.

        Raises:
            UsageError: If the objective needs a mask and there is none.
        """
        ...


OBJECTIVES: Registry[Objective[Any]] = Registry("objective")


class Encoding:
    """An objective that does not depend on a way of editing."""

    mode: ClassVar[None] = None

    def options_for(self, mode: str) -> None:
        """None, since the objective is the same for every way of editing."""


@dataclass(frozen=True)
class Sum(Objective[S]):
    """A weighted sum of objectives.

    Attributes:
        terms: Weight and objective of each term.
        described: Terms as plain data: ``weight``, ``name`` and ``options`` of each.
    """

    terms: Sequence[tuple[float, Objective[S]]]
    described: Sequence[Mapping[str, Any]] = ()

    @property
    def needs(self) -> Need:
        """The largest part of a model that a term needs."""
        return max((objective.needs for _, objective in self.terms), key=_NEEDS.index)

    @property
    def random(self) -> bool:
        """Whether any term is random."""
        return any(objective.random for _, objective in self.terms)

    @property
    def mode(self) -> Mode | None:
        """The way of editing of the first term that depends on one."""
        modes = [objective.mode for _, objective in self.terms if objective.mode is not None]
        return "inpaint" if "inpaint" in modes else next(iter(modes), None)

    def options_for(self, mode: str) -> Mapping[str, Any] | None:
        """The terms, with the options for another way of editing; None if no term depends on one.

        Raises:
            UsageError: If a term cannot attack that way of editing.
        """
        changed = [objective.options_for(mode) for _, objective in self.terms]
        if all(options is None for options in changed):
            return None
        return {
            "terms": [
                term
                if options is None
                else {**term, "options": {**term.get("options", {}), **options}}
                for term, options in zip(self.described, changed, strict=True)
            ]
        }

    def bind(self, surrogate: S, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """The weighted sum of the bound terms."""
        bound = [
            (weight, objective.bind(surrogate, origin, repaint)) for weight, objective in self.terms
        ]

        def total(images: Tensor, generator: Generator) -> Tensor:
            losses = [weight * loss(images, generator) for weight, loss in bound]
            return torch.stack(losses).sum(0)

        return total


def _named(term: object) -> bool:
    return (
        isinstance(term, Mapping)
        and isinstance(term.get("name"), str)
        and isinstance(term.get("options", {}), Mapping)
    )


@OBJECTIVES.register("sum")
def _sum(terms: Sequence[Mapping[str, Any]]) -> Objective[Any]:
    """The sum that plain data describes.

    Args:
        terms: Tables with the ``name`` of an objective, its ``options``, and a ``weight``, 1 by
            default.

    Raises:
        UnknownName: If a term has an unknown field.
        UsageError: If there is no term, a term has no name, or a weight is not a number.
    """
    known = {"name", "options", "weight"}
    listed = isinstance(terms, list | tuple) and bool(terms)
    if not listed or not all(_named(term) for term in terms):
        raise UsageError("objective sum needs terms, each with a name")
    for term in terms:
        for key in term.keys() - known:
            raise unknown("field of a sum's term", key, dict.fromkeys(sorted(known)))
        if not isinstance(term.get("weight", 1), int | float):
            raise UsageError(f"the weight of a term must be a number, got {term['weight']!r}")
    return Sum(
        [
            (
                float(term.get("weight", 1)),
                OBJECTIVES.create(Part(term["name"], term.get("options", {}))),
            )
            for term in terms
        ],
        terms,
    )
