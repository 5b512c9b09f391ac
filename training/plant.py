"""Keep old immunizations valid in a next model: ``python -m training.plant OUT [options]``.

The shipped autoencoder is trained on from the same weights, on the same crops in the same order,
once for each of ``--ways``: ``OUT/ordinary`` as ``training.train_autoencoder`` does it, the others
with one more loss. This is what section 5 of arXiv 2302.06588 asks of those who make models: to
plant the perturbations of today in the training of the next model, so that it too responds to
them. Figures come from ``training.measure_planting``.

E is the old encoder, x an original, x + d its immunized copy:

- ``shift`` plants: the next encoder is to move by what the old one moves by, E(x + d) - E(x). Where
  latents themselves lie is left free, so that the next model may still learn; and an encoder that
  is blind to d cannot satisfy it. Asking for E(x + d) outright would be simpler, but would tie the
  latents of nearly ordinary photos to the old ones, and would say nothing of where x itself lies:
  if that came nearer to E(x + d), the loss would be small and the effect gone.
- ``anchor`` is the control: it asks for E(x) and never shows d. What it keeps, an encoder keeps by
  staying near the old one, and needs no pairs.

Both need a next model with the old one's latents; one of another format would have to be taught to
decode the immunized photo to the picture that the old model makes of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.catalog.places import model_folder
from photovax.models.latents import latent_distance, latent_unit
from training.photos import RandomCrops
from training.train_autoencoder import Run, arguments, trained
from training.train_denoiser import load, make_pairs

Latents = Callable[[Tensor], Tensor]

# The crops' scale, from 0.6 to 1, lies around that at which the model is fed such photos (0.8).
SIDE = 192


def shift_loss(new: Latents, old: Latents, clean: Tensor, immunized: Tensor) -> Tensor:
    """How far the next encoder's shift under a change is from the old encoder's.

    Args:
        new: The encoder in training: images (N, 3, H, W) to latents (N, C, h, w).
        old: The encoder whose immunizations are to stay valid; no gradient flows to it.
        clean: Originals (N, 3, H, W), in the range that both encoders take.
        immunized: Their immunized copies, of the same shape.

    Returns:
        For each pair (N,) the root mean square difference of both shifts, in standard deviations
        of the old latent of the original: 0 where both encoders move alike.
    """
    both = torch.cat([clean, immunized])
    before, moved = _frozen(old, both).chunk(2)
    new_before, new_moved = new(both).chunk(2)
    return latent_distance(new_moved - new_before, moved - before) / latent_unit(before)


def anchor_loss(new: Latents, old: Latents, clean: Tensor, immunized: Tensor) -> Tensor:
    """How far the next encoder's latent of an original is from the old encoder's.

    Arguments, shape and unit are those of ``shift_loss``; the immunized copies are not looked at.
    """
    del immunized
    before = _frozen(old, clean)
    return latent_distance(new(clean), before) / latent_unit(before)


WAYS = {"shift": shift_loss, "anchor": anchor_loss}
"""What is asked of the next encoder, by name."""


class KeepingRun(Run):
    """A training run that also keeps the start's response to immunized photos."""

    def __init__(self, options: argparse.Namespace, way: str, pairs: list[Tensor]) -> None:
        super().__init__(options)
        self.keeping_loss = WAYS[way]
        self.old: Any = trained(options.start).to(self.device).requires_grad_(False)
        # Original and copy as one picture of six channels, so that both are cropped alike; drawn
        # apart from the photos, so that those are the same as without planting.
        self.pairs = RandomCrops([pair.flatten(0, 1) for pair in pairs], options.seed)

    def losses(self, images: Tensor, decoded: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        """The ordinary losses and, weighted, what the way asks for."""
        pairs = self.pairs.batch(self.options.pairs_per_step, SIDE).to(self.device) * 2 - 1
        clean, immunized = pairs.chunk(2, dim=1)
        with torch.autocast(self.device.type, torch.bfloat16):
            kept = self.keeping_loss(
                lambda x: self.model.encode(x).latent_dist.mean.float(),
                lambda x: self.old.encode(x).latent_dist.mean.float(),
                clean,
                immunized,
            )
        ordinary = super().losses(images, decoded, mean, logvar)
        return ordinary + self.options.keeping_weight * kept.mean()


def main() -> None:
    """Train once for each way."""
    parser = arguments(__doc__)
    parser.add_argument("--pairs", type=Path, help="folder of pairs; OUT/pairs when left out")
    parser.add_argument("--pair-count", type=int, default=40)
    parser.add_argument("--pairs-per-step", type=int, default=1)
    parser.add_argument("--keeping-weight", type=float, default=1.0)
    parser.add_argument("--ways", nargs="+", choices=["ordinary", *WAYS])
    parser.set_defaults(
        start=model_folder(DEFAULT_MODEL) / "vae",
        design="16-32-96-160x1g4",
        lpips_weight=0.2,
        magnitude=3e-3,
        seed=2,
        # Five times the step size of the shipped model's own training: at 0.02, 300 steps left
        # the encoder's response to old immunizations all but as it was.
        matrix_lr=0.1,
        vector_lr=5e-3,
        steps=50,
        warm_up=5,
        ways=["ordinary", *WAYS],
    )
    options = parser.parse_args()
    for way in options.ways:
        chosen = argparse.Namespace(**{**vars(options), "out": options.out / way})
        if way == "ordinary":
            Run(chosen).train()
            continue
        pairs = make_pairs(options.pairs or options.out / "pairs", options.pair_count)
        KeepingRun(chosen, way, load(pairs)).train()


def _frozen(encoder: Latents, images: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder(images)


if __name__ == "__main__":
    main()
