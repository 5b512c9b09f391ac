"""Objectives that go through the edit, or through its denoiser once.

Every call draws fresh noise, so all of these are random. Those that name a ``mode`` ask the
denoiser of that way of editing; ``inpaint`` needs a mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.attack.losses import LossFn
from photovax.attack.objectives.contract import OBJECTIVES
from photovax.attack.objectives.latent import target_picture
from photovax.errors import UsageError
from photovax.machine.random import draw_noise, twin
from photovax.models.contracts import Denoiser, DifferentiableEditor, Need
from photovax.models.edit import USUAL_STRENGTH, Edit, Mode
from photovax.models.latents import latent_distance

__all__ = ["DenoisingError", "EditDrift", "EditTarget", "FirstStepNorm"]


@dataclass(frozen=True)
class _ThroughEdit:
    """An objective that goes through a whole edit.

    Attributes:
        edit: What the editor is asked for, as ``photovax.models.edit.Edit`` or its fields.
    """

    edit: Edit | Mapping[str, Any]
    needs: ClassVar[Need] = "editor"
    random: ClassVar[bool] = True

    @property
    def mode(self) -> Mode:
        """The way of editing that is asked for."""
        return _as_edit(self.edit).mode

    def options_for(self, mode: str) -> Mapping[str, Any]:
        """The edit in another way of editing."""
        given = self.edit
        changed = {**(asdict(given) if isinstance(given, Edit) else given), "mode": mode}
        if mode == "img2img":
            # At full strength nothing of the photo is left to attack.
            strength = changed.setdefault("strength", USUAL_STRENGTH)
            if "steps" in changed and int(changed["steps"] * strength) < 1:
                changed["steps"] = math.ceil(1 / strength)
        return {"edit": changed}


@dataclass(frozen=True)
class _OfDenoiser:
    """An objective that asks the denoiser of one way of editing.

    Attributes:
        mode: The way of editing.
        prompt: The prompt.
    """

    mode: Mode
    prompt: str = ""
    needs: ClassVar[Need] = "denoiser"
    random: ClassVar[bool] = True

    def options_for(self, mode: str) -> Mapping[str, Any]:
        """The mode.

        Raises:
            UsageError: If the objective cannot attack it.
        """
        replace(self, mode=cast(Mode, mode))
        return {"mode": mode}


@OBJECTIVES.register("edit_target")
@dataclass(frozen=True)
class EditTarget(_ThroughEdit):
    """Pull the whole edit to a picture: the diffusion attack of arXiv 2302.06588, section 3.

    Attributes:
        target: ``"zero"``, the zero tensor of the public notebook, which in [-1, 1] is mid grey;
            ``"grey"``, the same by its everyday name; ``"photo"``, the packaged target photo;
            or the path of a picture.
        prompts: One is drawn at each call, since the adversary's is unknown; the edit's own
            when there are none.
    """

    target: str = "zero"
    prompts: Sequence[str] = ()

    def bind(
        self, surrogate: DifferentiableEditor, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """The root mean square distance of the edit to the target picture."""
        edit = _as_edit(self.edit)
        if self.target in ("zero", "grey"):
            goal = torch.full_like(origin, 0.5)
        else:
            goal = target_picture(self.target, origin)

        def loss(images: Tensor, generator: Generator) -> Tensor:
            asked = _drawn(edit, self.prompts, generator)
            made = surrogate.edit(images.expand(-1, 3, -1, -1), asked, generator, repaint=repaint)
            return latent_distance(made, goal.expand_as(made))

        return loss


@OBJECTIVES.register("edit_drift")
@dataclass(frozen=True)
class EditDrift(_ThroughEdit):
    """Push the whole edit away from what becomes of the original on the same noise.

    No target to reach: as ``LatentDrift`` is to ``LatentTarget``. One denoising step is enough
    to be cheap; more come nearer to the adversary's edit.

    Attributes:
        prompts: As for ``EditTarget``.
    """

    prompts: Sequence[str] = ()

    def bind(
        self, surrogate: DifferentiableEditor, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """Minus the root mean square distance of the two edits."""
        edit = _as_edit(self.edit)

        def loss(images: Tensor, generator: Generator) -> Tensor:
            asked = _drawn(edit, self.prompts, generator)
            same = twin(generator)
            with torch.no_grad():
                clean = surrogate.edit(origin.expand(-1, 3, -1, -1), asked, same, repaint=repaint)
            made = surrogate.edit(images.expand(-1, 3, -1, -1), asked, generator, repaint=repaint)
            return -latent_distance(made, clean)

        return loss


@OBJECTIVES.register("denoising_error")
@dataclass(frozen=True)
class DenoisingError(_OfDenoiser):
    """Make the denoiser's own training loss, at random timesteps, as large as can be.

    AdvDM (arXiv 2302.04578); for a flow-matching transformer, the same with its velocity. With
    ``through_denoiser`` off, the gradient skips the denoiser: SDS of Diff-Protect (arXiv
    2311.12832), about half the memory and twice the speed.

    Attributes:
        through_denoiser: Whether gradients pass through the denoiser.
        direction: ``"raise"`` the error, or ``"lower"`` it, which Diff-Protect found to blur
            edits while being less visible.
    """

    mode: Mode = "img2img"
    through_denoiser: bool = True
    direction: Literal["raise", "lower"] = "raise"

    def __post_init__(self) -> None:
        if self.direction not in ("raise", "lower"):
            raise UsageError(f"direction must be raise or lower, got {self.direction!r}")

    def bind(self, surrogate: Denoiser, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """Minus (or plus) the mean squared error of what is predicted."""
        edit = Edit(self.mode, self.prompt, guidance=1)
        sign = -1.0 if self.direction == "raise" else 1.0

        def loss(images: Tensor, generator: Generator) -> Tensor:
            latents = surrogate.encode(images)
            context = surrogate.context(images, edit, generator, repaint=repaint)
            times = surrogate.random_times(len(images), generator)
            noise = draw_noise(latents.shape, latents, generator)
            noisy = surrogate.noised(latents, noise, times)
            with torch.set_grad_enabled(self.through_denoiser and torch.is_grad_enabled()):
                predicted = surrogate.predicted(noisy, times, context, self.mode)
                error = predicted - surrogate.target(latents, noise)
            value = error.square().flatten(1).mean(1)
            if not self.through_denoiser:
                # The error's own gradient with respect to the latents, as if the denoiser were
                # the identity; the added difference is zero, so the value stays that of AdvDM.
                pull = (2 * error.detach() * (latents - latents.detach())).flatten(1).mean(1)
                value = value.detach() + pull
            return sign * value

        return loss


@OBJECTIVES.register("first_step_norm")
@dataclass(frozen=True)
class FirstStepNorm(_OfDenoiser):
    """Blow up what the denoiser predicts at the first, noisiest step.

    DiffusionGuard (arXiv 2410.05694): early steps decide the edit, and one pass is cheap. The
    adversary's mask is unknown, so that the kept region is shrunk at random at each call. Shrunk
    evenly here, by up to ``shrink`` of its short side; the authors' contours wobble as well.

    Attributes:
        mode: ``inpaint`` or ``instruct``, whose denoisers are shown the photo beside the noise;
            img2img's first step sees the photo only through the noise on it.
        shrink: Largest share of the photo's short side by which the kept region shrinks.
    """

    mode: Mode = "inpaint"
    shrink: float = 0.1

    def __post_init__(self) -> None:
        if self.mode == "img2img":
            raise UsageError("first_step_norm attacks inpaint or instruct, not img2img")
        if not 0 <= self.shrink < 0.5:
            raise UsageError(f"shrink must be from 0 to below 0.5, got {self.shrink:g}")

    def bind(self, surrogate: Denoiser, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """Minus the root mean square of the prediction."""
        edit = Edit(self.mode, self.prompt, guidance=1)

        def loss(images: Tensor, generator: Generator) -> Tensor:
            region = None if repaint is None else _grown(repaint, self.shrink, generator)
            context = surrogate.context(images, edit, generator, repaint=region)
            predicted = surrogate.first_prediction(images, context, self.mode, generator)
            return -latent_distance(predicted, torch.zeros_like(predicted))

        return loss


def _as_edit(edit: Edit | Mapping[str, Any]) -> Edit:
    if isinstance(edit, Edit):
        return edit
    try:
        return Edit(**edit)
    except TypeError as error:
        raise UsageError(f"edit: {error}") from None


def _drawn(edit: Edit, prompts: Sequence[str], generator: Generator) -> Edit:
    """The edit with one of the prompts."""
    if isinstance(prompts, str):
        raise UsageError(f"prompts must be a list, got {prompts!r}; put it in brackets")
    if not prompts:
        return edit
    index = torch.randint(len(prompts), (), generator=generator, device=generator.device)
    return edit.asking(prompts[int(index)])


def _grown(repaint: Tensor, share: float, generator: Generator) -> Tensor:
    """The repainted region, grown by a random distance: the kept region shrinks by it."""
    widest = int(share * min(repaint.shape[-2:]))
    steps = int(torch.randint(widest + 1, (), generator=generator, device=generator.device))
    if steps == 0:
        return repaint
    grown = F.max_pool2d(repaint.float(), 2 * steps + 1, 1, steps) > 0
    return repaint if bool(grown.all()) else grown
