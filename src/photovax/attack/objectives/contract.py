"""What an objective is, and the sum of several."""

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
    """A goal, which names by type the least surrogate it can work with."""

    @property
    def needs(self) -> Need:
        """The surrogate to load for it: an autoencoder alone, its denoiser, or a whole editor."""
        ...

    @property
    def random(self) -> bool:
        """Whether a loss returns different values for the same image."""
        ...

    @property
    def mode(self) -> Mode | None:
        """The way of editing that it goes through; None where it goes through none."""
        ...

    def options_for(self, mode: str) -> Mapping[str, Any] | None:
        """The options that differ for another way of editing; None where it goes through none.

        Raises:
            UsageError: If it cannot go through that way of editing.
        """
        ...

    def bind(self, surrogate: S, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """Do what is needed once (clean latents, targets) and return the loss.

        Args:
            surrogate: The model to break.
            origin: The original photo (N, C, H, W) in [0, 1], as the model is fed it.
            repaint: Bool (1, 1, H, W), true where an inpainting editor would repaint.

        Raises:
            UsageError: If the objective needs a mask and there is none.
        """
        ...


OBJECTIVES: Registry[Objective[Any]] = Registry("objective")


class Encoding:
    """An objective that goes through no edit."""

    mode: ClassVar[None] = None

    def options_for(self, mode: str) -> None:
        """None: it is the same for every way of editing."""


@dataclass(frozen=True)
class Sum(Objective[S]):
    """Several objectives at once.

    Attributes:
        terms: The weight of each, and the objective.
        described: The same as plain data: ``weight``, ``name`` and ``options`` of each.
    """

    terms: Sequence[tuple[float, Objective[S]]]
    described: Sequence[Mapping[str, Any]] = ()

    @property
    def needs(self) -> Need:
        """The most that a term needs."""
        return max((objective.needs for _, objective in self.terms), key=_NEEDS.index)

    @property
    def random(self) -> bool:
        """As soon as one term is."""
        return any(objective.random for _, objective in self.terms)

    @property
    def mode(self) -> Mode | None:
        """That of the first term with one."""
        modes = (objective.mode for _, objective in self.terms)
        return next((mode for mode in modes if mode is not None), None)

    def options_for(self, mode: str) -> Mapping[str, Any] | None:
        """The terms, of which those that go through an edit go through another."""
        changed = [objective.options_for(mode) for _, objective in self.terms]
        if all(options is None for options in changed):
            return None
        return {
            "terms": [
                term if options is None else {**term, "options": {**term["options"], **options}}
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


@OBJECTIVES.register("sum")
def _sum(terms: Sequence[Mapping[str, Any]]) -> Objective[Any]:
    """The sum that plain data describes: ``weight``, ``name`` and ``options`` of each term."""
    known = {"name", "options", "weight"}
    if not terms or not all(isinstance(term, Mapping) and "name" in term for term in terms):
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
