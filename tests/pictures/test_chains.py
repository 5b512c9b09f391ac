"""Named chains: every figure has a source, and attack and adversary do the same."""

import numpy as np
import pytest
import torch
from torch import Generator

from photovax.adversary.purify import load_purifier
from photovax.errors import UnknownName
from photovax.models.views import VIEWS
from photovax.pictures.chains import CHAINS, chain_named
from photovax.registry import Part
from photovax.tensors import pixels_of, tensor


@pytest.fixture(scope="module")
def wide() -> np.ndarray:
    """A strip that is longer than any chain lets through."""
    rows, columns = np.mgrid[:60, :2200]
    waves = 120 + 60 * np.sin(rows / 7) * np.cos(columns / 11) + 40 * np.sin(columns / 90)
    return np.dstack([waves, waves[::-1], waves[:, ::-1]]).astype(np.uint8)


@pytest.mark.parametrize("name", list(CHAINS))
def test_every_figure_has_a_source(name):
    chain = CHAINS[name]
    assert chain.sources
    assert all(source.startswith("https://") for source in chain.sources)
    assert chain.basis in ("code", "reported")
    assert chain.label


@pytest.mark.parametrize("name", list(CHAINS))
def test_a_recipe_sees_what_the_adversary_gets(name, wide):
    view = VIEWS.create(Part("shared", {"chain": name}))
    seen = pixels_of(view(tensor(wide), Generator()))
    got = load_purifier(name)(wide, 0)
    most = min(step.options["width"] for step in chain_named(name).steps if "width" in step.options)
    assert seen.shape == got.shape
    assert seen.shape[1] == most
    # Pillow rounds to 8 bits after the first axis, and JPEG makes a little more of that.
    off = np.abs(seen.astype(int) - got)
    assert off.mean() < 1.5
    assert np.quantile(off, 0.99) <= 10
    # Frequencies that the chain removes do not count as seen.
    assert view.fed_side(2000) >= min(seen.shape[:2])
    images = tensor(wide[:, :300]).requires_grad_()
    (gradient,) = torch.autograd.grad(view(images, Generator()).sum(), images)
    assert gradient.any()


def test_a_chain_does_what_came_before_it():
    whole, first = CHAINS["whatsapp-instagram-screenshot"], CHAINS["whatsapp"]
    assert whole.label == "WhatsApp, then Instagram, then a screenshot on a phone"
    assert whole.steps[: len(first.steps)] == first.steps
    assert set(first.sources) < set(whole.sources)


def test_a_portrait_fills_the_height_of_a_screen_and_a_landscape_its_width():
    step = CHAINS["telegram-screenshot"].steps[-1]
    fit = VIEWS.create(step)
    for sides, shown in (((2400, 1200), (1920, 960)), ((600, 2160), (300, 1080)), ((9, 9), (9, 9))):
        meta = torch.empty(1, 3, *sides, device="meta")
        assert fit(meta, Generator()).shape[-2:] == shown
    assert fit.fed_side(3000) == 1080


def test_an_unknown_chain_says_what_is_near():
    with pytest.raises(UnknownName, match="no chain named 'telegramm'; did you mean 'telegram'"):
        VIEWS.create(Part("shared", {"chain": "telegramm"}))
    with pytest.raises(UnknownName, match="did you mean 'signal'"):
        chain_named("signl")
