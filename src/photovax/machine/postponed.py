"""A context in which libraries are imported without slow parts that an immunization does not use.

diffusers, torchmetrics and pycvvdp import torch's compiler and benchmarks, transformers, parts of
SciPy, Matplotlib and requests, which takes most of their time.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["postponed"]

_COMPILER = "torch._dynamo"
_UNUSED = (
    "matplotlib",
    "matplotlib.axes",
    "matplotlib.pyplot",
    "requests",
    "scipy.integrate",
    "scipy.io",
    "scipy.signal",
    "scipy.stats",
    "torch.utils.benchmark",
    "transformers",
    "transformers.utils.quantization_config",
)


@contextmanager
def postponed() -> Iterator[None]:
    """A context whose imports get stand-ins of slow modules that are not imported yet.

    Only for a process of photovax's own: that of another program may compile models.

    A name that is taken from a stand-in is looked up in the real module when it is used after the
    context, which leaves no stand-in in ``sys.modules``. The stand-in of the compiler marks
    functions as not to be compiled in torch's own lazy way, and classes of diffusers not at all, as
    diffusers does for versions of torch without a compiler: what is in them is compiled.
    """
    stood: dict[str, ModuleType] = {
        name: _Postponed(name) for name in _UNUSED if name not in sys.modules
    }
    if _COMPILER not in sys.modules:
        stood[_COMPILER] = _Compiler(_COMPILER)
    sys.modules.update(stood)
    try:
        yield
    finally:
        for name, module in stood.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _Postponed(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Without one, importlib.util.find_spec fails.
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(_Later(self.__name__, lambda module: module), name)


class _Later:
    """What an expression gives that begins with a postponed module.

    Args:
        module: Name of the module.
        found: Function that evaluates the expression with the real module.
    """

    def __init__(self, module: str, found: Callable[[Any], Any]) -> None:
        self._module, self._found = module, found

    @property
    def _early(self) -> bool:
        return isinstance(sys.modules.get(self._module), _Postponed)

    def _real(self) -> Any:
        if self._early:
            raise ImportError(f"{self._module} is used while it is postponed", name=self._module)
        return self._found(importlib.import_module(self._module))

    def __getattr__(self, name: str) -> Any:
        if not self._early:
            return getattr(self._real(), name)
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self._module, lambda module: getattr(self._found(module), name))

    def __call__(self, *given: Any, **named: Any) -> Any:
        if not self._early:
            return self._real()(*given, **named)
        return _Later(self._module, lambda module: self._found(module)(*given, **named))

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self._real())

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (self._real(),)


class _Compiler(ModuleType):
    @staticmethod
    def allow_in_graph(called: Any) -> Any:
        return called

    @staticmethod
    def disable(
        called: Callable[..., Any] | None = None,
        recursive: bool = True,
        *,
        reason: str | None = None,
    ) -> Any:
        from torch._compile import _disable_dynamo

        return _disable_dynamo(called, recursive)
