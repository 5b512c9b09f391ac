"""A view made of several, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.models.views.contract import VIEWS, View
from photovax.registry import Part, unknown

__all__ = ["Chain"]


@dataclass(frozen=True)
class Chain(View):
    """Several views, one after the other, such as a resize, JPEG, and the size of a model.

    Attributes:
        views: Views that do not split the photo, in order.

    Raises:
        UsageError: If there is no view.
    """

    views: tuple[View, ...]

    def __post_init__(self) -> None:
        if not self.views:
            raise UsageError("view chain needs at least one view, got none")

    @property
    def random(self) -> bool:
        """Whether one of the views is random."""
        return any(view.random for view in self.views)

    def fitted(self, size: int) -> Chain:
        """The chain with all its views fitted."""
        return Chain(tuple(view.fitted(size) for view in self.views))

    def fed_side(self, short: int) -> int:
        """The smallest short side on the way: finer frequencies do not reach the model."""
        sides = [short]
        for view in self.views:
            sides.append(view.fed_side(sides[-1]))
        return min(sides[1:])

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The images after the last view."""
        return reduce(lambda seen, view: view(seen, generator), self.views, images)


@VIEWS.register("chain")
def _chain(views: Sequence[Mapping[str, Any]]) -> Chain:
    """The chain that plain data describes.

    Args:
        views: Tables with the ``name`` of a view and its ``options``.

    Raises:
        UnknownName: If a table has an unknown field, or there is no such view.
        UsageError: If there is no view, or a table has no name.
    """
    known = dict.fromkeys(("name", "options"))
    if not isinstance(views, list | tuple):
        raise UsageError(f"view chain needs a list of views, got {views!r}")
    for each in views:
        if not isinstance(each, Mapping) or not isinstance(each.get("name"), str):
            raise UsageError(f"view chain needs tables with a name, got {each!r}")
        if not isinstance(each.get("options", {}), Mapping):
            raise UsageError(f"view chain: options must be a table, got {each['options']!r}")
        for key in each.keys() - known.keys():
            raise unknown("field of a chain's view", key, known)
    return Chain(tuple(VIEWS.create(Part(each["name"], each.get("options", {}))) for each in views))
