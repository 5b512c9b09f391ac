import os
import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from photovax.attack.budgets import BUDGETS, L2, Constraint, Linf, Perceptual, Within
from photovax.attack.budgets.contract import TOLERANCE
from photovax.attack.rounding import round_within
from photovax.errors import BudgetExceeded, UnknownName, UsageError
from photovax.registry import Part


def origin(count: int = 3, height: int = 5, width: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator).float() / 255


def every_constraint() -> list[Constraint]:
    mask = torch.zeros(1, 1, 5, 7, dtype=torch.bool)
    mask[..., :3] = True
    plain: list[Constraint] = [
        *(Linf(8 / 255), Linf(7.65 / 255), L2(0.3)),
        *(Perceptual(2, 16), Perceptual(2, 16, power=2)),
        Perceptual(2, 16).fitted(5, 7, 3),  # changes are found on a grid of 4 x 6
    ]
    return plain + [each.within(mask) for each in plain]


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_a_random_change_in_a_mask_has_the_whole_length(share):
    gray = torch.full((2, 3, 40, 50), 0.5)
    mask = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(4)) < share
    ball = L2(0.7).within(mask)
    x = ball.sample(gray, torch.Generator().manual_seed(5))
    assert ball.size(x, gray) == pytest.approx([1, 1], rel=1e-5)
    assert torch.equal(x.where(~mask, gray), gray)


MEASURE = """
import torch
from photovax.attack.budgets import Perceptual
from photovax.machine.memory import peak_resident_bytes

side = 1200
origin, grad = torch.rand(1, 3, side, side), torch.randn(1, 3, side, side)
x, small = origin + 0.05, torch.rand(1, 3, 64, 64)
budget = Perceptual(0.73, 24)
budget.direction(small, small)  # so that libraries are loaded
before = peak_resident_bytes()
budget.project(x, origin)
budget.direction(grad, origin)
print((peak_resident_bytes() - before) / origin.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="uses an option of glibc")
def test_the_copies_of_a_budget_are_counted():
    """PyTorch's memory is the system's, so a process of its own is measured."""
    # Freed blocks go back at once, so that the peak is what is held.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MEASURE]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    held, of_a_ball = float(told.stdout), 1
    assert held <= Perceptual.copies_at_work + of_a_ball < held + 1


@pytest.mark.parametrize("constraint", every_constraint(), ids=repr)
class TestContract:
    def test_projection_is_inside_and_stays_there(self, constraint):
        far = origin() + torch.randn(3, 3, 5, 7, generator=torch.Generator().manual_seed(0))
        inside = constraint.project(far, origin())
        assert (constraint.size(inside, origin()) <= 1 + 1e-5).all()
        assert inside.min() >= 0
        assert inside.max() <= 1
        torch.testing.assert_close(constraint.project(inside, origin()), inside)

    def test_contains_the_original(self, constraint):
        assert torch.equal(constraint.project(origin(), origin()), origin())

    def test_samples_are_inside_and_repeatable(self, constraint):
        drawn = [constraint.sample(origin(), torch.Generator().manual_seed(4)) for _ in range(2)]
        assert torch.equal(*drawn)
        assert (constraint.size(drawn[0], origin()) <= 1 + 1e-5).all()
        assert not torch.equal(drawn[0], origin())

    def test_rounding_stays_inside(self, constraint):
        noise = torch.randn(3, 3, 5, 7, generator=torch.Generator().manual_seed(0))
        x = constraint.project(origin() + 0.5 * noise, origin())
        levels = round_within(x, origin(), constraint)
        assert levels.dtype == torch.uint8
        assert (constraint.size(levels / 255, origin()) <= 1 + 1e-4).all()
        assert not torch.equal(levels, (origin() * 255).to(torch.uint8))


@pytest.mark.parametrize("constraint", every_constraint(), ids=repr)
def test_the_bound_holds_for_what_is_spent(constraint):
    x = constraint.sample(origin(1), torch.Generator().manual_seed(3))
    before, after = (
        picture[0].permute(1, 2, 0).numpy()
        for picture in (
            (origin(1) * 255).round().to(torch.uint8),
            round_within(x, origin(1), constraint),
        )
    )
    assert 0 < constraint.spent(before, after) <= constraint.most + 1e-3
    assert constraint.unit == {"linf": "levels", "l2": "length"}[constraint.norm]
    assert constraint.spent(before, before) == 0


@pytest.mark.parametrize(
    ("part", "most"),
    [
        (Part("linf", {"radius": 8 / 255}), 8),
        (Part("l2", {"radius": 3}), 3),
        (Part("perceptual", {"radius": 1, "levels": 12}), 12),
    ],
)
def test_another_bound_is_a_matter_of_options(part, most):
    constraint = BUDGETS.create(part)
    assert constraint.most == pytest.approx(most)
    narrower = BUDGETS.create(Part(part.name, {**part.options, **constraint.bounding(most / 2)}))
    assert narrower.most == pytest.approx(most / 2)


def test_a_mask_leaves_the_outside_bit_equal():
    mask = torch.zeros(1, 1, 5, 7, dtype=torch.bool)
    mask[..., 2:4, 2:5] = True
    x = torch.rand(3, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    moved = Within(Linf(0.5), mask).project(x, origin())
    outside = ~mask.expand_as(moved)
    assert torch.equal(moved[outside], origin()[outside])
    assert not torch.equal(moved, origin())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(0.6, 40))
def test_rounding_uses_what_a_linf_budget_allows(levels):
    assume(not 0.999 < levels < 1)  # within what float noise may add, which is allowed
    start = torch.full((1, 3, 4, 4), 128 / 255)
    x = Linf(levels / 255).project(start + 1, start)
    if levels < 1:  # nearest rounding overshoots, and what is shrunk to fit rounds to nothing
        with pytest.raises(BudgetExceeded, match="nothing of the change is left in 8 bits"):
            round_within(x, start, Linf(levels / 255))
        return
    change = round_within(x, start, Linf(levels / 255)).int() - 128
    assert levels - 1.4 <= change.max() <= levels * (1 + TOLERANCE) + 1e-3


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownName, match=r"no budget named 'linff'; did you mean 'linf'\?"):
        BUDGETS.create(Part("linff", {"radius": 1}))


def test_wrong_options_are_named():
    with pytest.raises(UsageError, match=r"budget 'linf' does not take these options.*radios"):
        BUDGETS.create(Part("linf", {"radios": 1}))


def test_a_size_that_is_no_number_is_over_the_budget():
    start = torch.full((1, 3, 4, 4), 0.5)
    with pytest.raises(BudgetExceeded):
        round_within(start + float("nan"), start, Linf(8 / 255))
