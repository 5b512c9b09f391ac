from typing import Any

import pytest
import torch
from torch import Generator

from photovax.attack.budgets import L2, Linf, Within
from photovax.attack.losses import Weighed, score
from photovax.attack.optimise import SCHEDULES, Steps, pgd
from photovax.errors import GradientError, LossShapeError

ORIGIN = torch.full((2, 3, 4, 5), 0.5)
WEIGHT = torch.randn(1, 3, 4, 5, generator=Generator().manual_seed(0))
OTHER = torch.randn(1, 3, 4, 5, generator=Generator().manual_seed(1))


def linear_loss(x, generator):
    return (x * WEIGHT).flatten(1).sum(1)


BALL = Linf(0.1)


def descend(
    losses=(linear_loss,),
    constraint=BALL,
    *,
    steps=40,
    groups=None,
    costs=None,
    callback=None,
    **options: Any,
):
    each = zip(losses, groups or [0] * len(losses), costs or [1] * len(losses), strict=True)
    return pgd(
        [Weighed(*known) for known in each],
        ORIGIN,
        constraint,
        Steps(steps, options.pop("step_size", 0.05), **options),
        generator=Generator().manual_seed(0),
        callback=callback,
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("adaptivity", [None, 0.7])
def test_linf_reaches_the_corner_a_linear_loss_points_to(schedule, momentum, adaptivity):
    found = descend(schedule=schedule, momentum=momentum, adaptivity=adaptivity)
    best = ORIGIN - 0.1 * WEIGHT.sign()
    torch.testing.assert_close(found.x, best.expand_as(found.x))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("adaptivity", [0.0, 0.7])
def test_adaptive_steps_are_those_of_adam(momentum, adaptivity):
    steps, size = 7, 0.01
    reached: list[torch.Tensor] = []

    def seen(weight):
        def loss(x, generator):
            reached.append(x.detach().clone())
            return (x * weight).flatten(1).sum(1)

        return loss

    descend(
        [seen(WEIGHT), seen(100 * OTHER)],
        Linf(0.4),
        draws=1,
        steps=steps,
        step_size=size,
        schedule="constant",
        momentum=momentum,
        adaptivity=adaptivity,
        random_start=False,
    )
    # Adam is asked for one step after the other, each no longer than the step of a sign.
    x = torch.zeros_like(WEIGHT, requires_grad=True)
    adam = torch.optim.Adam([x], lr=1, betas=(momentum, adaptivity), eps=0)
    expected = ORIGIN.clone()
    for index in range(steps):
        torch.testing.assert_close(reached[index], expected)
        before = x.detach().clone()
        gradient = (WEIGHT, OTHER)[index % 2]
        x.grad = gradient / gradient.abs().mean()
        adam.step()
        expected = expected + size * (x.detach() - before).clamp(-1, 1)
    assert len(reached) > steps


def test_adaptive_steps_leave_alone_what_the_loss_does_not_see():
    def left_half(x, generator):
        return (x * WEIGHT)[..., :3].flatten(1).sum(1)

    found = descend([left_half], momentum=0.5, adaptivity=0.7, random_start=False)
    assert torch.equal(found.x[..., 3:], ORIGIN[..., 3:])


def test_l2_reaches_the_point_a_linear_loss_points_to():
    found = descend(constraint=L2(0.3), step_size=0.2)
    best = ORIGIN - 0.3 * WEIGHT / WEIGHT.norm()
    torch.testing.assert_close(found.x, best.expand_as(found.x), atol=1e-3, rtol=0)


def test_a_mask_holds_during_the_whole_descent():
    mask = torch.zeros(1, 1, 4, 5, dtype=torch.bool)
    mask[..., 1:3] = True
    found = descend(constraint=Within(Linf(0.1), mask))
    outside = ~mask.expand_as(found.x)
    assert torch.equal(found.x[outside], ORIGIN[outside])


def test_the_same_seed_gives_the_same_bytes():
    assert torch.equal(descend(steps=3).x, descend(steps=3).x)


def test_a_loss_that_is_listed_twice_is_scored_once_and_weighs_twice():
    calls = []

    def other(x, generator):
        calls.append(generator)
        return (x * OTHER).flatten(1).sum(1)

    found = score([linear_loss, other, other], ORIGIN)
    assert len(calls) == 1
    wanted = (linear_loss(ORIGIN, None) + 2 * (ORIGIN * OTHER).flatten(1).sum(1)) / 3
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_best_image_is_kept_not_the_last():
    def valley(x, generator):
        return ((x - 0.52) ** 2).flatten(1).sum(1)

    found = descend((valley,), schedule="constant", step_size=0.09, steps=9)
    assert torch.allclose(found.losses, valley(found.x, None))
    last_ones = [
        descend((valley,), schedule="constant", step_size=0.09, steps=n).losses
        for n in range(1, 10)
    ]
    assert (found.losses <= torch.stack(last_ones).min(0).values + 1e-6).all()


def test_a_lucky_draw_does_not_win():
    def noisy(x, generator):
        luck = torch.randn(len(x), generator=generator) * 100
        return ((x - 0.45) ** 2).flatten(1).sum(1) + luck

    found = descend((noisy,), random=True, step_size=0.01, steps=30)
    assert (found.x - 0.45).abs().mean() < 0.01


def test_losses_are_taken_in_turn():
    asked: list[int] = []

    def asking(number):
        def loss(x, generator):
            if x.requires_grad:
                asked.append(number)
            return linear_loss(x, generator)

        return loss

    found = descend([asking(0), asking(1), asking(2)], draws=1, steps=5)
    assert asked == [0, 1, 2, 0, 1]
    assert found.passes == 5
    costs = [1, 10, 100]
    assert descend([asking(0), asking(1), asking(2)], costs=costs, draws=1, steps=5).passes == 122


def other_loss(x, generator):
    return 1000 * (x * OTHER).flatten(1).sum(1)


@pytest.mark.parametrize(
    ("constraint", "step_size"), [(BALL, 0.05), (L2(0.3), 0.2)], ids=["linf", "l2"]
)
def test_losses_of_different_units_weigh_the_same(constraint, step_size):
    found = descend(
        [linear_loss, other_loss], constraint, groups=["small", "large"], step_size=step_size
    )
    together = WEIGHT / WEIGHT.abs().mean() + OTHER / OTHER.abs().mean()
    best = ORIGIN + constraint.radius * constraint.direction(together.expand_as(ORIGIN), ORIGIN)
    torch.testing.assert_close(found.x, constraint.project(best, ORIGIN), atol=1e-3, rtol=0)
    # Where they are reported, they are what they are.
    expected = (linear_loss(found.x, None) + other_loss(found.x, None)) / 2
    torch.testing.assert_close(found.losses, expected)


@pytest.mark.parametrize(
    "options", [{}, {"draws": 1}, {"random": True}, {"momentum": 0.9}, {"adaptivity": 0.7}]
)
def test_the_unit_of_a_group_does_not_matter(options):
    def valley(x, generator):
        return ((x - 0.45) ** 2).flatten(1).sum(1)

    def huge(x, generator):
        return 2**20 * valley(x, generator)

    near = [linear_loss, linear_loss, valley, valley]
    far = [linear_loss, linear_loss, huge, huge]
    groups = [0, 0, 1, 1]
    found, same = (descend(losses, groups=groups, steps=9, **options) for losses in (near, far))
    assert torch.equal(found.x, same.x)


@pytest.mark.parametrize("draws", [None, 1])
def test_one_group_is_none(draws):
    def valley(x, generator):
        return ((x - 0.45) ** 2).flatten(1).sum(1)

    losses = [linear_loss, valley]
    plain = descend(losses, steps=9, draws=draws)
    grouped = descend(losses, steps=9, draws=draws, groups=["a", "a"])
    assert torch.equal(plain.x, grouped.x)
    assert torch.equal(plain.losses, grouped.losses)


def test_every_step_asks_every_group_in_turn():
    asked: list[str] = []

    def asking(name):
        def loss(x, generator):
            if x.requires_grad:
                asked.append(name)
            return linear_loss(x, generator)

        return loss

    found = descend([asking(n) for n in ("a1", "a2", "b")], groups="aab", draws=1, steps=3)
    assert asked == ["a1", "b", "a2", "b", "a1", "b"]
    assert found.passes == 6


def test_a_group_that_ignores_the_photo_is_an_error():
    def ignoring(x, generator):
        return (x * 0).flatten(1).sum(1)

    with pytest.raises(GradientError, match="zero everywhere at step 0"):
        descend([linear_loss, ignoring], groups=[0, 1])


def test_an_interruption_keeps_the_best_so_far():
    def stop(step):
        if step.index == 2:
            raise KeyboardInterrupt

    found = descend(callback=stop)
    assert found.stopped == "interrupted"
    assert found.steps == 3
    assert (Linf(0.1).size(found.x, ORIGIN) <= 1 + 1e-6).all()
    assert (found.losses < linear_loss(ORIGIN, None)).all()


def test_an_interruption_before_the_first_step_has_no_result():
    def at_once(x, generator):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        descend((at_once,))


def test_a_plateau_ends_it():
    found = descend(patience=5, steps=500, step_size=0.5)
    assert found.stopped == "plateau"
    assert found.steps < 50


def test_a_plateau_is_none_before_progress_can_be_told():
    def alternating(weight):
        return lambda x, generator: (x * weight).flatten(1).sum(1)

    losses = [alternating(WEIGHT) for _ in range(8)]
    found = descend(losses, draws=1, patience=5, steps=16, step_size=0.01)
    assert (found.stopped, found.steps) == ("done", 16)


def test_a_loss_must_give_one_number_per_image():
    with pytest.raises(LossShapeError, match=r"gave shape \(\), expected one number per image"):
        descend((lambda x, generator: x.sum(),))


def test_a_gradient_that_is_not_finite_is_an_error():
    with pytest.raises(GradientError, match="not finite at step 0"):
        descend((lambda x, generator: (x * torch.inf).flatten(1).sum(1),))


def test_a_loss_that_ignores_the_photo_is_an_error():
    with pytest.raises(GradientError, match="zero everywhere at step 0"):
        descend((lambda x, generator: (x * 0).flatten(1).sum(1),))


def test_takes_the_steps_that_fit_in_a_time(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("photovax.attack.optimise.time.perf_counter", lambda: now[0])
    sizes: list[float] = []

    def slow(x, generator):
        now[0] += 2.0
        return linear_loss(x, generator)

    found = descend([slow], seconds=11.0, callback=lambda step: sizes.append(step.step_size))
    assert found.steps == 4  # and the scoring of the last image takes as long as a step here
    assert now[0] <= 111.0
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.5 * sizes[0]
    assert descend([slow], seconds=0.5).steps == 1
