"""A photo as models are fed it: through views, with its repainted region grey, or in tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from photovax.attack.losses import LossFn
from photovax.attack.objectives import Objective
from photovax.attack.sweep import swept
from photovax.machine.footprint import peak_bytes
from photovax.machine.random import twin
from photovax.models.contracts import Autoencoder
from photovax.models.views import Identity, View, Window, resampled, resize
from photovax.models.views.compressed import compressed
from photovax.pictures.compression import Compression

__all__ = ["Scene", "drawn_loss", "view_loss"]

PROBE = 128
"""Sides, in pixels, of the picture on which a model's memory per pixel is measured."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo with its masks.

    Attributes:
        origin: Original, float32 (1, C, H, W) in [0, 1].
        inside: Pixels that may change, bool (1, 1, H, W).
        repaint: Pixels that an inpainting editor repaints, bool (1, 1, H, W); None without a mask.
        kept_region_only: Whether models are fed the photo with the repainted region in mid grey.
        compression: Compression of the file in which models get the photo; None if it is lossless.
            None in windows and at other sizes, where the codec's blocks would lie elsewhere.
    """

    origin: Tensor
    inside: Tensor
    repaint: Tensor | None
    kept_region_only: bool
    compression: Compression | None = None

    def saved(self, images: Tensor) -> Tensor:
        """Images of this scene as their file shows them."""
        return images if self.compression is None else compressed(images, self.compression)

    def through(self, view: View, images: Tensor, generator: Generator) -> Tensor:
        """Images of this scene as a model is fed them through a view, in float32."""
        # Views filter and resize photos, where bfloat16 would lose the change.
        with torch.autocast(images.device.type, enabled=False):
            if self.kept_region_only and self.repaint is not None:
                # Inpainting editors encode the photo with the repainted region in mid grey.
                images = torch.where(self.repaint, 0.5, images)
            return view(images, generator)

    def bind(
        self, surrogate: Any, objective: Objective[Any], view: View, generator: Generator
    ) -> LossFn:
        """The objective's loss, as a function of images that have been through the view."""
        seen = self.through(view, self.origin, twin(generator))
        if self.repaint is None:
            return objective.bind(surrogate, seen)
        return objective.bind(surrogate, seen, self.repainted(view, twin(generator)))

    def repainted(self, view: View, generator: Generator) -> Tensor:
        """The pixels that an editor repaints, bool (1, 1, h, w), as a model is fed them."""
        assert self.repaint is not None  # noqa: S101 - for the type checker: there is a mask
        return view(self.repaint.float(), generator) > 0.5

    def at(self, height: int, width: int) -> Scene:
        """The scene resized to a height and width; itself if it has that size."""
        if self.origin.shape[-2:] == (height, width):
            return self
        inside, repaint = (
            None if mask is None else resampled(mask.float(), height, width, "area") > 0.5
            for mask in (self.inside, self.repaint)
        )
        assert inside is not None  # noqa: S101 - for the type checker: only repaint may be None
        return Scene(resize(self.origin, height, width), inside, repaint, self.kept_region_only)

    def windows(self, view: View) -> list[Window]:
        """The windows of a view in whose core a pixel may change; others give no gradient."""
        windows = view.windows(*self.origin.shape[-2:])
        return [window for window in windows if window.core_of(self.inside).any()]

    def in_pieces(self, view: View) -> bool:
        """Whether the view splits the photo into windows, which are fed one at a time."""
        height, width = self.origin.shape[-2:]
        return view.windows(height, width) != [Window.whole(height, width)]

    def passes(self, view: View) -> int:
        """Number of passes through a model that a step with this view takes."""
        return len(self.windows(view))

    def cut(self, window: Window) -> Scene:
        """The part of the scene inside a window."""
        repaint = None if self.repaint is None else window.cut(self.repaint)
        inside = window.cut(self.inside)
        return Scene(window.cut(self.origin), inside, repaint, self.kept_region_only)

    def bytes_per_pixel(
        self, surrogate: Any, model: Autoencoder, objective: Objective[Any], *, gradient: bool
    ) -> float:
        """Peak memory of a forward and backward pass, in bytes per pixel that a model is fed.

        Without ``gradient`` it is that of a forward pass.

        The metrics measured after the descent count as well: a round trip through the autoencoder.
        """
        small = self.at(PROBE, PROBE)
        generator = Generator(self.origin.device)
        loss = _seen_loss(surrogate, objective, Identity(), small)
        if objective.needs != "autoencoder":
            # Text encoders, which are loaded for a prompt and then freed, do not count.
            with torch.no_grad():
                loss(small.origin, twin(generator))

        def attack() -> None:
            with torch.set_grad_enabled(gradient):
                images = small.origin.clone().requires_grad_(gradient)
                total = loss(images, generator).sum()
            if gradient:
                torch.autograd.grad(total, images)

        def measure() -> None:
            with torch.no_grad():
                latents = model.encode(small.origin)
                if model.decodes:
                    model.decode(latents)

        return max(peak_bytes(attack), peak_bytes(measure)) / PROBE**2


def view_loss(surrogate: Any, objective: Objective[Any], view: View, scene: Scene) -> LossFn:
    """The objective's loss on one model through one view, which may split the photo.

    Args:
        surrogate: Attacked part of the model, of the kind that the objective needs.
        objective: Objective.
        view: View, fitted to the model.
        scene: Photo with its masks.

    Returns:
        A function of images of the scene's size, which returns one number per image.
    """
    if not scene.in_pieces(view):
        return _seen_loss(surrogate, objective, view, scene)
    windows = scene.windows(view)
    whole = Identity()
    return swept(
        windows, [_seen_loss(surrogate, objective, whole, scene.cut(each)) for each in windows]
    )


def drawn_loss(losses: Sequence[LossFn]) -> LossFn:
    """One of several losses, drawn anew at each call; the only one itself."""
    if len(losses) == 1:
        return losses[0]

    def loss(images: Tensor, generator: Generator) -> Tensor:
        index = torch.randint(len(losses), (), generator=generator, device=generator.device)
        return losses[int(index)](images, generator)

    return loss


def _seen_loss(surrogate: Any, objective: Objective[Any], view: View, scene: Scene) -> LossFn:
    """The objective's loss on one model through one view that does not split the photo."""
    if view.random:

        def viewed_loss(images: Tensor, generator: Generator) -> Tensor:
            # Photo, original and mask must get the same random view, or the loss measures the view.
            bound = scene.bind(surrogate, objective, view, generator)
            return bound(scene.through(view, scene.saved(images), generator), generator)

        return viewed_loss

    bound = scene.bind(surrogate, objective, view, Generator(scene.origin.device))

    def loss(images: Tensor, generator: Generator) -> Tensor:
        return bound(scene.through(view, scene.saved(images), generator), generator)

    return loss
