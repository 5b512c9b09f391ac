"""A recipe of one pass as an ONNX graph: pixels in, immunized pixels out.

Its budget and the rounding to 8 bits are in the graph, so that any runtime of ONNX immunizes as
photovax does. The page does so where photos must not leave the device.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from photovax.attack.budgets import Perceptual, Viewing
from photovax.attack.budgets.lens import padded
from photovax.attack.networks.files import read_network
from photovax.attack.networks.headers import OPPOSED, places, told_by
from photovax.attack.networks.network import PerturbationNetwork
from photovax.attack.networks.onnx import check_packages, converted, thresholds
from photovax.attack.rounding import rounded
from photovax.errors import UsageError
from photovax.models.views import VIEWS, ShortSide, interpolated, resize
from photovax.pictures.atomic import check_free, write_bytes
from photovax.pictures.regions import SUBJECT
from photovax.pictures.resize import fed_sides

if TYPE_CHECKING:
    from onnx import ModelProto

    from photovax.attack.recipe import Recipe

__all__ = ["FORMAT", "INPUTS", "OUTPUTS", "export_whole", "inputs"]

FORMAT = "photovax immunization 1"

INPUTS = ("photo", "share", "degree", "finest", "fed", "grid", "padded")
"""Inputs of the graph; ``inputs`` gives them for a photo."""

OUTPUTS = ("immunized", "size")
"""Outputs: the immunized photo, uint8 (H, W, 4), and the share of the budget that it uses, (1,).

Where rounding brings the share above 1, the pass is repeated with less than 1 for ``share``.
"""


def inputs(photo: np.ndarray, budget: Perceptual, size: int) -> dict[str, np.ndarray]:
    """The inputs of the graph for a photo.

    - ``photo``: uint8 (H, W, 4), red, green, blue, and a last channel that is passed on.
    - ``share``: scalar, the share of the change that is kept; 1.
    - ``degree``, ``finest``: scalars, those of ``Viewing``.
    - ``fed``, ``grid``, ``padded``: uint8 zeros, whose shapes are height and width as the network
      is fed the photo, of the grid of ``Viewing``, and of its thresholds.

    Args:
        photo: Photo, uint8 (H, W, 4).
        budget: Budget of the graph.
        size: Short side, in pixels, at which the model is fed photos.
    """
    height, width = photo.shape[:2]
    view = budget.fitted(height, width, size).view
    assert view is not None  # noqa: S101 - for the type checker: fitted sets it
    sides = {
        "fed": fed_sides(height, width, size),
        "grid": view.grid,
        "padded": tuple(padded(side) for side in view.grid),
    }
    scalars = {"share": 1.0, "degree": view.degree, "finest": view.finest}
    return {
        "photo": photo,
        **{name: np.array(value, dtype=np.float32) for name, value in scalars.items()},
        **{name: np.zeros(shape, dtype=np.uint8) for name, shape in sides.items()},
    }


class _Whole(nn.Module):
    def __init__(self, network: PerturbationNetwork, budget: Perceptual) -> None:
        super().__init__()
        self.network, self.budget = network, budget

    def forward(
        self,
        photo: Tensor,
        share: Tensor,
        degree: Any,  # these two are tensors in place of numbers
        finest: Any,
        fed: Tensor,
        grid: Tensor,
        padded: Tensor,
    ) -> tuple[Tensor, Tensor]:
        (high, wide), (tall, broad) = grid.shape, padded.shape
        view = Viewing((high, wide), degree, finest, (tall, broad))
        origin = photo[..., :3].permute(2, 0, 1)[None].float() / 255
        # As Problem does it: on the grid, then enlarged. A budget keeps the lens of one photo.
        small = resize(origin, high, wide)
        working, whole = replace(self.budget, view=view), replace(self.budget, view=view)
        x = working.estimated(small, [((fed.shape[0], fed.shape[1]), self._thresholds)])
        change = interpolated(x - small, *origin.shape[-2:])
        x = whole.project(change + origin, origin)
        levels = rounded(x, origin, share)
        size = whole.size(levels / 255, origin)
        shown = levels[0].permute(1, 2, 0).to(torch.uint8)
        return torch.cat([shown, photo[..., 3:]], -1), size

    def _thresholds(self, photo: Tensor, allowance: Tensor, degree: Any) -> Tensor:
        return thresholds(self.network, photo, allowance, degree)


def export_whole(
    network: Path, recipe: Recipe, file: Path, *, size: int, apart: bool, overwrite: bool = False
) -> None:
    """Write a recipe of one pass as an ONNX graph, for photos of any size.

    Args:
        network: File of the network, as ``photovax train-immunizer`` writes it.
        recipe: Recipe of one pass, with a perceptual budget, such as ``instant``.
        file: File to write.
        size: Short side, in pixels, at which the model is fed photos.
        apart: Whether the graph reads the weights from the network's file, which must lie beside it
            under its own name, instead of having them in itself.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: If the recipe takes more than one pass, bounds something else, takes a mask or
            has views of other sizes, if it is opposed and the network is not, or a package of the
            extra ``onnx`` is missing.
        ModelError: If the network cannot be read, or not be converted.
        OutputExists: If the file exists and must not be replaced.
        SaveError: If the disk refuses the file.
    """
    budget = recipe.constraint
    if recipe.warm != 0 or not isinstance(budget, Perceptual):
        raise UsageError(
            "a graph is made of a recipe of one pass that bounds visibility, got another",
            hint="take instant or robust",
        )
    if recipe.needs_mask or recipe.masks != (SUBJECT,):
        raise UsageError("a graph takes no mask, and the recipe is one for photos with a mask")
    _check_views(recipe, size)
    if recipe.opposed and OPPOSED not in told_by(network):
        raise UsageError(
            f"the recipe takes a network that was trained beside a denoiser, and {network} was not",
            hint="train one with: photovax train-immunizer --opposed 0.7",
        )
    check_free(file, overwrite=overwrite)
    check_packages()
    trained = read_network(network, torch.device("cpu"))
    # No two sides are alike, or the graph would take them for one.
    shapes = ((500, 700, 4), (256, 360), (384, 538), (400, 540))
    photo, fed, grid, wide = (torch.zeros(shape, dtype=torch.uint8) for shape in shapes)
    scalars = (torch.tensor(value) for value in (1.0, 50.0, 0.4))
    sides = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    model = converted(
        _Whole(trained.network, budget),
        (photo, *scalars, fed, grid, wide),
        inputs=INPUTS,
        outputs=OUTPUTS,
        any_size=(sides, {}, {}, {}, sides, sides, sides),
        trained=trained,
        told={"format": FORMAT, "recipe": recipe.digest(), "size": str(size)},
    )
    if apart:
        _refer(model, network)
    write_bytes(model.SerializeToString(), file, overwrite=overwrite)


def _check_views(recipe: Recipe, size: int) -> None:
    """Refuse views that limit the frequencies of changes otherwise than the model's size does."""
    usual = ShortSide(size)
    views = [VIEWS.create(part).fitted(size) for part in recipe.views]
    for short in (size // 2, size, 16 * size):
        side = min(view.fed_side(short) for view in views)
        if side != usual.fed_side(short):
            raise UsageError(
                f"the recipe's views feed photos with a short side of {side} pixels where the "
                f"model's size is {size}, which a graph cannot do",
                hint="leave the views out of the recipe, or give their size with --size",
            )


def _refer(model: ModelProto, network: Path) -> None:
    """Replace the weights in a graph by references to the safetensors file of the network.

    That holds them in half precision, as ONNX's external data may lie.
    """
    from onnx import TensorProto, helper
    from onnx.external_data_helper import set_external_data

    found = places(network)
    casts = []
    for weight in model.graph.initializer:
        name = weight.name.removeprefix("network.")
        if name == weight.name:
            continue
        start, length = found[name]
        half = f"{name}.half"
        casts.append(helper.make_node("Cast", [half], [weight.name], to=TensorProto.FLOAT))
        weight.name, weight.data_type = half, TensorProto.FLOAT16
        set_external_data(weight, network.name, offset=start, length=length)
        weight.ClearField("raw_data")
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
