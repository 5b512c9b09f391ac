"""Pairs that an editor is trained on, and the shape of its denoisers."""

import numpy as np
import pytest
import torch
from torch import Generator

from training.editor_data import EDITS, Data
from training.editor_parts import denoiser


class Shrunk:
    """An autoencoder that only shrinks."""

    channels, multiple = 3, 8

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        self.encoded += len(images)
        return torch.nn.functional.avg_pool2d(images, 8) * 2

    def own_latent(self, images: torch.Tensor) -> torch.Tensor:
        return self.encode(images) / 2


def data(autoencoder, folder, **options):
    random = np.random.default_rng(0)
    photos = [torch.from_numpy(random.integers(0, 256, (3, 80, 96), dtype=np.uint8))]
    return Data(autoencoder, photos, ["a.jpg"], 1, pool=6, folder=folder, **options)


def test_a_pool_is_made_once_and_kept(tmp_path):
    first, second = Shrunk(), Shrunk()
    made = data(first, tmp_path)
    for _ in range(4):
        batch = made.batch("instruct", 3, 64)
    assert batch.target.shape == (3, 3, 8, 8)
    assert first.encoded == 12  # six pairs
    again = data(second, tmp_path).batch("instruct", 6, 64)
    assert second.encoded == 0
    known = {pair[1].float().sum().item() for pair in made.pairs[64]}
    assert {each.sum().item() for each in again.target} <= known


@pytest.mark.parametrize("guided", [True, False])
def test_prompts_are_left_out_only_for_guidance(guided, tmp_path):
    made = data(Shrunk(), tmp_path, guided=guided)
    batches = [made.batch("instruct", 6, 64) for _ in range(40)]
    empty = sum(prompt == "" for batch in batches for prompt in batch.prompts)
    dark = sum(not each.any() for batch in batches for each in batch.shown)
    assert (empty > 0, dark > 0) == (guided, guided)


def test_the_prompt_scales_every_block_if_that_is_asked():
    torch.manual_seed(0)
    fed = torch.randn(1, 6, 8, 8, generator=Generator().manual_seed(1))
    words = torch.randn(2, 7, 32, generator=Generator().manual_seed(2))
    seen = {}
    for film in (False, True):
        unet = denoiser("instruct", 3, (16, 24), 8, 32, film=film)
        first: list[torch.Tensor] = []
        unet.down_blocks[0].resnets[0].register_forward_hook(
            lambda *a, kept=first: kept.append(a[2])
        )
        with torch.no_grad():
            for each in words:
                assert unet(fed, torch.tensor([500]), each[None]).sample.shape == (1, 3, 8, 8)
        seen[film] = not torch.equal(*first)
    assert seen == {False: False, True: True}
    assert len(EDITS) > 10
