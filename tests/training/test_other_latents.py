"""A denoiser that starts from one of another autoencoder's latents."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, nn

from training.editor_parts import MODES, denoiser, fed_channels
from training.other_latents import linear_map, moved


class Projection:
    """An autoencoder whose latents are those of another, mixed into other channels."""

    multiple = 8

    def __init__(self, kernel, scale):
        self.kernel, self.scale, self.channels = kernel, scale, len(kernel)

    def own_latent(self, images):
        return F.conv2d(images, self.kernel, stride=8)

    def encode(self, images):
        return self.own_latent(images) * self.scale


def test_a_linear_relation_is_found():
    given = torch.randn(3, 5, 8, 8, generator=Generator().manual_seed(0))
    matrix = torch.randn(4, 5, generator=Generator().manual_seed(1))
    wanted = torch.einsum("dc,nchw->ndhw", matrix, given) + 3
    torch.testing.assert_close(linear_map(given, wanted), matrix, atol=0.02, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_it_denoises_as_before_where_latents_are_the_same_in_other_channels(mode):
    random = Generator().manual_seed(0)
    mixed = nn.init.orthogonal_(torch.empty(6, 4), generator=random)
    kernel = torch.randn(4, 3, 8, 8, generator=random) / 8
    old: Any = Projection(kernel, 2.0)
    new: Any = Projection(torch.einsum("nd,dchw->nchw", mixed, kernel), 0.5)
    torch.manual_seed(0)
    unet = denoiser(mode, 4, (16, 16, 16), 4, 16).eval()
    photos = torch.rand(16, 3, 64, 64, generator=random)
    changed = moved(unet, mode, old, new, photos).eval()
    assert changed.config.in_channels == fed_channels(mode, 6)

    def fed(latents, own):
        mask = torch.ones(len(latents), 1, 8, 8)
        parts = {"instruct": [own], "inpaint": [mask, latents], "img2img": []}[mode]
        return torch.cat([latents, *parts], dim=1)

    words = torch.randn(16, 4, 16, generator=random)
    # Latents are mapped without their means, which a denoiser's are next to none.
    before, after = (
        fed(one.encode(photos - 0.5), one.own_latent(photos - 0.5)) for one in (old, new)
    )
    with torch.no_grad():
        answer = unet(before, 500, words, return_dict=False)[0]
        wanted = torch.einsum("nd,bdhw->bnhw", mixed * new.scale / old.scale, answer)
        found = changed(after, 500, words, return_dict=False)[0]
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0.01)
