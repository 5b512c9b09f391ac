"""Activation checkpointing: less memory by recomputing activations in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Recomputed", "recompute"]


def recompute(network: nn.Module) -> None:
    """Let blocks keep only their inputs and recompute the rest in the backward pass.

    The gradient is bit-identical. Each half of a residual block of diffusers' autoencoders then
    keeps one tensor instead of three; at the largest resolution, each block keeps one. Any other
    network uses diffusers' own gradient checkpointing, if its class supports it.
    """
    blocks = {name: each for name, each in network.named_modules() if _has_halves(each)}
    decoder = getattr(network, "decoder", None)
    last = len(getattr(decoder, "up_blocks", ())) - 1
    for name, block in blocks.items():
        _recompute_halves(block)
        if "encoder.down_blocks.0." in name or f"decoder.up_blocks.{last}." in name:
            _recompute_whole(block)
    untyped: Any = network
    if not blocks and getattr(network, "_supports_gradient_checkpointing", False):
        untyped.enable_gradient_checkpointing()


class Recomputed(nn.Module):
    """Modules in sequence that keep only their input for the backward pass."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last module."""
        return _computed_again(self.parts, x)  # type: ignore[no-any-return]


def _has_halves(module: nn.Module) -> bool:
    """Whether it is twice norm, activation and convolution, with nothing else between."""
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
    # The halves contain these now, so they must not run twice.
    block.norm1 = block.norm2 = block.nonlinearity = block.dropout = nn.Identity()


def _recompute_whole(block: Any) -> None:
    """Keep the block's input only; its halves are then kept for one block at a time."""
    if "forward" in vars(block):
        return
    block.forward = partial(_computed_again, block.forward)


def _computed_again(run: Callable[..., Any], *fed: Any, **options: Any) -> Any:
    """The output of ``run``, with only its inputs kept for the backward pass."""
    if not torch.is_grad_enabled():
        return run(*fed, **options)
    return checkpoint(run, *fed, use_reentrant=False, **options)
