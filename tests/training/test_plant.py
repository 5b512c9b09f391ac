"""Planting: what is asked of a next encoder, and of whom."""

import copy

import pytest
import torch
from torch import nn

from training.plant import WAYS, anchor_loss, shift_loss


@pytest.fixture
def old():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 4, 3, 2, 1))


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand(2, 3, 16, 16, generator=generator)
    return clean, clean + 0.1 * torch.rand(2, 3, 16, 16, generator=generator)


def changed(encoder):
    new = copy.deepcopy(encoder)
    with torch.no_grad():
        for weight in new.parameters():
            weight.mul_(1.5)
    return new


@pytest.mark.parametrize("loss", WAYS.values(), ids=WAYS)
def test_nothing_is_lost_by_an_encoder_that_did_not_change(old, pair, loss):
    assert torch.equal(loss(copy.deepcopy(old), old, *pair), torch.zeros(2))
    assert (loss(changed(old), old, *pair) > 0).all()


@pytest.mark.parametrize("loss", WAYS.values(), ids=WAYS)
def test_only_the_new_encoder_learns(old, pair, loss):
    new = changed(old)
    loss(new, old, *pair).sum().backward()
    assert all(weight.grad is not None for weight in new[0].parameters())
    assert all(weight.grad is None for weight in old.parameters())


def test_planting_the_shift_leaves_free_where_latents_lie(old, pair):
    def elsewhere(images):
        return old(images) + 3

    torch.testing.assert_close(shift_loss(elsewhere, old, *pair), torch.zeros(2), atol=1e-4, rtol=0)
    assert (anchor_loss(elsewhere, old, *pair) > 1).all()


def test_an_encoder_blind_to_the_change_loses_the_whole_old_shift(old, pair):
    clean, _ = pair
    with torch.no_grad():
        before, moved = (old(images) for images in pair)
        shift = (moved - before).square().mean((1, 2, 3)).sqrt() / before.flatten(1).std(1)

    def blind(images):
        return old(clean).repeat(len(images) // len(clean), 1, 1, 1)

    torch.testing.assert_close(shift_loss(blind, old, *pair), shift)
