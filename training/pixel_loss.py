"""The error in pixels that an error in latents causes, without a pass through the decoder.

A denoiser as small as the embedded one cannot predict a latent exactly, and the loss decides which
part it predicts well. A loss on latents weighs all directions equally, but in the picture some
weigh five times as much as others. A linear decoder (from 3 x 3 neighbouring latents to 8 x 8
pixels) explains 95 % of the output of the embedded autoencoder's decoder, and costs one small
convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.models.contracts import Autoencoder

AREA = 3
RIDGE = 1e-3  # relative to the mean sum of squares of columns, which are correlated


def linear_decoder(autoencoder: Autoencoder, crops: Sequence[Tensor]) -> Tensor:
    """A linear approximation of a decoder by least squares, as weights of a convolution.

    The weights are scaled so that white noise has the same error in pixels as in latents.

    Args:
        autoencoder: The autoencoder of the latents.
        crops: Photos (3, H, W) in [0, 1], with sides that it accepts.

    Returns:
        Weights (3 * factor^2, channels, 3, 3), for scaled latents.
    """
    grams, crosses = [], []
    for crop in crops:
        with torch.no_grad():
            latent = autoencoder.encode(crop[None])
            made = autoencoder.decode(latent)
        patches = F.pixel_unshuffle(made, crop.shape[-1] // latent.shape[-1])
        rows = F.unfold(latent, AREA, padding=AREA // 2)[0].T.double()
        rows = torch.cat((rows, torch.ones_like(rows[:, :1])), dim=1)
        grams.append(rows.T @ rows)
        crosses.append(rows.T @ patches[0].flatten(1).T.double())
    gram, cross = torch.stack(grams).sum(0), torch.stack(crosses).sum(0)
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram)).to(gram)
    solved = torch.linalg.solve(gram + ridge, cross)[:-1].T.float()
    weights = solved.unflatten(1, (-1, AREA, AREA))
    return weights / weights.square().sum((1, 2, 3)).mean().sqrt()


def pixel_error(error: Tensor, decoder: Tensor) -> Tensor:
    """Mean square error in pixels of an error in scaled latents (N, C, h, w)."""
    return F.conv2d(error, decoder, padding=AREA // 2).square().mean()
