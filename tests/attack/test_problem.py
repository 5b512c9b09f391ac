"""One photo to immunize: which pixels may change, and what an editor may repaint of it."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from photovax.attack.budgets import Perceptual
from photovax.attack.objectives import OBJECTIVES, EditDrift
from photovax.attack.presets import PRESETS
from photovax.attack.problem import Problem
from photovax.attack.recipe import Recipe
from photovax.attack.scene import Scene, drawn_loss
from photovax.errors import UsageError
from photovax.immunizer import Immunizer
from photovax.machine.memory import LIBRARIES, resident_bytes
from photovax.machine.plan import Copies, MemoryPlan
from photovax.models.edit import Edit
from photovax.models.load import load_editor
from photovax.pictures.masks import repainted
from photovax.pictures.photo import Metadata, Photo
from photovax.registry import Part

CPU = torch.device("cpu")
EVERY = ("subject", "dilated", "box", "inverse")
PAINT = replace(
    PRESETS["photoguard-inpaint"],
    objective=Part("latent_drift"),
    steps=8,
    step_size=4 / 255,
    size=64,
    masks=EVERY,
)


def photo(alpha: np.ndarray | None = None) -> Photo:
    random = np.random.default_rng(0)
    pixels = random.integers(40, 216, (64, 80, 3), dtype=np.uint8)
    return Photo(pixels, alpha, Metadata(), "PNG", ())


def corner() -> np.ndarray:
    """An L, whose bounding box holds more than itself."""
    mask = np.zeros((64, 80), dtype=bool)
    mask[10:50, 20:32] = mask[38:50, 20:60] = True
    return mask


Make = Callable[..., Problem]


@pytest.fixture
def problem(immunizer: Immunizer) -> Make:
    def make(recipe: Recipe, mask: np.ndarray, given: Photo | None = None) -> Problem:
        return Problem(given or photo(), recipe, mask, immunizer.models, CPU)

    return make


def test_the_plan_counts_what_the_budget_holds(problem):
    everywhere = np.ones((64, 80), dtype=bool)
    plain, seen = (
        problem(replace(PRESETS[name], size=64), everywhere)._copies(compared=False)
        for name in ("fast-linf", "fast")
    )
    assert (plain.budget, seen.budget) == (0, Perceptual.copies_at_work)
    momentum = (PRESETS["fast"].momentum > 0) - (PRESETS["fast-linf"].momentum > 0)
    assert seen.during - plain.during == Perceptual.copies_kept + momentum


def test_a_limit_is_refused_for_what_the_budget_holds():
    """On a large photo and a small model, the budget's work takes more than a pass."""
    held = resident_bytes() + LIBRARIES
    limit = held + 100 * 2**20
    for budget in (0, 7):
        plan = MemoryPlan(limit)
        copies = Copies(working=2**24, whole=2**24, during=1, budget=budget)
        with pytest.raises(UsageError, match="too little") if budget else nullcontext():
            plan.fit("m", copies, name="m", sides=(8, 8), probe=lambda: 1.0, recompute=lambda: None)


@pytest.mark.parametrize(("left", "again"), [(2**30, 0), (2**20, 1), (None, 0)])
def test_models_recompute_where_a_device_has_little_memory_left(left, again):
    calls: list[str] = []
    plan = MemoryPlan(None, left=lambda: None if left is None else left + LIBRARIES)
    copies = Copies(working=0, whole=0, during=1)
    for _ in range(2):
        plan.fit(
            "m",
            copies,
            name="m",
            sides=(64, 64),
            probe=lambda: 100.0 if calls else 1000.0,
            recompute=lambda: calls.append("again"),
        )
    assert len(calls) == again


def test_what_libraries_load_first_is_no_memory_of_a_gpu(monkeypatch):
    """Memory that is left on another device does not shrink by what this process holds."""
    held = 10 * 2**20
    monkeypatch.setattr("photovax.machine.plan.resident_bytes", lambda: held)
    plan = MemoryPlan(None, left=lambda: LIBRARIES + 2**20)

    def probe() -> float:
        nonlocal held
        held += 900 * 2**20
        return 100.0

    def recompute() -> None:
        raise AssertionError("there is enough memory")

    copies = Copies(working=0, whole=0, during=1)
    plan.fit("m", copies, name="m", sides=(64, 64), probe=probe, recompute=recompute)


def test_one_pass_keeps_a_limit_of_memory_too():
    """It needs less than a descent, and is refused where that is not there."""
    many = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    held = resident_bytes() + LIBRARIES
    immunizer = Immunizer(memory=held // 2, device="cpu")
    for recipe in ("instant", "fast"):
        with pytest.raises(UsageError, match="of memory are too little"):
            immunizer.immunize(Photo.from_array(many), PRESETS[recipe])
    roomy = Immunizer(memory=4 * held, device="cpu")
    roomy.immunize(Photo.from_array(many), PRESETS["instant"])


def test_a_prompt_is_encoded_before_memory_is_measured(folders):
    """Text encoders are loaded for it and then freed; a step does without."""
    editor = load_editor(str(folders["kontext"]), device=CPU)
    objective = EditDrift(Edit("instruct", prompt="go dog", steps=1, guidance=1))
    origin = torch.rand(1, 3, 64, 64, generator=Generator().manual_seed(0))
    scene = Scene(origin, torch.ones_like(origin[:, :1]) > 0, None, False)

    def measured() -> float:
        return scene.bytes_per_pixel(editor, editor.autoencoder, objective, gradient=True)

    first, second = measured(), measured()
    assert first == pytest.approx(second, rel=0.05)


def test_a_view_without_a_pixel_that_may_change_counts_nothing(problem):
    """As tiles that leave out a few rows at the top, where those alone may change."""
    mask = np.zeros((64, 80), dtype=bool)
    mask[:3, :3] = True
    tiles = (Part("tiles", {"side": 32, "halo": 8, "down": 4}),)
    recipe = replace(PRESETS["fast-linf"], views=tiles, size=64)
    found = problem(recipe, mask)
    objective = OBJECTIVES.create(recipe.objective)
    (loss,) = found.losses(found._models, objective)
    assert loss.loss(found.scene.origin, Generator()).tolist() == [0]


def regions(found: Problem) -> list[np.ndarray]:
    return [scene.repaint[0, 0].numpy() for scene in found.scenes if scene.repaint is not None]


def test_an_editor_may_repaint_each_of_the_masks(problem):
    mask = corner()
    found = problem(PAINT, mask)
    for region, name in zip(regions(found), EVERY, strict=True):
        assert np.array_equal(region, repainted(mask, name)), name
    assert len({region.tobytes() for region in regions(found)}) == 4


@pytest.mark.parametrize(
    ("masks", "allowed"),
    [
        (("subject",), "subject"),
        (("subject", "dilated"), "subject"),
        (("dilated",), "dilated"),
        (("subject", "box"), "box"),
    ],
)
def test_a_pixel_may_change_where_a_mask_keeps_it(problem, masks, allowed):
    mask = corner()
    found = problem(replace(PAINT, masks=masks), mask)
    assert np.array_equal(found.allowed, ~repainted(mask, allowed))
    assert problem(PAINT, mask).allowed.all()  # the inverse keeps the rest


def test_transparent_pixels_are_never_kept(problem):
    alpha = np.full((64, 80), 255, dtype=np.uint8)
    alpha[:, 40:] = 0
    found = problem(PAINT, corner(), photo(alpha))
    assert not found.allowed[:, 40:].any()
    assert all(region[:, 40:].all() for region in regions(found))


def test_masks_that_keep_nothing_or_the_same_are_left_out(problem):
    whole = np.ones((64, 80), dtype=bool)
    assert len(problem(PAINT, whole).scenes) == 1  # nothing to dilate, and no inverse
    dot = np.zeros((64, 80), dtype=bool)
    dot[30, 40] = True
    assert len(problem(PAINT, dot).scenes) == 2  # the dot and its inverse


def test_masks_of_a_recipe_that_sees_no_mask_are_refused(problem):
    with pytest.raises(UsageError, match="it takes no masks, got subject, box"):
        problem(replace(PRESETS["fast"], masks=("subject", "box")), corner())


def test_one_loss_is_drawn_at_each_call_and_the_same_for_the_same_seed():
    def constant(value: float):
        def loss(images: Tensor, generator: Generator) -> Tensor:
            return images.new_full((len(images),), value)

        return loss

    losses = [constant(float(value)) for value in range(4)]
    assert drawn_loss(losses[:1]) is losses[0]
    drawn, images = drawn_loss(losses), torch.zeros(2, 3, 8, 8)

    def draws(seed: int) -> list[float]:
        generator = Generator().manual_seed(seed)
        return [drawn(images, generator)[0].item() for _ in range(40)]

    assert set(draws(0)) == {0, 1, 2, 3}
    assert draws(0) == draws(0) != draws(1)


def test_the_change_reaches_what_an_unexpected_mask_keeps(immunizer):
    mask, given = corner(), photo()
    expected = immunizer.immunize(given, replace(PAINT, masks=("subject",)), mask=mask)
    assert (expected.photo.pixels == given.pixels)[~mask].all()
    result = immunizer.immunize(given, PAINT, mask=mask)
    assert result.allowed.all()
    changed = (result.photo.pixels != given.pixels).any(axis=2)
    assert changed[mask].mean() > 0.5
    assert changed[~mask].mean() > 0.5


def test_a_mask_that_marks_next_to_nothing_is_refused(problem: Make) -> None:
    large = Photo(np.full((900, 1200, 3), 128, np.uint8), None, Metadata(), "PNG", ())
    mask = np.zeros((900, 1200), dtype=bool)
    mask[400, 600] = True
    recipe = replace(PRESETS["fast"], size=64)
    with pytest.raises(UsageError, match="marks too little: nothing of it is left at"):
        problem(recipe, mask, large)
    with pytest.raises(UsageError, match="the mask marks nothing"):
        problem(recipe, np.zeros_like(mask), large)


def test_a_region_that_no_model_is_fed_is_left_out(problem: Make) -> None:
    pixels = np.random.default_rng(0).integers(40, 216, (400, 500, 3), dtype=np.uint8)
    large = Photo(pixels, None, Metadata(), "PNG", ())
    mask = np.ones((400, 500), dtype=bool)
    mask[200] = False
    both = replace(PAINT, masks=("subject", "inverse"))
    (scene,) = problem(both, mask, large).scenes
    assert scene.repaint is not None
    assert np.array_equal(scene.repaint[0, 0].numpy(), repainted(mask, "subject"))
    with pytest.raises(UsageError, match=r"marks too little: .* at which models are fed"):
        problem(replace(PAINT, masks=("subject",)), ~mask, large)
    tiles = (Part("tiles", {"side": 64, "halo": 8}),)
    assert len(problem(replace(both, views=tiles), mask, large).scenes) == 2
