"""Networks that hold less memory by computing activations again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Recomputed", "recompute"]


def recompute(network: nn.Module) -> None:
    """Let blocks keep only what they are fed, and compute the rest anew in the backward pass.

    The gradient is the same to the bit. Each half of a residual block of diffusers' autoencoders
    then keeps one tensor in place of three, and where pictures are largest only each block does;
    any other network is told to do what diffusers has for its class, where it has something.
    """
    blocks = {name: each for name, each in network.named_modules() if _has_halves(each)}
    decoder = getattr(network, "decoder", None)
    last = len(getattr(decoder, "up_blocks", ())) - 1
    for name, block in blocks.items():
        _recompute_halves(block)
        if "encoder.down_blocks.0." in name or f"decoder.up_blocks.{last}." in name:
            _recompute_whole(block)
    told: Any = network
    if not blocks and getattr(network, "_supports_gradient_checkpointing", False):
        told.enable_gradient_checkpointing()


class Recomputed(nn.Module):
    """Modules one after the other, of which only the input is kept for the backward pass."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last of them."""
        return _computed_again(self.parts, x)  # type: ignore[no-any-return]


def _has_halves(module: nn.Module) -> bool:
    """Whether it is norm, activation, convolution, twice, with nothing else between."""
    return (
        type(module).__name__ == "ResnetBlock2D"
        and getattr(module, "time_emb_proj", None) is None
        and getattr(module, "upsample", None) is None
        and getattr(module, "downsample", None) is None
    )


def _recompute_halves(block: Any) -> None:
    if isinstance(block.conv1, Recomputed):
        return
    block.conv1 = Recomputed(block.norm1, block.nonlinearity, block.conv1)
    block.conv2 = Recomputed(block.norm2, block.nonlinearity, block.dropout, block.conv2)
    # What the halves do now is not to be done twice.
    block.norm1 = block.norm2 = block.nonlinearity = block.dropout = nn.Identity()


def _recompute_whole(block: Any) -> None:
    """Keep what the block is fed, and of its halves only those of one block at a time."""
    if "forward" in vars(block):
        return
    block.forward = partial(_computed_again, block.forward)


def _computed_again(run: Callable[..., Any], *fed: Any, **options: Any) -> Any:
    """What ``run`` makes of what it is fed, which alone is kept for the backward pass."""
    if not torch.is_grad_enabled():
        return run(*fed, **options)
    return checkpoint(run, *fed, use_reentrant=False, **options)
