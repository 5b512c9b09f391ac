"""One loss of a whole photo, taken window by window, so that only one is in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor

from photovax.attack.losses import LossFn
from photovax.errors import LossShapeError
from photovax.models.views import Window

__all__ = ["swept"]


def swept(windows: Sequence[Window], losses: Sequence[LossFn]) -> LossFn:
    """The mean of losses that each see one window of the images.

    A pixel gets its gradient from the one window whose core it is in, where the model sees most
    around it; what windows know of their halos is dropped. That is the gradient of the whole,
    where a model sees no further than the halo. Group norms and attention see all they are
    fed, so that for them no halo makes it exact.

    The gradient is computed along with the loss: no more is held than the activations of one
    window and one gradient of the images' size.

    Args:
        windows: Their cores cover the images, each pixel once.
        losses: One for each window; it is given images of the window's size.
    """

    def mean(images: Tensor, generator: Generator) -> Tensor:
        if torch.is_grad_enabled() and images.requires_grad:
            sweep: Any = _Sweep  # torch leaves apply untyped
            return cast(Tensor, sweep.apply(images, windows, losses, generator))
        return _sweep(images, windows, losses, generator, None)

    return mean


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        windows: Sequence[Window],
        losses: Sequence[LossFn],
        generator: Generator,
    ) -> Tensor:
        ctx.gradient = torch.zeros_like(images)
        return _sweep(images, windows, losses, generator, ctx.gradient)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        gradient: Tensor = ctx.gradient
        del ctx.gradient  # handed on, not copied
        return gradient.mul_(outer[0].view(-1, 1, 1, 1)), None, None, None


def _sweep(
    images: Tensor,
    windows: Sequence[Window],
    losses: Sequence[LossFn],
    generator: Generator,
    gradient: Tensor | None,
) -> Tensor:
    """The mean loss (N,); where there is a gradient, all cores of it are written."""
    total = torch.zeros(len(images), device=images.device)
    for window, loss in zip(windows, losses, strict=True):
        with torch.set_grad_enabled(gradient is not None):
            piece = window.cut(images).detach().clone().requires_grad_(gradient is not None)
            values = loss(piece, generator)
            if values.shape != total.shape:
                raise LossShapeError(
                    f"a loss gave shape {tuple(values.shape)}, "
                    f"expected one number per image: ({len(images)},)"
                )
            total += values.detach()
            if gradient is not None:
                (part,) = torch.autograd.grad(values.sum(), piece)
                window.core_of(gradient).copy_(window.core_in(part)).div_(len(losses))
    return total / len(losses)
