"""Objectives that need the whole edit, or one pass through its denoiser.

Every call draws new noise, so all of them are random. Those with a ``mode`` use the denoiser of
that way of editing; ``inpaint`` needs a mask.
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
from photovax.attack.objectives.latent import check_smooth, target_picture, uneven
from photovax.errors import UsageError
from photovax.machine.random import draw_noise, twin
from photovax.models.contracts import Denoiser, DifferentiableEditor, Need
from photovax.models.edit import USUAL_STRENGTH, Edit, Mode
from photovax.models.latents import latent_distance

__all__ = ["DenoisingError", "EditDrift", "EditTarget", "FirstStepNorm", "OfDenoiser", "drawn"]


@dataclass(frozen=True)
class _ThroughEdit:
    """An objective on the result of a whole edit.

    Attributes:
        edit: Settings of the edit, a ``photovax.models.edit.Edit`` or its fields.
    """

    edit: Edit | Mapping[str, Any]
    needs: ClassVar[Need] = "editor"
    random: ClassVar[bool] = True

    @property
    def mode(self) -> Mode:
        """The way of editing of the edit."""
        return _as_edit(self.edit).mode

    def options_for(self, mode: str) -> Mapping[str, Any]:
        """The edit with another way of editing."""
        given = self.edit
        _as_edit(given)
        changed = {**(asdict(given) if isinstance(given, Edit) else given), "mode": mode}
        if mode == "img2img":
            # At full strength the edit does not depend on the photo.
            strength = changed.setdefault("strength", USUAL_STRENGTH)
            if "steps" in changed and int(changed["steps"] * strength) < 1:
                changed["steps"] = math.ceil(1 / strength)
        return {"edit": changed}


@dataclass(frozen=True)
class OfDenoiser:
    """An objective on single predictions of a denoiser.

    Attributes:
        mode: Way of editing whose denoiser is used.
        prompt: Prompt that conditions the denoiser.
    """

    mode: Mode
    prompt: str = ""
    needs: ClassVar[Need] = "denoiser"
    random: ClassVar[bool] = True

    def options_for(self, mode: str) -> Mapping[str, Any]:
        """The option ``mode``.

        Raises:
            UsageError: If the objective cannot attack that way of editing.
        """
        replace(self, mode=cast(Mode, mode))
        return {"mode": mode}


@OBJECTIVES.register("edit_target")
@dataclass(frozen=True)
class EditTarget(_ThroughEdit):
    """Move the result of the whole edit towards a target picture.

    Source: the diffusion attack of PhotoGuard (arXiv 2302.06588, section 3).

    Attributes:
        target: Target picture. ``"zero"`` is the zero tensor of the public notebook, which is mid
            grey in [-1, 1]; ``"grey"`` is the same; ``"photo"`` is the packaged target photo; other
            values are the path of a picture.
        prompts: Prompts, one of which is drawn at each call because the adversary's is unknown. The
            edit's own prompt is used when there are none.
    """

    target: str = "zero"
    prompts: Sequence[str] = ()

    def bind(
        self, surrogate: DifferentiableEditor, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """The loss: root mean square distance of the edit to the target, in units of [0, 1]."""
        edit = _as_edit(self.edit)
        if self.target in ("zero", "grey"):
            goal = torch.full_like(origin, 0.5)
        else:
            goal = target_picture(self.target, origin)

        def loss(images: Tensor, generator: Generator) -> Tensor:
            asked = drawn(edit, self.prompts, generator)
            made = surrogate.edit(images.expand(-1, 3, -1, -1), asked, generator, repaint=repaint)
            return latent_distance(made, goal.expand_as(made))

        return loss


@OBJECTIVES.register("edit_drift")
@dataclass(frozen=True)
class EditDrift(_ThroughEdit):
    """Move the result of the whole edit away from the edit of the original with the same noise.

    This is the diffusion attack without a target. With one denoising step it is fast; with more it
    is closer to the adversary's edit.

    Attributes:
        prompts: Prompts, one of which is drawn at each call. The edit's own prompt is used when
            there are none.
        smooth: Side in pixels of the squares whose mean differences do not count, since anyone
            undoes another brightness, as in ``decoded_drift``; 0 counts all.

    Raises:
        UsageError: If ``smooth`` is negative.
    """

    prompts: Sequence[str] = ()
    smooth: int = 0

    def __post_init__(self) -> None:
        check_smooth(self.smooth)

    def bind(
        self, surrogate: DifferentiableEditor, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """The loss: minus the root mean square of what counts of the difference, in [0, 1]."""
        edit = _as_edit(self.edit)

        def loss(images: Tensor, generator: Generator) -> Tensor:
            asked = drawn(edit, self.prompts, generator)
            same = twin(generator)
            with torch.no_grad():
                clean = surrogate.edit(origin.expand(-1, 3, -1, -1), asked, same, repaint=repaint)
            made = surrogate.edit(images.expand(-1, 3, -1, -1), asked, generator, repaint=repaint)
            counted = uneven((made - clean).float(), self.smooth)
            return -latent_distance(counted, torch.zeros_like(counted))

        return loss


@OBJECTIVES.register("denoising_error")
@dataclass(frozen=True)
class DenoisingError(OfDenoiser):
    """Maximise the denoiser's training loss at random timesteps.

    Source: AdvDM (arXiv 2302.04578). For flow-matching transformers the training loss is that of
    the velocity. Without ``through_denoiser`` the gradient skips the denoiser, which is SDS of
    Diff-Protect (arXiv 2311.12832): about half the memory and twice the speed.

    Attributes:
        through_denoiser: Whether gradients pass through the denoiser.
        direction: Sign of the loss: ``"raise"`` maximises the error, ``"lower"`` minimises it.
            Diff-Protect found that lowering it blurs edits and is less visible.

    Raises:
        UsageError: If the direction is neither.
    """

    mode: Mode = "img2img"
    through_denoiser: bool = True
    direction: Literal["raise", "lower"] = "raise"

    def __post_init__(self) -> None:
        if self.direction not in ("raise", "lower"):
            raise UsageError(f"direction must be raise or lower, got {self.direction!r}")

    def bind(self, surrogate: Denoiser, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """The loss: mean squared error of the prediction, negative if it is to be raised."""
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
                # The gradient with respect to the latents with the denoiser's Jacobian replaced by
                # the identity. The added difference is zero, so the value stays that of AdvDM.
                pull = (2 * error.detach() * (latents - latents.detach())).flatten(1).mean(1)
                value = value.detach() + pull
            return sign * value

        return loss


@OBJECTIVES.register("first_step_norm")
@dataclass(frozen=True)
class FirstStepNorm(OfDenoiser):
    """Maximise the norm of the denoiser's prediction at the first, noisiest step.

    Source: DiffusionGuard (arXiv 2410.05694). Early steps decide the edit, and one pass is fast.
    The adversary's mask is unknown, so the kept region shrinks by a random distance at each call.
    Here it shrinks evenly; the authors' mask augmentation also deforms its contour.

    Attributes:
        mode: Way of editing, ``inpaint`` or ``instruct``: their denoisers get the photo as a
            separate input. The first step of img2img depends on the photo only through its noised
            latent.
        shrink: Largest distance by which the kept region shrinks, as a share of the photo's short
            side, from 0 to below 0.5.

    Raises:
        UsageError: If the mode is ``img2img``, or ``shrink`` is out of range.
    """

    mode: Mode = "inpaint"
    shrink: float = 0.1

    def __post_init__(self) -> None:
        if self.mode == "img2img":
            raise UsageError("first_step_norm attacks inpaint or instruct, not img2img")
        if not 0 <= self.shrink < 0.5:
            raise UsageError(f"shrink must be from 0 to below 0.5, got {self.shrink:g}")

    def bind(self, surrogate: Denoiser, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """The loss: minus the root mean square of the prediction."""
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
    if not isinstance(edit, Mapping):
        raise UsageError(f"edit must be a table of settings, got {edit!r}")
    try:
        return Edit(**edit)
    except TypeError as error:
        raise UsageError(f"edit: {error}") from None


def drawn(edit: Edit, prompts: Sequence[str], generator: Generator) -> Edit:
    """The edit with one of the prompts, drawn at random.

    Raises:
        UsageError: If the prompts are no list.
    """
    if not isinstance(prompts, list | tuple):
        raise UsageError(f"prompts must be a list, got {prompts!r}; put it in brackets")
    if not prompts:
        return edit
    wrong = [prompt for prompt in prompts if not isinstance(prompt, str)]
    if wrong:
        raise UsageError(f"prompts must be texts, got {wrong[0]!r}")
    index = torch.randint(len(prompts), (), generator=generator, device=generator.device)
    return edit.asking(prompts[int(index)])


def _grown(repaint: Tensor, share: float, generator: Generator) -> Tensor:
    """The repainted region, grown by a random distance; itself where that would be everything."""
    widest = int(share * min(repaint.shape[-2:]))
    steps = int(torch.randint(widest + 1, (), generator=generator, device=generator.device))
    if steps == 0:
        return repaint
    grown = F.max_pool2d(repaint.float(), 2 * steps + 1, 1, steps) > 0
    return repaint if bool(grown.all()) else grown
