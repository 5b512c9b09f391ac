"""Images as a lossy file shows them: the codec's values, and a gradient."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from photovax.models.views.compressed import compressed
from photovax.pictures.compression import Compression
from photovax.tensors import pixels_of, tensor


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_values_are_those_of_the_codec(pixels, kind):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=40, method=4)  # JPEG ignores the method
    images = torch.cat([tensor(pixels), tensor(pixels[:, ::-1])])
    shown = compressed(images, Compression(kind, 40))
    assert shown.shape == images.shape
    assert np.array_equal(pixels_of(shown), np.asarray(Image.open(file)))
    assert not torch.equal(shown[0], shown[1])


@pytest.mark.parametrize(
    ("sampling", "rows", "columns"), [("4:4:4", 1, 1), ("4:2:2", 1, 2), ("4:2:0", 2, 2)]
)
def test_colours_that_the_file_cannot_hold_get_no_gradient(sampling, rows, columns):
    images = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    shown = compressed(images, Compression("JPEG", 90, subsampling=sampling))

    def gained(direction):
        (gradient,) = torch.autograd.grad((shown * direction).sum(), images, retain_graph=True)
        return float((gradient * direction).sum() / direction.square().sum())

    # Red and blue alternate without a change of luminance, from column to column, or row to row.
    colour = torch.tensor([1.0, -0.299 / 0.587, 0.0]).view(1, 3, 1, 1)
    stripes = torch.tensor([1.0, -1.0]).repeat(16)
    grey = torch.ones(1, 3, 1, 1)
    across, down = stripes.view(1, 1, 1, 32), stripes.view(1, 1, 32, 1)
    plane = torch.ones(1, 1, 32, 32)
    assert gained(colour * across * plane) == pytest.approx(1 if columns == 1 else 0, abs=1e-5)
    assert gained(colour * down * plane) == pytest.approx(1 if rows == 1 else 0, abs=1e-5)
    assert gained(grey * across * plane) == pytest.approx(1, abs=1e-5)
    assert gained(colour * plane) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sampling", ["4:2:2", "4:2:0"])
def test_the_gradient_is_that_of_the_codec_for_smooth_changes(sampling):
    """Finite differences of the real codec at its finest, along a change that it can hold."""
    rows, columns = torch.meshgrid(
        torch.linspace(0, 3, 61), torch.linspace(0, 3, 47), indexing="ij"
    )
    base = 0.5 + 0.2 * torch.stack([rows.sin(), columns.cos(), (rows + columns).sin()])[None]
    move = 0.1 * torch.stack([columns.sin(), rows.cos(), (rows - columns).sin()])[None]
    weights = torch.randn(base.shape, generator=torch.Generator().manual_seed(0))
    weights = torch.nn.functional.avg_pool2d(weights, 9, 1, 4)
    fine = Compression("JPEG", 100, subsampling=sampling)
    images = base.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((compressed(images, fine) * weights).sum(), images)
    change = ((compressed(base + move, fine) - compressed(base - move, fine)) * weights).sum() / 2
    assert float((gradient * move).sum()) == pytest.approx(float(change), rel=0.05)


def test_grey_images(pixels):
    images = tensor(pixels[..., :1]).requires_grad_()
    compressed(images, Compression("JPEG", 30)).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, torch.ones_like(images))
