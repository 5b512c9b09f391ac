"""Norms, PSNR and SSIM, compared with scikit-image."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from photovax.checks.noise import noisy
from photovax.errors import UsageError
from photovax.metrics.distortion import image_psnr, psnr, ssim, visibility
from photovax.tensors import tensor


@pytest.mark.parametrize("shape", [(41, 53, 3), (600, 40, 1)])
def test_figures_equal_those_of_scikit_image(shape):
    first = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    second = noisy(first, 20, 1)
    found = visibility(first, second)
    expected = structural_similarity(
        first,
        second,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert found.ssim == pytest.approx(expected, abs=1e-4)
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(first, second, data_range=255))
    assert found.linf == 20
    assert found.l2 == pytest.approx(np.linalg.norm((second.astype(float) - first).ravel()) / 255)


def test_ssim_can_be_left_out(pixels):
    whole, part = visibility(pixels, pixels + 1), visibility(pixels, pixels + 1, structure=False)
    assert whole.ssim is not None
    assert part == replace(whole, ssim=None)


def test_no_change_is_no_change(pixels):
    found = visibility(pixels, pixels)
    assert json.loads(json.dumps(found.figures(), allow_nan=False))["psnr"] is None
    assert (found.linf, found.l2, found.psnr, found.changed) == (0, 0, math.inf, 0)
    assert found.ssim == pytest.approx(1)


def test_small_pictures_have_no_ssim(pixels):
    assert ssim(pixels[:10], pixels[:10]) is None


def test_other_sizes_cannot_be_compared(pixels):
    with pytest.raises(UsageError, match="53 x 40 pixels in colour with one of 53 x 41"):
        visibility(pixels, pixels[:40])


def test_pictures_that_may_not_be_written_are_compared(pixels):
    pixels.setflags(write=False)
    assert ssim(pixels, pixels) == pytest.approx(1)


def test_psnr_of_images_is_that_of_their_pixels(pixels):
    changed = noisy(pixels, 9, 1)
    images, originals = (torch.cat([tensor(p)] * 2) for p in (changed, pixels))
    found = image_psnr(images, originals)
    assert found.shape == (2,)
    assert found.tolist() == pytest.approx([psnr(pixels, changed)] * 2, abs=1e-4)
    assert image_psnr(originals, originals).tolist() == [100, 100]
