"""Training of a perturbation network against an autoencoder.

The loss is that of the recipe, without stored targets: the network's change is projected onto the
recipe's budget and fed to the autoencoder through one of several views per step.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from photovax.attack.budgets import Perceptual
from photovax.attack.networks.estimate import estimator
from photovax.attack.networks.files import read_network, write_network
from photovax.attack.networks.headers import USUAL_WIDTH
from photovax.attack.networks.network import PerturbationNetwork, placed
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.recipe import Recipe
from photovax.attack.scene import Scene, view_loss
from photovax.digests import file_digest
from photovax.errors import UsageError
from photovax.learning.checkpoints import read_checkpoint, write_checkpoint
from photovax.learning.crops import PhotoCrops
from photovax.learning.muon import optimisers
from photovax.learning.opponent import Opponent
from photovax.machine.precision import Quick
from photovax.metrics.latent import latent_shift
from photovax.models.contracts import Autoencoder
from photovax.models.views import VIEWS
from photovax.pictures.photo import Photo
from photovax.pictures.resize import fed_sides
from photovax.registry import Part
from photovax.tensors import pixels_of, tensor

__all__ = ["Learner", "Plan", "concentration"]

CURVE = "curve.jsonl"
"""Name of the file of reports in the folder of a training."""

_SMALL_SHARE = 0.6
"""Share of the time in which photos are fed at half the model's size, four at a time."""

_FLAT_SHARE = 0.4
"""Share of the time after which the learning rate decays to 2 %."""

_LARGEST_PHOTO = 4000
"""Largest short side, in pixels, of the photos from which crops are taken to be."""

_OPPOSED = 1.25
"""Largest side, relative to that which is fed, of crops that an opponent works on.

Larger ones would take it longer than all the rest of a step.
"""

_SPREAD = 25.0
"""Concentration of power in frequencies up to which a change is not penalised.

That of changes that a descent finds is about 40, that of white noise 2."""


_AS_FED = Part("short_side")

USUAL_VIEWS = (*([_AS_FED] * 5), Part("short_side", {"times": 1.5}))
"""Views of a training, one drawn for each step: those of the default recipe, mostly its first.

With a third of the second, a network does a tenth less to an editor that is fed the model's own
size, and half as much again to one that is fed the other. Views after JPEG, resizing and other
treatments would cost a sixth of the effect on the photo, and bring about as much on halved photos.
"""


@dataclass(frozen=True)
class Plan:
    """Settings of a training.

    Attributes:
        seconds: Duration of all steps, in seconds, over all runs that resume it.
        seed: Seed of all random choices.
        matrix_rate: Learning rate of kernels, which Muon trains.
        vector_rate: Learning rate of all other weights, which AdamW trains.
        spread: Weight of the penalty on changes whose power is in few frequencies. Without it, a
            network learns one pattern of lines for all photos, which is seen, and easily removed.
        every: Seconds between reports and checkpoints.
        views: Views through which the autoencoder is fed, one drawn for each step.
        opposed: Share of the steps in which the autoencoder is fed what an opponent leaves: a
            denoiser that learns beside the network (``photovax.learning.opponent``). From 0, which
            trains without one, to 1.
        width: Channels of the network's finest level; the others have twice and three times as
            many. That of the network to start from, or ``USUAL_WIDTH``, when None.
    """

    seconds: float
    seed: int = 0
    matrix_rate: float = 0.01
    vector_rate: float = 2e-3
    spread: float = 0.1
    every: float = 120.0
    views: tuple[Part, ...] = USUAL_VIEWS
    opposed: float = 0.0
    width: int | None = None


class Learner:
    """A training, which resumes from the checkpoint in its folder.

    Args:
        recipe: Recipe with a perceptual budget, whose objective attacks the autoencoder.
        model: Autoencoder.
        photos: Photos to train on.
        held_out: Photos to measure on.
        folder: Folder of the checkpoint and the curve.
        plan: Settings.
        quick: Context of passes in low precision, or None.
        device: Device of the model.
        start: File of a network to start from, if there is no checkpoint.

    Attributes:
        network: Network that is trained.
        steps: Number of steps taken.
        seconds: Duration of these steps.

    Raises:
        UsageError: If the recipe does not fit, the network to start from has another width, or the
            checkpoint is of another training.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Autoencoder,
        photos: Sequence[Path],
        held_out: Sequence[Photo],
        folder: Path,
        plan: Plan,
        *,
        quick: Quick | None,
        device: torch.device,
        start: Path | None = None,
    ) -> None:
        self._objective = OBJECTIVES.create(recipe.objective)
        if not recipe.constraint.bounds_seen or self._objective.needs != "autoencoder":
            raise UsageError(
                "a perturbation network needs a recipe with a perceptual budget and an objective "
                f"on the autoencoder, got {recipe.budget.name} and {recipe.objective.name}",
                hint="give --recipe instant",
            )
        self._recipe, self._model, self._plan = recipe, model, plan
        self._held_out, self._folder, self._device = list(held_out), folder, device
        self._quick = quick or nullcontext
        self._budget = Perceptual(**recipe.budget.options)
        self._views = [VIEWS.create(part) for part in plan.views]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.network = _of_width(plan.width or USUAL_WIDTH)
        self._start = start
        if start is not None:
            self._start_from(start)
        placed(self.network, device)
        self._average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self._optimisers = optimisers(
            self.network,
            matrix_lr=plan.matrix_rate,
            vector_lr=plan.vector_rate,
            matrices=lambda p: p.ndim == 4 and p.shape[1] > 1,
        )
        self._random = np.random.default_rng(plan.seed)
        self._generator = Generator(device).manual_seed(plan.seed)
        self._photos = photos
        self._crops = PhotoCrops(photos, self._random)
        self._opponent = Opponent(device) if plan.opposed else None
        self.steps, self.seconds, self._loss = 0, 0.0, math.nan
        if (state := read_checkpoint(folder, device)) is not None:
            self._load(state)

    def _start_from(self, file: Path) -> None:
        """Start from the weights of a file, whatever its width is.

        Raises:
            ModelError: If it cannot be read.
            UsageError: If it has another width than the one asked for.
        """
        network = read_network(file, self._device).network
        if self._plan.width not in (None, network.widths[0]):
            raise UsageError(
                f"{file} has {network.widths[0]} channels at the finest level, got a width of "
                f"{self._plan.width}",
                hint="leave out --width, or --start",
            )
        self.network = network.train().requires_grad_(True)

    def train(self, callback: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Take steps until the plan's time is over, with reports and checkpoints on the way.

        Args:
            callback: Function called with each report.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        reported = self.seconds
        while self.seconds < self._plan.seconds:
            try:
                self.step()
            except KeyboardInterrupt:
                self._save()  # a step that was cut short is no worse than one with other noise
                raise
            last = self.seconds >= self._plan.seconds
            if last or self.seconds - reported >= self._plan.every:
                reported = self.seconds
                self._save()
                report = self.report()
                with (self._folder / CURVE).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(report) + "\n")
                if callback is not None:
                    callback(report)

    def step(self) -> None:
        """Update the weights and their average once."""
        began, plan = time.monotonic(), self._plan
        done = self.seconds / plan.seconds
        decay = 0.02 + 0.98 * min(1.0, (1 - done) / (1 - _FLAT_SHARE))
        warm = min(1.0, (self.steps + 1) / 100)
        rates = (plan.matrix_rate, plan.vector_rate)
        for optimiser, rate in zip(self._optimisers, rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * warm * max(0.0, decay)
            optimiser.zero_grad(set_to_none=True)
        loss = self._drawn_loss(small=done < _SMALL_SHARE)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in self._optimisers:
            optimiser.step()
        keep = min(0.998, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self._average[name].lerp_(value, 1 - keep)
        self.steps += 1
        seen = loss.item()
        self._loss = seen if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * seen
        self.seconds += time.monotonic() - began

    def _drawn_loss(self, *, small: bool) -> Tensor:
        """The loss of random crops through a random view."""
        size = self._recipe.size or self._model.size
        fed, count = (size // 2, 4) if small else (size, 1)
        opposed = self._opponent is not None and self._random.random() < self._plan.opposed
        budget, side = self._viewed(size, fed)
        while opposed and side > _OPPOSED * fed:
            budget, side = self._viewed(size, fed)
        origin = self._crops.batch(count, side).to(self._device)
        origin = origin.contiguous(memory_format=torch.channels_last)
        view = self._views[int(self._random.integers(len(self._views)))].fitted(fed)
        scene = Scene(origin, torch.ones_like(origin[:, :1]) > 0, None, False)
        with self._quick():
            loss = view_loss(self._model, self._objective, view, scene)
        x = budget.estimated(origin, [((fed, fed), estimator(self.network, self._quick))])
        penalty = concentration(budget.thresholds(x, origin))
        # Files are rounded to 8 bits.
        noise = torch.rand(x.shape, generator=self._generator, device=self._device)
        shown = x + (noise - 0.5) / 255
        if self._opponent is not None:
            self._opponent.learn(shown, origin, self._random)
            shown = self._opponent(shown) if opposed else shown
        with self._quick():
            losses = loss(shown, self._generator)
        # Divided by its magnitude, so that each photo and each view has the same weight.
        relative = losses / losses.detach().abs().clamp_min(1e-4)
        return relative.mean() + self._plan.spread * penalty.mean()

    def _viewed(self, size: int, fed: int) -> tuple[Perceptual, int]:
        """The budget for crops of photos of a random size, and the side of these crops."""
        # Half of them are about as large as they are fed, and optimised at their own size.
        grown = 1 + 0.5 * self._random.random()
        if self._random.random() < 0.5:
            grown = max(grown, _LARGEST_PHOTO / size) ** self._random.random()
        short = round(size * grown)
        budget = self._budget.fitted(short, short, size)
        assert budget.view is not None  # noqa: S101 - for the type checker: it is fitted
        side = round(budget.view.grid[0] * fed / size)
        return replace(budget, view=replace(budget.view, grid=(side, side))), side

    def averaged(self) -> PerturbationNetwork:
        """The network with averaged weights, without gradients."""
        network = PerturbationNetwork(self.network.widths, self.network.blocks)
        network.load_state_dict(self._average)
        return placed(network.eval().requires_grad_(False), self._device)

    def report(self) -> dict[str, Any]:
        """Steps, seconds, loss, and the mean latent shift of the photos held out."""
        network = self.averaged()
        shifts = [self._shift(network, photo) for photo in self._held_out]
        return {
            "step": self.steps,
            "seconds": round(self.seconds),
            "loss": round(self._loss, 4),
            "shift": round(float(np.mean(shifts)), 4),
        }

    def _shift(self, network: PerturbationNetwork, photo: Photo) -> float:
        """The latent shift of a whole photo that the network alone immunizes, in 8 bits."""
        size = self._recipe.size or self._model.size
        pixels = photo.visible()
        height, width = pixels.shape[:2]
        budget = self._budget.fitted(height, width, size)
        origin = tensor(pixels, self._device)
        with torch.no_grad():
            fed = fed_sides(height, width, size)
            x = budget.estimated(origin, [(fed, estimator(network, self._quick))])
        return latent_shift(self._model, pixels, pixels_of(x), self._device, size=size)

    def export(self, file: Path, *, overwrite: bool = False) -> None:
        """Write the network with averaged weights.

        Raises:
            OutputExists: If the file exists and must not be replaced.
            SaveError: If the disk refuses the file.
        """
        write_network(
            self.averaged(),
            file,
            model=self._model.name,
            model_digest=self._model.digest,
            opposed=self._plan.opposed > 0,
            overwrite=overwrite,
        )

    def _save(self) -> None:
        state = {
            "asked": self._asked(),
            "network": self.network.state_dict(),
            "average": self._average,
            "optimisers": [each.state_dict() for each in self._optimisers],
            "random": self._random.bit_generator.state,
            "generator": self._generator.get_state(),
            "counts": (self.steps, self.seconds, self._loss),
            "opponent": self._opponent and self._opponent.state(),
        }
        write_checkpoint(state, self._folder)

    def _asked(self) -> list[str]:
        """What a training must have in common with one that it resumes."""
        asked = [self._model.digest, self._recipe.digest(), str(self._plan.seed)]
        asked.append(f"widths {self.network.widths}")
        # With others, photos that were trained on would be among those that are held out.
        names = "\n".join(sorted(photo.name for photo in self._photos))
        asked.append(f"photos {hashlib.sha256(names.encode()).hexdigest()}")
        if self._plan.opposed:
            asked.append(f"opposed {self._plan.opposed}")
        if self._start is not None:
            asked.append(f"start {file_digest(self._start)}")
        return asked

    def _load(self, state: dict[str, Any]) -> None:
        """Resume from a checkpoint.

        Raises:
            UsageError: If it is of another model, recipe, seed or folder of photos.
        """
        if state.get("asked") != self._asked():
            raise UsageError(
                f"{self._folder} holds a training with another model, recipe, seed, width, "
                "opponent or photos, or from another --start",
                hint="give another -o, or remove that folder",
            )
        self.network.load_state_dict(state["network"])
        self._average = state["average"]
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self._random.bit_generator.state = state["random"]
        self._generator.set_state(state["generator"].cpu())
        if self._opponent is not None:
            self._opponent.load(state["opponent"])
        self.steps, self.seconds, self._loss = state["counts"]


def _of_width(width: int) -> PerturbationNetwork:
    return PerturbationNetwork((width, 2 * width, 3 * width))


def concentration(thresholds: Tensor) -> Tensor:
    """The excess concentration (N,) of the power of thresholds (N, C, h, w) in few frequencies.

    It is the mean over channels of the logarithm of mean(P^2) / mean(P)^2 / 25, for the power P of
    each frequency, and 0 where that is negative.
    """
    power = torch.fft.rfft2(thresholds).abs().square().flatten(2)
    ratio = power.square().mean(2) / power.mean(2).square().clamp_min(1e-20)
    excess: Tensor = (ratio / _SPREAD).log().clamp_min(0).mean(1)
    return excess
