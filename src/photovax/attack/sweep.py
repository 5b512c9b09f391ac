"""The loss of a whole photo, computed window by window to save memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor

from photovax.attack.losses import LossFn, evaluated
from photovax.models.views import Window

__all__ = ["swept"]


def swept(windows: Sequence[Window], losses: Sequence[LossFn]) -> LossFn:
    """The mean of losses of single windows of the images.

    A pixel gets its gradient from the window whose core contains it; gradients in halos are
    dropped. This is the gradient of the whole image if the model's receptive field is no larger
    than the halo. Group norms and attention depend on all of their input, so that for models with
    them no halo is exact.

    The gradient is computed along with the loss. Memory holds the activations of one window and one
    gradient of the images' size.

    Args:
        windows: Windows whose cores contain each pixel of the images at most once.
        losses: One loss for each window, a function of images of the window's size.

    Returns:
        A function of images (N, C, H, W), which returns one number per image (N,).

    Raises:
        LossShapeError: From that function, if a loss is not shaped (N,).
    """

    def mean(images: Tensor, generator: Generator) -> Tensor:
        if torch.is_grad_enabled() and images.requires_grad:
            sweep: Any = _Sweep  # torch does not annotate apply
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
        del ctx.gradient  # modified in place below, not copied
        return gradient.mul_(outer[0].view(-1, 1, 1, 1)), None, None, None


def _sweep(
    images: Tensor,
    windows: Sequence[Window],
    losses: Sequence[LossFn],
    generator: Generator,
    gradient: Tensor | None,
) -> Tensor:
    """The mean loss (N,). Writes the cores of ``gradient`` in place unless it is None."""
    total = torch.zeros(len(images), device=images.device)
    for window, loss in zip(windows, losses, strict=True):
        with torch.set_grad_enabled(gradient is not None):
            piece = window.cut(images).detach().clone().requires_grad_(gradient is not None)
            values = evaluated(loss, piece, generator)
            total += values.detach()
            if gradient is not None:
                (part,) = torch.autograd.grad(values.sum(), piece)
                window.core_of(gradient).copy_(window.core_in(part)).div_(len(losses))
    return total / max(1, len(losses))  # zero where no window has a pixel that may change
