import math

import pytest
import torch

from photovax.attack.budgets import BUDGETS, Perceptual
from photovax.attack.budgets.lens import Lens, shown_degree
from photovax.errors import UsageError
from photovax.pictures.display import FULL_HD
from photovax.registry import Part

SIDE = 64  # of photos, a length that FFTs need no padding for
TO_RGB = {  # luma and the two colour differences, each as a change of red, green and blue
    "luma": (1.0, 1.0, 1.0),
    "blue": (0.0, -0.344136, 1.772),
    "red": (1.402, -0.714136, 0.0),
}


def flat(level: float = 0.5) -> torch.Tensor:
    return torch.full((1, 3, SIDE, SIDE), level)


def wave(cycles: int, channel: str = "luma", levels: float = 1.0) -> torch.Tensor:
    """A change along rows of so many cycles over the photo."""
    line = torch.cos(2 * math.pi * cycles * torch.arange(SIDE) / SIDE)
    colour = torch.tensor(TO_RGB[channel]).view(1, 3, 1, 1)
    return levels / 255 * colour * line.expand(1, 1, SIDE, SIDE)


def lens(photo: torch.Tensor, finest: float = 1.0, texture: float = 1.0) -> Lens:
    return Lens.of(photo, degree=38, finest=finest, colour=1.0, texture=texture)


@pytest.mark.parametrize(
    ("cycles", "channel", "decades", "fall"),
    [
        (3, "luma", 0, 1.4),  # below the peak nothing more is allowed than at it
        (8, "luma", math.log10(8 / 64 * FULL_HD.pixels_per_degree / 2.4), 1.4),
        (12, "luma", math.log10(12 / 64 * FULL_HD.pixels_per_degree / 2.4), 1.4),
        (8, "blue", math.log10(8 / 64 * FULL_HD.pixels_per_degree / 0.6), 0.47),
        (8, "red", math.log10(8 / 64 * FULL_HD.pixels_per_degree / 0.6), 0.47),
    ],
)
def test_a_wave_in_mid_grey_is_seen_as_its_closed_form_says(cycles, channel, decades, fall):
    # The mean of cosines to the fourth is 3/8; one of three channels changes.
    seen = 2.0 * (3 / 8 / 3) ** (1 / 4) / 10 ** (fall * decades**2)
    change = wave(cycles, channel, levels=2.0)
    for colour in (0.5, 1.0):
        size = Perceptual(1, 100, colour=colour).size(flat() + change, flat())
        allowed = 1 if channel == "luma" else colour
        assert size.item() == pytest.approx(seen / allowed, rel=2e-3)


@pytest.mark.parametrize(
    ("finest", "more"),
    [(20 / 38, 1), (15 / 38, 1), (10 / 38, 1.5**0.36), (4.5 / 38, (15 / 4.5) ** 0.36)],
)
def test_changes_of_low_frequencies_alone_may_be_larger(finest, more):
    wide, narrow = lens(flat()), lens(flat(), finest)
    torch.testing.assert_close(narrow.gain, more * wide.gain)


def test_the_largest_change_counts_as_well():
    x = flat()
    x[..., 3, 4] += 8 / 255
    assert Perceptual(100, 4).size(x, flat()).item() == pytest.approx(2)


def test_the_direction_is_the_steepest_of_all_that_are_seen_as_much():
    generator = torch.Generator().manual_seed(0)
    photo = 0.4 + 0.2 * torch.rand(1, 3, SIDE, SIDE, generator=generator)
    gradient = torch.randn(photo.shape, generator=generator)
    for power in (2, 3, 4):
        budget = Perceptual(1, 255, power=power)
        best = budget.direction(gradient, photo)
        assert budget.size(photo + best, photo).item() == pytest.approx(1, abs=1e-4)
        fall = (best * gradient).sum()
        assert fall < 0
        for _ in range(20):
            other = torch.randn(photo.shape, generator=generator)
            other = other / budget.size(photo + other, photo)
            assert (other * gradient).sum().abs() < fall.abs()


@pytest.mark.parametrize("sides", [(SIDE, SIDE), (37, 53)], ids=str)
def test_pulling_a_gradient_is_the_adjoint_of_a_change(sides):
    generator = torch.Generator().manual_seed(1)
    found = lens(torch.rand(2, 3, *sides, generator=generator), finest=0.3)
    thresholds = torch.randn(2, 3, *found.size, generator=generator)
    gradient = torch.randn(2, 3, *sides, generator=generator)
    one = (found.change(thresholds) * gradient).sum()
    other = (thresholds * found.pulled(gradient)).sum()
    assert one.item() == pytest.approx(other.item(), rel=1e-3)


def test_thresholds_are_those_that_a_change_was_made_of():
    generator = torch.Generator().manual_seed(2)
    found = lens(torch.rand(1, 3, SIDE, SIDE, generator=generator))
    thresholds = torch.randn(1, 3, *found.size, generator=generator)
    torch.testing.assert_close(
        found.thresholds(found.change(thresholds)), thresholds, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("band", [1.0, 0.5])
def test_changes_are_made_of_what_a_resize_leaves(band: float) -> None:
    budget = Perceptual(1, 255, band=band).fitted(SIDE, SIDE, 48)
    generator = torch.Generator().manual_seed(0)
    photo, gradient = torch.full((2, 1, 3, SIDE, SIDE), 0.5)
    gradient = torch.randn(gradient.shape, generator=generator)
    for change in (budget.direction(gradient, photo), budget.sample(photo, generator) - photo):
        power = torch.fft.fft2(change).abs().square().sum(dim=(0, 1))
        frequencies = torch.fft.fftfreq(SIDE)
        radius = torch.hypot(frequencies[:, None], frequencies[None])
        assert power[radius > band * 0.5 * 48 / SIDE].sum() < 1e-6 * power.sum()


def test_texture_hides_and_the_flat_side_of_an_edge_does_not():
    generator = torch.Generator().manual_seed(0)
    photo = flat()
    photo[..., SIDE // 2 :] += 0.2 * torch.randn(1, 1, SIDE, SIDE // 2, generator=generator)
    photo.clamp_(0, 1)
    hidden = lens(photo).hidden[0, 0, 8:-8] * 255
    assert hidden[:, SIDE // 2 + 8 : -8].mean() > 4
    # Up to what the small window reaches, three pixels and two of smoothing.
    assert hidden[:, : SIDE // 2 - 5].max() == pytest.approx(1, abs=0.02)
    assert lens(photo, texture=0).hidden[0, 0, 8:-8].max() * 255 < 2


def test_the_dark_hides_less_than_the_light():
    dark, light = (lens(flat(level)).hidden.mean() for level in (0.1, 0.8))
    assert dark < light


def test_masked_changes_are_seen_where_they_are():
    mask = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    mask[..., : SIDE // 4] = True
    change = wave(8) * mask
    whole, part = Perceptual(1, 16), Perceptual(1, 16).within(mask)
    ratio = part.size(flat() + change, flat()) / whole.size(flat() + change, flat())
    assert ratio.item() == pytest.approx(4 ** (1 / 4))


def test_photos_are_seen_as_a_screen_shows_them():
    assert shown_degree(480, 320) == FULL_HD.pixels_per_degree
    assert shown_degree(2160, 3840) == pytest.approx(2 * FULL_HD.pixels_per_degree)
    assert shown_degree(3840, 2160) == shown_degree(2160, 3840)


def test_large_photos_are_changed_on_a_grid_and_seen_as_small_ones():
    small = Perceptual(1, 16).fitted(270, 480, 90)
    large = Perceptual(1, 16).fitted(2160, 3840, 90)
    assert small.working_size(270, 480) == large.working_size(2160, 3840) == (135, 240)
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, 135, 240, generator=generator)
    change = large.direction(torch.randn(photo.shape, generator=generator), photo)
    whole = torch.nn.functional.interpolate(photo, scale_factor=4, mode="bicubic").clamp(0, 1)
    spread = torch.nn.functional.interpolate(change, scale_factor=4, mode="bicubic")
    seen = large.size(whole + spread, whole), large.size(photo + change, photo)
    assert seen[0].item() == pytest.approx(seen[1].item(), rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "levels above 0 and up to 255, got 0"),
        ({"levels": 16, "colour": 0}, "colour above 0, got 0"),
        ({"levels": 16, "texture": -1}, "texture 0 or more, got -1"),
        ({"levels": 16, "power": 1}, "power above 1, got 1"),
        ({}, "levels"),
    ],
)
def test_options_that_make_no_set_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        BUDGETS.create(Part("perceptual", {"radius": 1.0, **options}))
