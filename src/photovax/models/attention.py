"""What a network's tokens attend to: queries, keys, values and answers of its attention in a pass.

All attention processors of diffusers end in PyTorch's ``scaled_dot_product_attention``. Its inputs
are seen there, as they are after norms and rotary embeddings, whatever the family. Nothing is
computed differently, so gradients and checkpointing work as without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Attention", "attention_seen"]

_FED = ("query", "key", "value", "attn_mask")


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention of one block in one pass, (N, heads, tokens, width) each.

    Attributes:
        block: Name of the module.
        cross: Whether its keys are those of the prompt alone.
        query: Queries.
        key: Keys.
        value: Values.
        answer: Mean of the values for each query, weighted by attention.
        mask: What the queries may attend to, such as no padding of the prompt, as PyTorch takes it:
            True or added to the scores, of a shape that broadcasts to (N, heads, queries, keys).
            None if it is everything.
        scale: Factor of the scores; one over the root of the width when None.
        grid: Rows and columns of the queries in a UNet, where they are places; None otherwise.
        halved: How often a UNet has halved the sides of the latent at this block.
        pictures: Tokens of each picture where the model reads pictures as tokens: that which it
            makes, then the photo.
    """

    block: str
    cross: bool
    query: Tensor
    key: Tensor
    value: Tensor
    answer: Tensor
    mask: Tensor | None = None
    scale: float | None = None
    grid: tuple[int, int] | None = None
    halved: int = 0
    pictures: tuple[slice, ...] = ()

    def share(self, queries: slice, keys: slice) -> Tensor:
        """The share of the attention of some queries that some keys get, (N,) in [0, 1].

        It is the mean over heads and queries.
        """
        # Attention itself adds up the weights, for which it does not keep all of them in memory:
        # the values are 1 at these keys and 0 at others.
        marked = torch.zeros_like(self.key)
        marked[:, :, keys] = 1
        mask = self.mask
        if mask is not None and mask.shape[-2] > 1:
            mask = mask[..., queries, :]
        sums = F.scaled_dot_product_attention(
            self.query[:, :, queries], self.key, marked, mask, scale=self.scale
        )
        return sums.to(torch.promote_types(sums.dtype, torch.float32)).flatten(1).mean(1)


@contextmanager
def attention_seen(
    network: nn.Module, *, start: float = 0.0, end: float = 1.0
) -> Iterator[list[Attention]]:
    """A context in which passes of a network list the attention of its blocks, in their order.

    Args:
        network: UNet or transformer of diffusers, which is left as it was.
        start: Share of the blocks that are passed over before the first that is listed.
        end: Share of the blocks up to the last that is listed.
    """
    blocks = [(name, each) for name, each in network.named_modules() if hasattr(each, "processor")]
    first, last = start * len(blocks), end * len(blocks)
    watch = _Watch()
    hooks = [
        module.register_forward_pre_hook(
            partial(watch.enter, name, listed=first <= index + 0.5 < last)
        )
        for index, (name, module) in enumerate(blocks)
    ]
    try:
        with watch:
            yield watch.seen
    finally:
        for hook in hooks:
            hook.remove()


class _Watch(TorchFunctionMode):
    """Lists the attention of the blocks that are entered.

    Attributes:
        seen: Attention of each block.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Attention] = []
        self._block: tuple[str, bool] | None = None

    def enter(self, name: str, module: Any, _: tuple[Any, ...], *, listed: bool) -> None:
        """Note which block the next attention belongs to."""
        cross = bool(getattr(module, "is_cross_attention", False))
        self._block = (name, cross) if listed else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch, and note the inputs and output of attention."""
        made = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention and self._block is not None:
            fed = dict(zip(_FED, args, strict=False)) | dict(kwargs or {})
            name, cross = self._block
            inputs = fed["query"], fed["key"], fed["value"]
            mask, scale = fed.get("attn_mask"), fed.get("scale")
            self.seen.append(Attention(name, cross, *inputs, made, mask, scale))
        return made
