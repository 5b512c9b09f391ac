"""Names for parts, so that recipes, command line and plug-ins speak of the same ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from photovax.errors import UnknownName, UsageError

__all__ = ["Part", "Registry", "unknown"]

T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])


@dataclass(frozen=True)
class Part:
    """A registered name and its options: how recipes name a budget, objective or view."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Registry(Generic[T]):
    """The parts of one kind, by name.

    Other packages add theirs through an entry point in the group ``photovax.<kind>s``, which
    names the part's maker (a class or a function with keyword options).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._makers: dict[str, Callable[..., T]] = {}
        self._looked_outside = False

    def register(self, name: str) -> Callable[[M], M]:
        """Decorate the maker of a part.

        Raises:
            UsageError: If the name is taken.
        """

        def add(maker: M) -> M:
            if name in self._makers:
                raise UsageError(f"{self.kind} {name!r} is already registered")
            self._makers[name] = maker
            return maker

        return add

    def create(self, part: Part) -> T:
        """Make the part that a name and its options describe.

        Raises:
            UnknownName: If nothing is registered under the name.
            UsageError: If the options do not fit the maker.
        """
        self._look_outside()
        if part.name not in self._makers:
            raise unknown(self.kind, part.name, self)
        try:
            return self._makers[part.name](**part.options)
        except TypeError as error:
            raise UsageError(
                f"{self.kind} {part.name!r} does not take these options: {error}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        self._look_outside()
        return iter(sorted(self._makers))

    def _look_outside(self) -> None:
        if not self._looked_outside:
            self._looked_outside = True
            for entry in entry_points(group=f"photovax.{self.kind}s"):
                self.register(entry.name)(entry.load())


def unknown(kind: str, name: str, known: Registry[Any] | Mapping[str, Any]) -> UnknownName:
    """The error for a name that is not known, with the nearest one that is."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UnknownName(f"no {kind} named {name!r}{hint} (known: {', '.join(known)})")
