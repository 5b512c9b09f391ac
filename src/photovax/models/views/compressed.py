"""Images as a lossy file shows them, with a gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.pictures.compression import Compression
from photovax.tensors import pixels_of, tensor

__all__ = ["compressed"]

_HALVED = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}  # rows and columns


def compressed(images: Tensor, compression: Compression) -> Tensor:
    """Images as they are decoded from a file of these settings.

    The values are those of the real codec. The gradient treats quantisation as the identity
    (straight-through estimator, Bengio et al., arXiv 1308.3432). It includes the lower resolution
    of the colour channels, so that no change is spent on colours that the file cannot hold.

    Args:
        images: Images, float32 (N, C, H, W) in [0, 1]; C is 1 or 3.
        compression: Settings of the file.

    Returns:
        Images of the same kind and shape, in 8-bit levels.
    """
    if images.is_meta:  # only the size of the result is asked for
        return images
    with torch.no_grad():
        shown = torch.cat(
            [tensor(compression.decoded(pixels_of(image[None])), images.device) for image in images]
        )
    rows, columns = _HALVED[compression.subsampling]
    smooth = images if images.shape[1] == 1 else _subsampled(images, rows, columns)
    return smooth + (shown - smooth).detach()


def _subsampled(images: Tensor, rows: int, columns: int) -> Tensor:
    """RGB images with colour channels of a lower resolution, as in JPEG (ITU-T T.871).

    Args:
        images: Images (N, 3, H, W).
        rows: Number of rows that share a colour.
        columns: Number of columns that share a colour.
    """
    if rows == columns == 1:
        return images
    height, width = images.shape[-2:]
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colour = torch.cat([blue - luma, red - luma], dim=1)
    padding = (0, -width % columns, 0, -height % rows)
    small = F.avg_pool2d(F.pad(colour, padding, mode="replicate"), (rows, columns))
    # libjpeg enlarges with a triangle filter, which is this interpolation.
    large = F.interpolate(small, scale_factor=(rows, columns), mode="bilinear")
    large = large[..., :height, :width]
    to_blue, to_red = large[:, :1], large[:, 1:]
    to_green = -(0.299 * to_red + 0.114 * to_blue) / 0.587
    return torch.cat([luma + to_red, luma + to_green, luma + to_blue], dim=1)
