"""What every registered view must do."""

from typing import Any

import pytest
import torch
from torch import Generator

from photovax.models.views import VIEWS, View
from photovax.registry import Part

SIDES = ((64, 96), (97, 131), (41, 200), (7, 5), (1, 1))
OPTIONS: dict[str, dict[str, Any]] = {
    "chain": {"views": [{"name": "noise"}, {"name": "jpeg"}, {"name": "short_side"}]},
    "fit": {"width": 40, "height": 90},
    "shared": {"chain": "telegram"},
}


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("name", sorted(VIEWS))
class TestContract:
    def made(self, name: str) -> View:
        return VIEWS.create(Part(name, OPTIONS.get(name, {}))).fitted(80)

    def test_gives_pictures_with_gradients(self, name, sides):
        view = self.made(name)
        images = torch.rand(2, 3, *sides, generator=Generator().manual_seed(0))
        images.requires_grad_()
        seen = view(images, Generator().manual_seed(0))
        assert seen.shape[:2] == images.shape[:2]
        assert seen.min() >= 0
        assert seen.max() <= 1
        (gradient,) = torch.autograd.grad(seen.sum(), images)
        assert gradient.any()
        assert gradient.isfinite().all()

    def test_the_same_draw_gives_the_same_picture(self, name, sides):
        view = self.made(name)
        images = torch.rand(1, 3, *sides, generator=Generator().manual_seed(0))
        first, second = (view(images, Generator().manual_seed(0)) for _ in range(2))
        assert torch.equal(first, second)
        if not view.random:
            assert torch.equal(first, view(images, Generator().manual_seed(1)))

    def test_a_mask_and_a_meta_tensor_get_the_size_of_a_photo(self, name, sides):
        view = self.made(name)
        seen = view(torch.rand(1, 3, *sides), Generator().manual_seed(0))
        mask = view(torch.ones(1, 1, *sides), Generator().manual_seed(0))
        meta = view(torch.empty(1, 3, *sides, device="meta"), Generator())
        assert mask.shape[-2:] == seen.shape[-2:] == meta.shape[-2:]
        assert (mask > 0.5).float().mean() > 0.9

    def test_equal_options_make_equal_views(self, name, sides):
        assert self.made(name) == self.made(name)
        assert hash(self.made(name)) == hash(self.made(name))
