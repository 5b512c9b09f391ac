"""Quick passes: taken only where their gradients point as the exact ones do."""

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator

from photovax.attack.budgets import Linf
from photovax.attack.optimise import Steps, pgd
from photovax.attack.presets import PRESETS
from photovax.errors import UsageError
from photovax.immunizer import Immunizer
from photovax.machine.precision import quick_passes
from photovax.machine.random import draw_noise
from photovax.models.autoencoders.tiny import TinyAutoencoder
from photovax.models.load import load_autoencoder
from photovax.models.precision import quick_passes_of
from photovax.pictures.photo import read_photo

CPU = torch.device("cpu")
ORIGIN = torch.full((2, 3, 4, 5), 0.5)
WEIGHT = torch.randn(1, 3, 4, 5, generator=Generator().manual_seed(0))
OTHER = torch.randn(1, 3, 4, 5, generator=Generator().manual_seed(1))


class Passes:
    """A linear loss whose gradient differs inside a context; it counts its gradients by kind."""

    def __init__(self, quick_weight, *, noise=0.0):
        self.quick_weight, self.noise = quick_weight, noise
        self.inside = False
        self.kinds: list[str] = []

    @contextmanager
    def quick(self):
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    def loss(self, x, generator):
        if x.requires_grad:
            self.kinds.append("quick" if self.inside else "exact")
        weight = self.quick_weight(len(self.kinds)) if self.inside else WEIGHT
        drawn = self.noise * draw_noise(WEIGHT.shape, x, generator)
        return (x * (weight + drawn)).flatten(1).sum(1)

    def descend(self, *, quick=True, steps=40):
        return pgd(
            [self.loss],
            ORIGIN,
            Linf(0.1),
            Steps(steps, 0.02, random=self.noise > 0),
            generator=Generator().manual_seed(0),
            quick=self.quick if quick else None,
        )


def test_quick_gradients_are_taken_while_they_point_as_exact_ones_do():
    passes = Passes(lambda count: WEIGHT + 0.02 * OTHER)
    found = passes.descend()
    assert found.quick_steps == 37
    # Compared at the first step and after every fifteen quick ones.
    compared = ["exact", "quick"]
    assert passes.kinds == (compared + 15 * ["quick"]) * 2 + compared + 7 * ["quick"]
    torch.testing.assert_close(found.x, (ORIGIN - 0.1 * WEIGHT.sign()).expand_as(found.x))
    # What it ends with is scored exactly.
    torch.testing.assert_close(found.losses, (found.x * WEIGHT).flatten(1).sum(1))
    assert found.passes == 40


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize(
    "wrong",
    [OTHER, WEIGHT + 0.5 * OTHER, torch.nan * WEIGHT, 0 * WEIGHT],
    ids=["elsewhere", "a little off", "not finite", "nothing"],
)
def test_quick_gradients_that_point_elsewhere_change_nothing(wrong, noise):
    passes = Passes(lambda count: wrong, noise=noise)
    found = passes.descend()
    plain = Passes(lambda count: wrong, noise=noise).descend(quick=False)
    assert found.quick_steps == 0
    assert torch.equal(found.x, plain.x)
    assert torch.equal(found.losses, plain.losses)
    assert passes.kinds.count("quick") == 7  # at steps 0, 1, 2, 4, 8, 16 and 32


def test_quick_gradients_are_given_up_and_taken_up_again():
    passes = Passes(lambda count: OTHER if 17 < count < 25 else WEIGHT)
    found = passes.descend(steps=60)
    # Steps 1 to 15 quick; compared in vain at 16, and again at 32 and 48.
    assert found.quick_steps == 15 + 15 + 11


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_quick_gradient_that_is_not_finite_is_taken_exactly(noise):
    # The tenth gradient is of step 8; a quick one that comes later is compared at step 16.
    passes = Passes(lambda count: torch.nan * WEIGHT if count == 10 else WEIGHT, noise=noise)
    found = passes.descend(steps=20)
    assert passes.kinds[9:11] == ["quick", "exact"]
    assert found.quick_steps == 7 + 3
    plain = Passes(lambda count: WEIGHT, noise=noise).descend(quick=False, steps=20)
    assert torch.equal(found.x, plain.x)


def test_both_are_compared_on_the_same_draws():
    passes = Passes(lambda count: WEIGHT, noise=5.0)
    assert passes.descend().quick_steps == 37


@pytest.mark.parametrize(("off", "as_quick"), [(0.02, True), (0.3, True), (0.5, False)])
def test_a_single_candidate_is_scored_as_the_last_step_was_taken(off, as_quick):
    weight = WEIGHT + off * OTHER
    passes = Passes(lambda count: weight)
    # Of losses used in turn, two steps are too few to find a best image so far.
    found = pgd(
        [passes.loss] * 3, ORIGIN, Linf(0.1), Steps(2, 0.02, draws=1),
        generator=Generator().manual_seed(0), quick=passes.quick,
    )  # fmt: skip
    assert found.quick_steps == as_quick
    scored = weight if as_quick else WEIGHT
    torch.testing.assert_close(found.losses, (found.x * scored).flatten(1).sum(1))


@pytest.mark.parametrize("found", [{}, {"avx512_bf16": False}, {"amx_bf16": True}])
def test_auto_is_bfloat16_where_the_machine_has_it(found, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert (quick_passes("auto", CPU) is not None) == any(found.values())
    assert quick_passes("float32", CPU) is None
    asked = quick_passes("bfloat16", CPU)
    assert asked is not None
    with asked():
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.bfloat16


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="one of auto, bfloat16, float32, got 'float16'"):
        Immunizer(device="cpu", precision="float16")  # type: ignore[arg-type]


def test_latents_and_pictures_keep_their_type_in_bfloat16():
    model = load_autoencoder("embedded", device=CPU)
    images = torch.rand(1, 3, 64, 64, generator=Generator().manual_seed(0))
    exact = model.encode(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        latents = model.encode(images)
        decoded = model.decode(latents)
    assert latents.dtype == decoded.dtype == torch.float32
    assert 0 < (latents - exact).abs().mean() < 0.02


@pytest.mark.parametrize("name", ["fast", "fast-grey"])
def test_a_photo_is_as_immune_from_bfloat16(name, photo_file, tmp_path):
    recipe = replace(PRESETS[name], size=128, steps=18, warm=None)
    losses = {}
    for precision, steps in (("bfloat16", range(10, 17)), ("float32", range(1))):
        immunizer = Immunizer(device="cpu", precision=precision)  # type: ignore[arg-type]
        result = immunizer.immunize(read_photo(photo_file), recipe)
        saved = immunizer.save(result, tmp_path / f"{precision}.png")
        losses[precision] = result.loss
        assert json.loads(saved.record.read_text())["bfloat16_steps"] in steps
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize(
    ("model", "instructions", "quick"),
    [
        ("tiny", {"avx512_bf16": True}, False),
        ("tiny", {"avx512_bf16": True, "amx_bf16": True}, True),
        ("embedded", {"avx512_bf16": True}, True),
        ("embedded", {}, False),
    ],
)
def test_tiny_autoencoders_need_matrix_instructions(
    monkeypatch: pytest.MonkeyPatch, model: str, instructions: dict[str, bool], quick: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    models: list[Any] = [object.__new__(TinyAutoencoder)] if model == "tiny" else [object()]
    assert (quick_passes_of(models, "auto", CPU) is not None) == quick
    assert quick_passes_of(models, "bfloat16", CPU) is not None
    assert quick_passes_of(models, "float32", CPU) is None
