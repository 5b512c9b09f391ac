"""The U-Net among the denoisers: any size, and it learns."""

import torch
from torch import Generator

from training.u_net import UNet


def test_the_perturbation_has_the_size_of_the_picture():
    network = UNet((4, 8, 8))
    for size in ((16, 24), (17, 22), (5, 7)):
        assert network(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_it_learns_to_tell_lines_from_a_picture():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet((8, 8, 8))
    picture = torch.rand(1, 3, 8, 8, generator=Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(picture, size=(48, 48), mode="bilinear")
    lines = 0.1 * torch.sin(torch.arange(48) * 1.9).expand(1, 3, 48, 48)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(80):
        loss = (network(picture + lines) - lines).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.3 * lines.square().mean()
