"""A denoiser of one autoencoder's latents as the start of one for another's.

Its first and last layers are composed with linear maps between the two latents, fitted to photos by
least squares. What the denoiser knows of prompts and pictures thus counts from the first step on;
it has to learn what its old latents did not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from photovax.models.contracts import EditorAutoencoder
from training.editor_parts import fed_channels

RIDGE = 1e-3  # relative to the mean variance of a channel


def linear_map(inputs: Tensor, outputs: Tensor) -> Tensor:
    """The matrix (D, C) that maps latents (N, C, h, w) closest to others (N, D, h, w).

    Means are left out on both sides, since latents are about centred.
    """
    given, wanted = (x.movedim(1, -1).flatten(0, -2).double() for x in (inputs, outputs))
    given, wanted = given - given.mean(0), wanted - wanted.mean(0)
    gram = given.T @ given
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram)).to(gram)
    return torch.linalg.solve(gram + ridge, given.T @ wanted).T.float()


def moved(
    unet: Any, mode: str, old: EditorAutoencoder, new: EditorAutoencoder, photos: Tensor
) -> Any:
    """A UNet for latents of ``new`` that starts from one for those of ``old``.

    Args:
        unet: Denoiser of one way of editing.
        mode: That way.
        old: Autoencoder whose latents it denoises.
        new: Autoencoder whose latents it shall denoise, of the same downscaling.
        photos: Images (N, 3, H, W) in [0, 1] that the maps are fitted to, on the device of the
            autoencoders.
    """
    made: Any = UNet2DConditionModel.from_config(
        unet.config, in_channels=fed_channels(mode, new.channels), out_channels=new.channels
    )
    weights = dict(unet.state_dict())
    kernel = weights["conv_in.weight"]

    def fitted(source: EditorAutoencoder, target: EditorAutoencoder, *, own: bool) -> Tensor:
        pictures: list[Callable[[Tensor], Tensor]] = [
            (one.own_latent if own else one.encode) for one in (source, target)
        ]
        with torch.no_grad():
            latents = [torch.cat([f(x) for x in photos.split(1)]) for f in pictures]
        return linear_map(*latents).to(kernel)

    scaled = fitted(new, old, own=False)
    shown = fitted(new, old, own=True) if mode == "instruct" else scaled
    noisy, rest = kernel[:, : old.channels], kernel[:, old.channels :]
    parts = [_fed_through(noisy, scaled)]
    if mode != "img2img":
        mask, picture = rest[:, : -old.channels], rest[:, -old.channels :]
        parts += [mask, _fed_through(picture, shown)]
    weights["conv_in.weight"] = torch.cat(parts, dim=1)
    back = fitted(old, new, own=False)
    weights["conv_out.weight"] = torch.einsum("nd,dihw->nihw", back, weights["conv_out.weight"])
    weights["conv_out.bias"] = back @ weights["conv_out.bias"]
    made.load_state_dict(weights)
    return made


def _fed_through(kernel: Tensor, matrix: Tensor) -> Tensor:
    """The kernel that does on latents what ``kernel`` does on those that ``matrix`` makes."""
    return torch.einsum("odhw,dc->ochw", kernel, matrix)
