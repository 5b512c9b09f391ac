"""A photo as models are fed it."""

import pytest
import torch
from torch import Generator

from photovax.attack.scene import Scene
from photovax.models.views import VIEWS, Identity, Tiles
from photovax.pictures.compression import Compression
from photovax.registry import Part
from tests.models.views.test_contract import OPTIONS


def scene(compression: Compression | None = None) -> Scene:
    origin = torch.rand(1, 3, 48, 64, generator=Generator().manual_seed(0))
    return Scene(origin, torch.ones(1, 1, 48, 64, dtype=torch.bool), None, False, compression)


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_views_stay_in_float32_where_passes_are_in_bfloat16(name):
    view = VIEWS.create(Part(name, OPTIONS.get(name, {}))).fitted(40)
    given = scene()
    exact = given.through(view, given.origin, Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quick = given.through(view, given.origin, Generator().manual_seed(0))
    assert torch.equal(quick, exact)


def test_only_the_whole_photo_at_its_own_size_is_compressed():
    rough = scene(Compression("JPEG", 10))
    assert not torch.allclose(rough.saved(rough.origin), rough.origin, atol=0.05)
    assert rough.at(48, 64).compression == rough.compression
    small = rough.at(24, 32)
    assert torch.equal(small.saved(small.origin), small.origin)
    (window, *_) = Tiles(side=32, halo=4).windows(48, 64)
    cut = rough.cut(window)
    assert torch.equal(cut.saved(cut.origin), cut.origin)
    whole = rough.through(Identity(), rough.origin, Generator())
    assert torch.equal(whole, rough.origin)
