import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Generator

from photovax.attack.budgets import BUDGETS
from photovax.attack.optimise import Steps, pgd
from photovax.attack.presets import NATIVE, PRESETS
from photovax.attack.sweep import swept
from photovax.errors import LossShapeError, UsageError
from photovax.immunizer import Immunizer
from photovax.metrics.seams import seam_ratio
from photovax.models.views import VIEWS, Tiles, Window
from photovax.pictures.photo import Photo, read_photo
from photovax.registry import Part

SIDES = ((64, 96), (97, 131), (41, 200), (7, 5), (1, 1))


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("shift", [(0, 0), (3, 7)])
def test_cores_cover_the_photo_once_with_halos_around_them(sides, shift):
    tiles = Tiles(side=64, halo=12, down=shift[0], right=shift[1])
    met = torch.zeros(1, 1, *sides)
    for window in tiles.windows(*sides):
        window.core_of(met).add_(1)
        assert torch.equal(window.core_in(window.cut(met)), window.core_of(met))
        assert max(window.height, window.width) < 64 + 8
        ends = (
            (window.top, window.height, window.core_top, window.core_height, shift[0], sides[0]),
            (window.left, window.width, window.core_left, window.core_width, shift[1], sides[1]),
        )
        for start, length, core, core_length, left_out, photo in ends:
            edge = min(left_out, photo - 1)
            assert start % 8 == edge % 8
            assert core - start >= 12 or start == core == edge
            assert start + length - core - core_length >= 12 or start + length == photo
    down, right = (min(each, side - 1) for each, side in zip(shift, sides, strict=True))
    assert (met[..., down:, right:] == 1).all()
    assert met.sum() == (sides[0] - down) * (sides[1] - right)


def local_loss(kernel):
    """Not linear, so that the gradient of a pixel depends on what is around it."""

    def loss(images, _):
        return F.conv2d(images, kernel, padding=4).square().sum((1, 2, 3))

    return loss


@pytest.mark.parametrize("sides", [(70, 90), (20, 150), (30, 30)])
def test_tiles_give_the_gradient_of_the_whole_where_a_model_sees_no_further(sides):
    generator = Generator().manual_seed(0)
    kernel = torch.randn(2, 3, 9, 9, generator=generator)
    images = torch.rand(2, 3, *sides, generator=generator).requires_grad_()
    windows = Tiles(side=40, halo=8).windows(*sides)
    loss = swept(windows, [local_loss(kernel)] * len(windows))
    (found,) = torch.autograd.grad(loss(images, generator).sum(), images)
    (whole,) = torch.autograd.grad(local_loss(kernel)(images, generator).sum(), images)
    torch.testing.assert_close(found * len(windows), whole, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        assert torch.allclose(loss(images, generator), loss(images.clone(), generator))


def test_one_tile_at_a_time_is_fed():
    fed = []

    def loss(images, _):
        fed.append(tuple(images.shape[-2:]))
        return images.square().mean((1, 2, 3))

    windows = Tiles(side=16, halo=0).windows(48, 64)
    pgd(
        [swept(windows, [loss] * len(windows))],
        torch.rand(1, 3, 48, 64, generator=Generator().manual_seed(0)),
        BUDGETS.create(Part("linf", {"radius": 0.1})),
        Steps(1, 0.1),
        generator=Generator().manual_seed(0),
    )
    assert set(fed) == {(16, 16)}
    assert len(fed) >= len(windows) == 12


def test_a_loss_of_a_tile_must_give_one_number_per_image():
    windows = Tiles(side=16, halo=0).windows(16, 16)
    with pytest.raises(LossShapeError, match=r"shape \(\), expected one number per image: \(1,\)"):
        swept(windows, [lambda images, _: images.sum()])(torch.zeros(1, 3, 16, 16), Generator())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halo": -1}, "halo of 0 pixels or more, got -1"),
        ({"side": 64, "halo": 32}, "at least 8 above twice the halo of 32 pixels, got 64"),
        ({"side": 100}, "multiple of 8 .* got 100"),
        ({"right": 8}, "right from 0 to 7, got 8"),
    ],
)
def test_wrong_tiles_say_what_is_wrong(options, message):
    with pytest.raises(UsageError, match=message):
        VIEWS.create(Part("tiles", options))
    with pytest.raises(UsageError, match="give side, or fit it"):
        Tiles().windows(64, 64)


def test_a_seam_is_seen():
    windows = [Window(0, 8 * k, 16, 8, 0, 8 * k, 16, 8) for k in range(3)]
    flat = np.random.default_rng(0).integers(-8, 9, (64, 96, 3))
    assert seam_ratio(flat, windows) == pytest.approx(1, abs=0.1)
    flat[:, 8:16] += 20
    assert seam_ratio(flat, windows) > 1.5
    assert np.isnan(seam_ratio(flat, windows[:1]))


def native(**fields):
    views = [{"side": 80, "halo": 24, "down": k, "right": 5 * k % 8} for k in range(4)]
    return dataclasses.replace(
        PRESETS[NATIVE].with_levels(16),
        **{
            "views": tuple(Part("tiles", options) for options in views),
            "steps": 4,
            "draws": 1,
            **fields,
        },
    )


def test_crops_of_the_saved_photo_move_the_model_and_show_no_seams(immunizer, photo_file, tmp_path):
    photo = read_photo(photo_file)
    result = immunizer.immunize(photo, native())
    saved = immunizer.save(result, tmp_path / "out.png")
    assert saved.visible.linf == 16
    change = read_photo(saved.path).pixels.astype(int) - photo.pixels
    windows = Tiles(side=80, halo=24).windows(*change.shape[:2])
    assert seam_ratio(change, windows) <= 1.1
    # Each of four steps takes all tiles.
    assert result.passes == 4 * len(windows)
    shifts = [crop_shift(immunizer, photo, each) for each in (result.photo.pixels, noise(photo))]
    assert shifts[0] > 2 * shifts[1]


def noise(photo: Photo) -> np.ndarray:
    drawn = np.random.default_rng(0).integers(-16, 17, photo.pixels.shape)
    pixels: np.ndarray = np.clip(photo.pixels + drawn, 0, 255).astype(np.uint8)
    return pixels


def crop_shift(immunizer: Immunizer, photo: Photo, pixels: np.ndarray) -> float:
    """The mean distance of latents on crops that lie as no tile does."""
    (model,) = immunizer.models
    total = 0.0
    for top, left in ((3, 5), (13, 42), (25, 22)):
        before, after = (
            torch.from_numpy(each[top : top + 88, left : left + 88].copy())
            for each in (photo.pixels, pixels)
        )
        clean, moved = (
            model.encode(each.permute(2, 0, 1)[None].float() / 255) for each in (before, after)
        )
        total += (moved - clean).square().mean().sqrt().item()
    return total


def test_tiles_in_which_nothing_may_change_are_not_fed(immunizer, photo_file):
    photo = read_photo(photo_file)
    mask = np.zeros((photo.height, photo.width), dtype=bool)
    mask[:20, :20] = True
    result = immunizer.immunize(photo, native(steps=2), mask=mask)
    assert result.passes == 2
    assert (result.photo.pixels == photo.pixels)[~mask].all()


def test_tiles_and_the_whole_photo_take_turns(immunizer, photo_file):
    views = (Part("tiles", {"side": 80}), Part("short_side", {"pixels": 64}))
    result = immunizer.immunize(read_photo(photo_file), native(views=views, steps=3))
    tiles = len(Tiles(side=80).windows(127, 151))
    assert result.passes == 2 * tiles + 1
