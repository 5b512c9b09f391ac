"""Profiles made of primaries and a curve, beside published ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from photovax.pictures.profiles import DISPLAY_P3, SRGB_PRIMARIES, ColourSpace
from tests.pictures.made import noise


def test_the_colours_of_display_p3_are_those_of_its_published_profile() -> None:
    data = ColourSpace(DISPLAY_P3).profile(grey=False)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data)).profile
    found = [getattr(profile, f"{name}_colorant")[0] for name in ("red", "green", "blue")]
    published = [
        (0.51512, 0.24120, -0.00105),
        (0.29198, 0.69225, 0.04189),
        (0.15710, 0.06657, 0.78407),
    ]
    assert np.array(found) == pytest.approx(np.array(published), abs=2e-4)
    assert profile.profile_description == "Display P3, sRGB curve"
    assert len(data) < 600


def test_its_srgb_is_that_of_littlecms() -> None:
    own = ImageCms.ImageCmsProfile(io.BytesIO(ColourSpace().profile(grey=False)))
    image = Image.fromarray(noise(64, 64, 3))
    shown = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(image)).max() <= 1


@pytest.mark.parametrize(
    ("primaries", "curve", "why"),
    [
        ((0.0,) * 8, (2.2,), "of no colour"),
        ((*SRGB_PRIMARIES[:4], *SRGB_PRIMARIES[2:4], 0.15, 0.06), (2.2,), "on one line"),
        ((0.1, 0.8, *SRGB_PRIMARIES[2:]), (2.2,), "outside the primaries"),
        ((float("nan"), *SRGB_PRIMARIES[1:]), (2.2,), "out of range"),
        (SRGB_PRIMARIES, (99.0,), "gamma 99"),
    ],
)
def test_what_describes_no_colours_makes_no_profile(
    primaries: tuple[float, ...], curve: tuple[float, ...], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        ColourSpace(primaries, curve).profile(grey=False)
