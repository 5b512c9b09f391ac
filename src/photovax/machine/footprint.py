"""Measurement of the memory that a pass through a model takes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = [
    "peak_bytes",
]


def peak_bytes(run: Callable[[], object]) -> int:
    """The peak memory, in bytes, of tensors created inside ``run``.

    It is counted tensor by tensor, so it does not depend on the allocator. Memory that kernels
    allocate internally is not included.
    """
    live = _Live()
    with live:
        run()
    return live.peak


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages from their creation by an operation until they are freed."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else PyTorch imports its compiler, only to leave this out of it: a second or more.
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: int = 0
        self.peak: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {id(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if _tensor(x)}
        for result in filter(_tensor, tree_leaves(made)):
            storage = result.untyped_storage()
            # Views share the storage of their base.
            if id(storage) in self._known or id(storage) in given:
                continue
            self._known.add(id(storage))
            self.held += storage.nbytes()
            self.peak = max(self.peak, self.held)
            weakref.finalize(storage, self._freed, id(storage), storage.nbytes())
        return made

    def _freed(self, number: int, size: int) -> None:
        self._known.discard(number)
        self.held -= size


def _tensor(x: object) -> bool:
    return isinstance(x, Tensor)
