"""Objectives on attention: closed forms, gradients that reach the photo, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator

from photovax.attack.objectives import (
    OBJECTIVES,
    AttentionDecoy,
    AttentionDrift,
    ContextAttention,
)
from photovax.attack.presets import PRESETS
from photovax.attack.recipe import Recipe
from photovax.errors import ModelError, UsageError
from photovax.immunizer import Immunizer
from photovax.machine.precision import quick_passes
from photovax.models.attention import Attention
from photovax.models.context import Context, Words
from photovax.models.load import load_editor
from photovax.pictures.photo import read_photo
from photovax.registry import Part

CPU = torch.device("cpu")


@pytest.fixture
def image():
    return torch.rand(1, 3, 32, 48, generator=Generator().manual_seed(0))


@pytest.fixture
def repaint():
    mask = torch.zeros(1, 1, 32, 48, dtype=torch.bool)
    mask[..., :16, :] = True
    return mask


def case(name, folders, editor_folder):
    """An objective and a model that it attacks."""
    folder = folders["kontext"] if name == "context_attention" else editor_folder
    return OBJECTIVES.create(Part(name)), load_editor(str(folder), device=CPU)


def test_an_instruction_may_change_all_places_whatever_the_mask(editor_folder, image, repaint):
    model = load_editor(str(editor_folder), device=CPU)
    losses = {}
    for mode in ("instruct", "inpaint"):
        decoy = AttentionDecoy(mode=mode)
        for name, region in (("none", None), ("half", repaint), ("all", repaint | True)):
            if mode == "instruct" or region is not None:
                loss = decoy.bind(model, image, region)
                losses[mode, name] = loss(image, Generator().manual_seed(3)).item()
    assert losses["instruct", "half"] == losses["instruct", "none"] == losses["instruct", "all"]
    assert losses["inpaint", "half"] < losses["inpaint", "all"]


NAMES = ("context_attention", "attention_drift", "attention_decoy")


def gradient(loss, x, seed=3):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(loss(x, Generator().manual_seed(seed)).sum(), x)[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_finite_differences(
    name, folders, editor_folder, image, repaint, monkeypatch
):
    objective, model = case(name, folders, editor_folder)
    # Rotary embeddings would compute in float32.
    monkeypatch.setattr(torch.Tensor, "float", lambda each: each)
    model.autoencoder.model.double()
    if name == "context_attention":
        model.transformer.double()
    else:
        for part in (*model.unets.values(), *model.prompts.encoders.values()):
            part.double()
    origin = image.double()
    loss = objective.bind(model, origin, repaint)
    x = origin + 0.05 * torch.randn(origin.shape, generator=Generator().manual_seed(1))
    direction = torch.randn(x.shape, generator=Generator().manual_seed(2), dtype=x.dtype)
    found = gradient(loss, x)
    assert found.dtype == torch.float64
    step = 1e-5
    with torch.no_grad():
        above, below = (
            loss(x + sign * step * direction, Generator().manual_seed(3)).sum() for sign in (1, -1)
        )
    slope = (above - below) / (2 * step)
    assert slope.abs() > 1e-6
    torch.testing.assert_close((found * direction).sum(), slope, rtol=1e-5, atol=0)
    model.recompute()
    torch.testing.assert_close(gradient(loss, x), found, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_passes_in_low_precision_point_the_same_way(name, folders, editor_folder, image, repaint):
    objective, model = case(name, folders, editor_folder)
    loss = objective.bind(model, image, repaint)
    x = image + 0.1 * torch.randn(image.shape, generator=Generator().manual_seed(1))
    exact = gradient(loss, x)
    in_bfloat16 = quick_passes("bfloat16", CPU)
    assert in_bfloat16 is not None
    with in_bfloat16():
        quick = gradient(loss, x)
    assert F.cosine_similarity(exact.flatten(), quick.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_only_what_the_editor_is_shown_has_a_gradient(name, folders, editor_folder, image, repaint):
    objective, model = case(name, folders, editor_folder)
    x = image + 0.05
    found = gradient(objective.bind(model, image, repaint), x).abs().amax(1, keepdim=True)
    assert found[~repaint].max() > 0
    if name != "context_attention":
        assert found[repaint].max() == 0


class Shown:
    """A model whose attention is given."""

    name = "given"

    def __init__(self, *passes):
        self.passes = list(passes)
        self.levels = []

    def context(self, images, edit, generator, *, repaint=None):
        self.asked = edit
        return Context(Words(torch.zeros(1, 2, 2)), None, None)

    def attention(self, images, context, mode, levels, generator, *, start=0.0, end=1.0):
        self.levels.append(levels)
        return self.passes.pop(0)


def block(query, key, value=None, answer=None, **options):
    value = torch.zeros_like(key) if value is None else value
    answer = torch.zeros_like(query) if answer is None else answer
    return Attention("x", options.pop("cross", False), query, key, value, answer, **options)


def test_context_attention_is_the_mean_share_of_the_photos_tokens():
    # Equal scores: 3 of 8 tokens are the photo's.
    even = block(
        torch.zeros(1, 2, 8, 4), torch.rand(1, 2, 8, 4), pictures=(slice(2, 5), slice(5, 8))
    )
    # The first of two queries that count looks at the photo alone, the second away from it.
    far = torch.zeros(1, 1, 8, 4)
    far[0, 0, 2, 0], far[0, 0, 3, 0] = 100, -100
    keys = torch.zeros(1, 1, 8, 4)
    keys[0, 0, 5:, 0] = 10
    split = block(far, keys, pictures=(slice(2, 4), slice(5, 8)))
    model = Shown([even, split])
    loss = ContextAttention().bind(model, torch.rand(1, 3, 8, 8))  # type: ignore[arg-type]
    value = loss(torch.rand(1, 3, 8, 8), Generator().manual_seed(0))
    torch.testing.assert_close(value, torch.tensor([(3 / 8 + 1 / 2) / 2]))
    assert 0.98 <= model.levels[0].item() < 1


def test_drift_adds_lengths_of_what_depends_on_the_photo():
    zeros = torch.zeros(1, 1, 4, 1)
    clean = [block(zeros, zeros), block(zeros, zeros, cross=True)]
    ones = torch.ones_like(zeros)
    moved = [block(ones, 2 * ones, 3 * ones), block(4 * ones, ones, ones, cross=True)]
    model = Shown(clean, moved)
    loss = AttentionDrift().bind(model, torch.rand(1, 3, 8, 8))  # type: ignore[arg-type]
    # Four ones have the length 2; keys and values of cross-attention are the prompt's.
    assert loss(torch.rand(1, 3, 8, 8), Generator()).tolist() == [-(2 + 4 + 6 + 8)]


def test_drift_needs_self_attention():
    """Such as of UNets whose blocks attend to the prompt alone (``only_cross_attention``)."""
    cross = block(torch.zeros(1, 1, 4, 1), torch.zeros(1, 1, 2, 1), cross=True)
    loss = AttentionDrift().bind(Shown([cross], [cross]), torch.rand(1, 3, 2, 2))  # type: ignore[arg-type]
    says = "needs a UNet with self-attention.*; model given has cross-attention only$"
    with pytest.raises(UsageError, match=says):
        loss(torch.rand(1, 3, 2, 2), Generator())


def test_the_decoy_counts_repainted_places_below_the_full_resolution():
    value = torch.tensor([[[[5.0], [1.0]]]])
    answer = torch.tensor([[[[5.0], [2.0], [1.0], [5.0]]]])
    query, key = torch.zeros(1, 1, 4, 1), torch.zeros(1, 1, 2, 1)
    repaint = torch.tensor([[False, True], [True, True]])[None, None]
    low = block(query, key, value, answer, cross=True, grid=(2, 2), halved=1)
    full = block(query, key, value, answer, cross=True, grid=(2, 2))
    own = block(query, query, grid=(2, 2), halved=1)
    for mask, length in ((repaint, 5.0), (~repaint, 0.0), (None, 5.0)):
        model = Shown([low, full, own])
        loss = AttentionDecoy(level=0.75).bind(model, torch.rand(1, 3, 2, 2), mask)  # type: ignore[arg-type]
        assert loss(torch.rand(1, 3, 2, 2), Generator()).tolist() == [length]
        assert model.levels[0].item() == 0.75


def test_a_decoy_needs_attention_below_the_full_resolution():
    full = block(torch.zeros(1, 1, 4, 1), torch.zeros(1, 1, 2, 1), cross=True, grid=(2, 2))
    loss = AttentionDecoy().bind(Shown([full]), torch.rand(1, 3, 2, 2))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="model given has it at the full resolution only"):
        loss(torch.rand(1, 3, 2, 2), Generator())


def test_a_range_without_a_block_is_told_apart_from_a_model_without_tokens(folders, image):
    model = load_editor(str(folders["kontext"]), device=CPU)
    loss = ContextAttention(start=0.5, end=0.501).bind(model, image)
    says = "no attention block of model .*kontext from start 0.5 to end 0.501; widen them$"
    with pytest.raises(ModelError, match=says):
        loss(image, Generator())


def small(name: str) -> Recipe:
    recipe = PRESETS[name]
    return Recipe(
        **vars(recipe)
        | {"steps": 5, "step_size": 0.01, "views": (Part("short_side", {"pixels": 64}),)}
    )


@pytest.mark.parametrize(
    ("name", "model", "says"),
    [
        ("decontext", "embedded", "FLUX.1 Kontext; model embedded has no such attention"),
        ("decontext", "flux", "cannot instruct; it knows img2img"),
        ("advpaint", "fill", "of a UNet.*model fill has no cross-attention"),
        ("promptflare", "fill", "of a UNet.*model fill has no cross-attention"),
    ],
)
def test_models_without_such_attention_are_refused_in_one_line(
    name, model, says, folders, photo_file
):
    photo = read_photo(photo_file)
    mask = torch.zeros(photo.height, photo.width, dtype=torch.bool)
    mask[20:100, 30:120] = True
    immunizer = Immunizer([str(folders.get(model, model))], device="cpu")
    with pytest.raises(Exception, match=says) as caught:
        immunizer.immunize(photo, small(name), mask=mask.numpy())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["advpaint", "promptflare"])
def test_the_embedded_editors_loss_falls_and_it_is_left_as_it_was(name, photo_file):
    photo = read_photo(photo_file)
    mask = torch.zeros(photo.height, photo.width, dtype=torch.bool)
    mask[20:100, 30:120] = True
    immunizer = Immunizer(device="cpu")
    seen = []
    done = immunizer.immunize(
        photo, small(name), mask=mask.numpy(), callback=lambda step: seen.append(step.losses.item())
    )
    assert done.loss < seen[0] - 0.02 * abs(seen[0])
    (editor,) = immunizer._attacker._surrogates.attacked("denoiser")
    for network in editor.unets.values():  # type: ignore[union-attr]
        assert not [each for each in network.modules() if each._forward_pre_hooks]
    assert all((param.grad is None) for param in editor.denoiser("inpaint").parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["inpaint", "instruct"])
def test_sdxl_has_such_attention_too(mode, sdxl_folder, image, repaint):
    model = load_editor(str(sdxl_folder), device=CPU)
    for name in ("attention_drift", "attention_decoy"):
        objective = OBJECTIVES.create(Part(name, {"mode": mode}))
        found = gradient(objective.bind(model, image, repaint), image + 0.05)
        assert found.abs().max() > 0


@pytest.mark.parametrize("kind", ["kontext", "flux2", "klein", "qwen-edit"])
def test_a_photos_tokens_lose_attention(kind, folders, photo_file):
    photo = read_photo(photo_file)
    seen: list[float] = []
    done = Immunizer([str(folders[kind])], device="cpu").immunize(
        photo, small("decontext"), callback=lambda step: seen.append(step.losses.item())
    )
    assert 0 < done.loss < seen[0] < 1
