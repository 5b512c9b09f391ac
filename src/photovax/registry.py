"""Registries of parts, by the names that recipes, the command line and plug-ins use."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, get_args

from photovax.errors import UnknownName, UsageError, first_line

__all__ = ["Part", "Registry", "unknown"]

T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])

_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Part:
    """A registered name and its options, as recipes describe a budget, objective or view."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Registry(Generic[T]):
    """The parts of one kind, by name.

    Other packages add parts with entry points in the group ``photovax.<kind>s``. An entry point
    names the maker of a part: a class, or a function with keyword options. A plug-in is imported
    when its part is made, so a broken plug-in does not affect other parts.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._makers: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[M], M]:
        """Return a decorator that registers the maker of a part.

        Raises:
            UsageError: If the name is taken.
        """

        def add(maker: M) -> M:
            if name in self._makers:
                raise UsageError(f"{self.kind} {name!r} is already registered")
            self._makers[name] = maker
            return maker

        return add

    def create(self, part: Part, **offered: object) -> T:
        """Make the part that a name and its options describe.

        Args:
            part: Name and options of the part.
            offered: Further keyword arguments, such as a device. A maker receives those that its
                signature names, unless the part's options contain them.

        Raises:
            UnknownName: If nothing is registered under the name.
            UsageError: If the options do not fit the maker, or a plug-in cannot be loaded.
        """
        maker = self._maker(part.name)
        signature = _signature(maker)
        taken = {} if signature is None else signature.parameters
        given = {key: value for key, value in offered.items() if key in taken}
        options = {**given, **part.options}
        try:
            if signature is not None:
                _check(signature, options)
        except TypeError as error:
            raise UsageError(
                f"{self.kind} {part.name!r} does not take these options: {error}"
            ) from None
        return maker(**options)

    @property
    def makers(self) -> Mapping[str, Callable[..., T]]:
        """Makers of the parts that photovax itself has, by name, without those of plug-ins."""
        return dict(sorted(self._makers.items()))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._makers, *(entry.name for entry in self._plugins)}))

    @cached_property
    def _plugins(self) -> tuple[EntryPoint, ...]:
        return tuple(entry_points(group=f"photovax.{self.kind}s"))

    def _maker(self, name: str) -> Callable[..., T]:
        found = [self._makers[name]] if name in self._makers else []
        found += [self._loaded(entry) for entry in self._plugins if entry.name == name]
        if not found:
            raise unknown(self.kind, name, self)
        if any(maker is not found[0] for maker in found):
            raise UsageError(f"{self.kind} {name!r} is registered twice, once by a plug-in")
        return found[0]

    def _loaded(self, entry: EntryPoint) -> Callable[..., T]:
        try:
            maker: Callable[..., T] = entry.load()
        except Exception as error:
            raise UsageError(
                f"{self.kind} {entry.name!r}: the plug-in {entry.value!r} cannot be loaded: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        return maker


def unknown(kind: str, name: str, known: Registry[Any] | Mapping[str, Any]) -> UnknownName:
    """The error for an unknown name, which suggests the most similar known name."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UnknownName(f"no {kind} named {name!r}{hint} (known: {', '.join(known)})")


def _signature(maker: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(maker, eval_str=True)
    except NameError:  # an annotation imported for type checkers only
        signature = inspect.signature(maker)
        known = vars(sys.modules[maker.__module__])
        each = [
            each.replace(annotation=_evaluated(each.annotation, known))
            for each in signature.parameters.values()
        ]
        return signature.replace(parameters=each)
    except ValueError:  # some makers written in C have no signature
        return None


def _evaluated(annotation: object, known: Mapping[str, Any]) -> object:
    """An annotation's type; the annotation itself where it is imported for type checkers only."""
    with suppress(NameError):
        if isinstance(annotation, str):
            return eval(annotation, dict(known))  # noqa: S307 - written in a module
    return annotation


def _check(signature: inspect.Signature, options: Mapping[str, Any]) -> None:
    """Raise TypeError if options do not fit the names and plain types of a signature."""
    signature.bind_partial(**options)  # first, to name a misspelt option before the missing one
    bound = signature.bind(**options)
    for name, value in bound.arguments.items():
        kinds = _kinds(signature.parameters[name].annotation)
        if kinds and not any(_fits(value, kind) for kind in kinds):
            allowed = " or ".join(dict.fromkeys(_PLAIN.get(kind, "nothing") for kind in kinds))
            raise TypeError(f"{name} must be {allowed}, got {value!r}")


def _kinds(annotation: object) -> tuple[type, ...]:
    """The types of an annotation; none if one of them is not plain or not evaluated."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return kinds if all(kind in (*_PLAIN, NoneType) for kind in kinds) else ()


def _fits(value: object, kind: type) -> bool:
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, kind)
