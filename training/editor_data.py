"""Training data of the embedded editor: target latents, conditions and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.evaluation.true_edits import TRUE_EDITS
from photovax.models.contracts import EditorAutoencoder
from training.captions import (
    class_word,
    instruction,
    picture_caption,
    recoloured,
    region_caption,
)
from training.holes import random_hole
from training.photos import RandomCrops

# For img2img: share of filtered samples whose noise is added to the unfiltered photo, as for a
# user's photo, or to a mixture with the target; and the earliest timestep of these samples.
OTHER_START, EARLIEST_OTHER = 0.6, 150
EDITS = tuple(TRUE_EDITS.values())
Pair = tuple[Tensor, Tensor, int]
"""Latents of a crop and of its edit, in half precision, and the number of the edit in ``EDITS``."""
OFTEN = 3  # factor by which --often raises the chance of an edit


@dataclass(frozen=True)
class Batch:
    """Training data of one step.

    Attributes:
        target: Scaled target latents (N, C, h, w).
        start: Scaled latents that noise is added to, mostly equal to the target.
        shown: Additional input channels (N, C or C + 1, h, w), or None.
        prompts: N prompts.
    """

    target: Tensor
    start: Tensor
    shown: Tensor | None
    prompts: list[str]


class Data:
    """Random batches of training data for each way of editing."""

    def __init__(
        self,
        autoencoder: EditorAutoencoder,
        photos: list[Tensor],
        names: list[str],
        seed: int,
        often: Sequence[str] = (),
        pool: int = 0,
        device: torch.device | str = "cpu",
        *,
        guided: bool = True,
        folder: Path | None = None,
    ) -> None:
        """Prepare the draws.

        Args:
            autoencoder: The autoencoder of the latents.
            photos: Photos, uint8 (3, H, W) each.
            names: File names of the photos.
            seed: Seed of all draws.
            often: Names of exact edits that instruct draws ``OFTEN`` times as often as others.
            pool: Number of pairs of each size that instruct makes and then reuses, since making a
                pair costs as much as a training step with it. Unlimited when 0.
            device: Device of the autoencoder.
            guided: Whether prompts and pictures are left out of some samples of instruct, as
                guidance needs it.
            folder: Folder where a whole pool is kept for a training that goes on.
        """
        self.device, self.guided, self.folder = torch.device(device), guided, folder
        self.autoencoder = autoencoder
        self.pool = pool
        self.pairs: dict[int, list[Pair]] = {}
        weights = np.array([OFTEN if e.name in often else 1.0 for e in EDITS])
        self.chances = weights / weights.sum()
        self.words = [class_word(name) for name in names]
        self.crops = RandomCrops(photos, seed)
        self.random = np.random.default_rng(seed + 1)

    def batch(self, mode: str, count: int, side: int) -> Batch:
        """Random samples for one way of editing."""
        if mode == "instruct":
            return self._instruct(self._pairs(count, side))
        crops, chosen = self.crops.draw(count, side)
        return self._inpaint(crops, chosen) if mode == "inpaint" else self._img2img(crops, chosen)

    def _encode(self, images: Tensor, *, own: bool = False) -> Tensor:
        """Scaled latents, or the autoencoder's own, on the CPU."""
        # Pictures are made on the CPU. Latents are small, and return there to be mixed.
        encode = self.autoencoder.own_latent if own else self.autoencoder.encode
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            return encode(images.to(self.device)).float().cpu()

    def _pairs(self, count: int, side: int) -> list[Pair]:
        """Latents before and after an edit, and the edit."""
        file = None if self.folder is None else self.folder / f"pairs-{side}.pt"
        if side not in self.pairs:
            self.pairs[side] = []
            if self.pool and file is not None and file.exists():
                self.pairs[side] = torch.load(file)
        made = self.pairs[side]
        if self.pool and len(made) >= self.pool:
            return [made[i] for i in self.random.integers(len(made), size=count)]
        crops, _ = self.crops.draw(count, side)
        numbers = self.random.choice(len(EDITS), size=count, p=self.chances)
        edited = torch.cat(
            [EDITS[number].filter(crop[None]) for number, crop in zip(numbers, crops, strict=True)]
        )
        # InstructPix2Pix (arXiv 2211.09800) shows the latent of the picture unscaled.
        before, after = self._encode(crops, own=True).half(), self._encode(edited).half()
        pairs = list(zip(before, after, map(int, numbers), strict=True))
        if self.pool:
            made.extend(pairs)
            if len(made) >= self.pool and file is not None:
                torch.save(made, file)
        return pairs

    def _instruct(self, pairs: list[Pair]) -> Batch:
        befores, afters, edits = zip(*pairs, strict=True)
        before, after = torch.stack(befores).float(), torch.stack(afters).float()
        # As InstructPix2Pix: 5 % without prompt, 5 % without picture, 5 % without both.
        draw = self.random.random(len(pairs)) if self.guided else np.ones(len(pairs))
        before[torch.from_numpy((draw >= 0.05) & (draw < 0.15))] = 0
        prompts = [
            "" if d < 0.10 else instruction(EDITS[edit], self.random)
            for edit, d in zip(edits, draw, strict=True)
        ]
        return Batch(after, after, before, prompts)

    def _inpaint(self, crops: Tensor, chosen: list[int]) -> Batch:
        pictures, holes, prompts = [], [], []
        for crop, index in zip(crops, chosen, strict=True):
            hole = random_hole(crop.shape[-1], self.random)
            picture = crop
            if hole.mean() < 0.9 and self.random.random() < 0.35:
                picture = recoloured(crop, hole, self.random)
            caption = region_caption(picture, hole, self.random, self.words[index])
            pictures.append(picture)
            holes.append(hole)
            prompts.append("" if self.random.random() < 0.1 else caption)
        whole, mask = torch.stack(pictures), torch.stack(holes)
        kept = torch.where(mask > 0.5, 0.5, whole)  # as the pipeline does
        target, context = self._encode(torch.cat((whole, kept))).chunk(2)
        small = F.interpolate(mask, size=target.shape[-2:])
        return Batch(target, target, torch.cat((small, context), dim=1), prompts)

    def _img2img(self, crops: Tensor, chosen: list[int]) -> Batch:
        pictures, prompts, others = [], [], []
        for crop, index in zip(crops, chosen, strict=True):
            edit = None
            if self.random.random() < 0.6:
                edit = EDITS[self.random.integers(len(EDITS))]
            picture = crop if edit is None else edit.filter(crop[None])[0]
            caption = picture_caption(picture, self.random, self.words[index], edit)
            elsewhere = edit is not None and self.random.random() < OTHER_START
            pictures.append(picture)
            others.append(elsewhere)
            prompts.append("" if not elsewhere and self.random.random() < 0.1 else caption)
        other = torch.tensor(others)
        latents = self._encode(torch.cat((torch.stack(pictures), crops[other])))
        target = latents[: len(crops)]
        start = target.clone()
        # Intermediate latents of an edit lie between the two.
        way = torch.from_numpy(self.random.random((int(other.sum()), 1, 1, 1)) ** 0.5).float()
        start[other] = torch.lerp(target[other], latents[len(crops) :], way)
        return Batch(target, start, None, prompts)
