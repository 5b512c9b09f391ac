"""Denoisers of flow matching: their targets, gradients and losses, on untrained weights."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from photovax.attack.objectives import DenoisingError, FirstStepNorm
from photovax.attack.presets import PRESETS
from photovax.errors import UsageError
from photovax.immunizer import Immunizer
from photovax.models.edit import Edit, Mode
from photovax.models.load import load_editor
from photovax.models.views import resize
from photovax.pictures.photo import read_photo
from photovax.registry import Part
from photovax.tensors import tensor
from tests.models.transformer.untrained import (
    CPU,
    KINDS,
    MODES,
    flow,
)


def test_a_perfect_transformer_has_no_error(denoiser, image):
    latents = denoiser.encode(image)
    noise = torch.randn(latents.shape, generator=Generator().manual_seed(0))
    times = torch.tensor([0.3])
    ahead = denoiser.noised(latents, noise, times + 0.1)
    velocity = (ahead - denoiser.noised(latents, noise, times)) / 0.1
    torch.testing.assert_close(denoiser.target(latents, noise), velocity, atol=1e-4, rtol=1e-4)


def test_the_gradient_is_that_of_finite_differences(kind, denoiser, image, repaint):
    denoiser.autoencoder.model.double()
    denoiser.transformer.double()
    loss = DenoisingError(MODES[kind]).bind(denoiser, image, repaint)
    x = image.double().requires_grad_()
    direction = torch.randn(x.shape, generator=Generator().manual_seed(2), dtype=x.dtype)

    def value(pixels):
        return loss(pixels, Generator().manual_seed(3)).sum()

    (gradient,) = torch.autograd.grad(value(x), x)
    # Rotary embeddings compute in float32, which coarser differences have to bridge.
    step, tolerance = (1e-5, 1e-6) if kind == "sd3" else (1e-3, 3e-3)
    with torch.no_grad():
        slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=tolerance, atol=0)
    denoiser.recompute()
    torch.testing.assert_close(torch.autograd.grad(value(x), x)[0], gradient, atol=0, rtol=0)


def test_sds_pulls_as_it_would_by_the_noise(kind, denoiser, image, repaint):
    """The error of the velocity is that of the noise that it implies, but for a factor above 0."""
    generator = Generator().manual_seed(0)
    latents = denoiser.encode(image)
    noise = torch.randn(latents.shape, generator=generator)
    times = torch.tensor([0.4])
    context = denoiser.context(image, Edit(MODES[kind]), generator, repaint=repaint)
    noisy = denoiser.noised(latents, noise, times)
    velocity = denoiser.predicted(noisy, times, context, MODES[kind])
    error = velocity - denoiser.target(latents, noise)
    implied = noisy + (1 - times) * velocity
    torch.testing.assert_close(implied - noise, (1 - times) * error, atol=1e-4, rtol=0)
    x = image.clone().requires_grad_()
    loss = DenoisingError(MODES[kind], through_denoiser=False).bind(denoiser, image, repaint)
    (gradient,) = torch.autograd.grad(loss(x, Generator()).sum(), x)
    assert gradient.abs().max() > 0


def flow_matching_error(denoiser, kind, pixels, mask):
    """The mean over draws of noise and time, of what was never optimised."""
    images = resize(tensor(pixels, CPU), 64, 80)
    repaint = resize(tensor(mask[..., None].astype(np.uint8) * 255, CPU), 64, 80) > 0.5
    loss = DenoisingError(MODES[kind]).bind(denoiser, images, repaint)
    generator = Generator().manual_seed(77)
    with torch.no_grad():
        return -np.mean([loss(images, generator).item() for _ in range(32)])


@pytest.mark.parametrize("preset", ["advdm", "sds"])
def test_presets_raise_the_error_above_that_of_noise_as_large(kind, preset, folders, photo_file):
    photo = read_photo(photo_file)
    immunizer = Immunizer([str(folders[kind])], device="cpu")
    recipe = PRESETS[preset].with_mode(MODES[kind])
    recipe = replace(recipe, size=64, steps=8, step_size=4 / 255)
    mask = np.ones((photo.height, photo.width), dtype=bool)
    mask[20:60, 30:70] = kind != "fill"
    given = mask if kind == "fill" else None
    result = immunizer.immunize(photo, recipe, mask=given)
    denoiser = load_editor(str(folders[kind]), device=torch.device("cpu"))
    change = (result.photo.pixels - photo.pixels.astype(float)).astype(float)
    signs = np.random.default_rng(0).choice((-1, 1), change.shape) * mask[..., None]
    noise = signs * np.ceil(np.linalg.norm(change) / np.linalg.norm(signs))
    noisy = (photo.pixels + noise).round().clip(0, 255).astype(np.uint8)
    errors = [
        flow_matching_error(denoiser, kind, pixels, ~mask)
        for pixels in (photo.pixels, noisy, result.photo.pixels)
    ]
    assert errors[2] > 1.01 * max(errors[:2])
    assert immunizer.digests(recipe) == [denoiser.digest]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if MODES[kind] != "img2img"])
def test_diffusionguard_attacks_those_that_are_shown_the_photo(kind, denoiser, image, repaint):
    x = image.clone().requires_grad_()
    loss = FirstStepNorm(MODES[kind]).bind(denoiser, image, repaint)(x, Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert gradient.abs().max() > 0


def test_odd_sides_are_continued(kind, denoiser, repaint):
    grey = torch.rand(2, 1, 20, 37, generator=Generator().manual_seed(0))  # latents of 3 x 5
    loss = DenoisingError(MODES[kind]).bind(denoiser, grey, repaint[..., :20, :37])
    patched = kind in ("flux2", "klein")
    assert denoiser.encode(grey).shape == ((2, 16, 2, 3) if patched else (2, 4, 4, 6))
    assert denoiser.posterior(grey)[0].shape == (2, 4, 4, 6)
    assert loss(grey, Generator().manual_seed(0)).isfinite().all()


@pytest.mark.parametrize("kind", ["sd3", "klein", "qwen-edit"])
def test_half_precision_stays_bfloat16_or_is_widened(kind, folders, tmp_path, image):
    folder = shutil.copytree(folders[kind], tmp_path / "half")
    for stored, used in ((torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)):
        whole = flow(folders[kind]).transformer
        whole.to(stored).save_pretrained(folder / "transformer")
        denoiser = flow(folder)
        assert denoiser.transformer.dtype == used
        x = image.clone().requires_grad_()
        loss = DenoisingError(MODES[kind]).bind(denoiser, image)(x, Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert loss.dtype == torch.float32
        assert gradient.abs().max() > 0


def test_another_way_of_editing_says_which_there_is(kind, denoiser, image, repaint):
    other: Mode = "instruct" if MODES[kind] == "inpaint" else "inpaint"
    loss = DenoisingError(other).bind(denoiser, image, repaint)
    with pytest.raises(UsageError, match=f"cannot {other}; it knows {MODES[kind]}") as caught:
        loss(image, Generator())
    assert f"--mode {MODES[kind]}" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["sd3", "klein", "qwen"])
def test_recipes_with_a_sum_ask_the_denoiser_too(kind, folders, photo_file):
    immunizer = Immunizer([str(folders[kind])], device="cpu")
    recipe = replace(
        PRESETS["mist"].with_mode(MODES[kind]), size=64, steps=1, views=(Part("short_side"),)
    )
    result = immunizer.immunize(read_photo(photo_file), recipe)
    assert (result.photo.pixels != result.original.pixels).any()
