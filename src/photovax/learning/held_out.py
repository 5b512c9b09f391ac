"""How a trained network does on photos that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from photovax.attack.recipe import Recipe
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_shift
from photovax.pictures.photo import Photo

__all__ = ["compared"]


def compared(
    network: Path,
    recipe: Recipe,
    photos: Sequence[Photo],
    *,
    model: str,
    weights: Path | None,
    device: str,
) -> dict[str, float]:
    """The mean latent shift of photos, by the way in which they are immunized.

    Args:
        network: File of the network.
        recipe: Recipe with a perceptual budget and steps.
        photos: Photos.
        model: Name or folder of the model.
        weights: Folder of weights that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Returns:
        Shifts in units of the latent's standard deviation: of the network alone, of the recipe's
        steps from its estimate, and of the recipe's steps without it.
    """
    immunizer = Immunizer(model, weights=weights, networks=[network], device=device)
    warm = recipe if recipe.warm else replace(recipe, warm=1 / 3)
    cold = replace(recipe, warm=None)
    ways = {
        "the network alone": replace(recipe, warm=0),
        f"{immunizer.steps(warm)} steps from its estimate": warm,
        f"{cold.steps} steps without it": cold,
    }
    found: dict[str, float] = {}
    for name, way in ways.items():
        shifts = []
        for photo in photos:
            made = immunizer.immunize(photo, way)
            pair = made.original.visible(), made.photo.visible()
            attacked = immunizer.models[0]
            shifts.append(latent_shift(attacked, *pair, immunizer.device, size=recipe.size))
        found[name] = sum(shifts) / len(shifts)
    return found
