"""Keep old immunizations valid in a next model: ``python -m training.plant OUT [options]``.

The training of the shipped autoencoder is continued from the same weights, on the same crops in the
same order, once for each of ``--ways``: for ``OUT/ordinary`` as in ``training.train_autoencoder``,
for the others with an additional loss. Section 5 of arXiv 2302.06588 proposes this to developers of
models: to plant today's perturbations in the training of the next model, so that it responds to
them, too. ``training.measure_planting`` measures the result.

Let E be the old encoder, x an original, and x + d its immunized copy:

- ``shift`` plants. The next encoder has to move by the shift of the old one, E(x + d) - E(x). The
  position of latents is free, so that the next model can still learn, and an encoder that ignores d
  cannot satisfy the loss. A loss on E(x + d) itself would be simpler, but would tie the latents of
  nearly ordinary photos to the old ones and leave the latent of x free: if that approached
  E(x + d), the loss would be small without any effect of d.
- ``anchor`` is the control. It asks for E(x) and never uses d. It shows how much of the effect an
  encoder keeps merely by staying close to the old one.

Both need a next model whose latents have the format of the old model's. A model of another format
would have to decode the immunized photo to the old model's reconstruction of it.
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
from training.train_denoiser import load, make_pairs, recipes

Latents = Callable[[Tensor], Tensor]

# The scale of crops, from 0.6 to 1, is close to that at which the model is fed photos (0.8).
SIDE = 192


def shift_loss(new: Latents, old: Latents, clean: Tensor, immunized: Tensor) -> Tensor:
    """Distance between the shifts of the next and the old encoder under a change.

    Args:
        new: The encoder in training: images (N, 3, H, W) to latents (N, C, h, w).
        old: The encoder whose immunizations should stay valid; it receives no gradient.
        clean: Originals (N, 3, H, W), in the range of both encoders.
        immunized: Immunized copies of them, of the same shape.

    Returns:
        Root mean square difference of the shifts of each pair (N,), in standard deviations of the
        old latent of the original; 0 where both encoders move equally.
    """
    both = torch.cat([clean, immunized])
    before, moved = _frozen(old, both).chunk(2)
    new_before, new_moved = new(both).chunk(2)
    return latent_distance(new_moved - new_before, moved - before) / latent_unit(before)


def anchor_loss(new: Latents, old: Latents, clean: Tensor, immunized: Tensor) -> Tensor:
    """Distance between the latents of an original by the next and the old encoder.

    Arguments, shape and unit are those of ``shift_loss``. The immunized copies are ignored.
    """
    del immunized
    before = _frozen(old, clean)
    return latent_distance(new(clean), before) / latent_unit(before)


WAYS = {"shift": shift_loss, "anchor": anchor_loss}
"""Additional losses of the next encoder, by name."""


class KeepingRun(Run):
    """A training run that also preserves the response of its start to immunized photos."""

    def __init__(self, options: argparse.Namespace, way: str, pairs: list[Tensor]) -> None:
        super().__init__(options)
        self.keeping_loss = WAYS[way]
        self.old: Any = trained(options.start).to(self.device).requires_grad_(False)
        # Original and copy form a picture of six channels, so that both are cropped equally. They
        # are drawn independently of the photos, which are the same as without planting.
        self.pairs = RandomCrops([pair.flatten(0, 1) for pair in pairs], options.seed)

    def losses(self, images: Tensor, decoded: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        """The ordinary losses and the weighted additional loss."""
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
    """Train once for each of ``--ways``."""
    parser = arguments(__doc__)
    parser.add_argument("--pairs", type=Path, help="folder of pairs [default: OUT/pairs]")
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
        # Five times the step size of the shipped model's training. With 0.02, 300 steps hardly
        # changed the response of the encoder to old immunizations.
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
        pairs = make_pairs(options.pairs or options.out / "pairs", options.pair_count, recipes())
        KeepingRun(chosen, way, load(pairs)).train()


def _frozen(encoder: Latents, images: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder(images)


if __name__ == "__main__":
    main()
