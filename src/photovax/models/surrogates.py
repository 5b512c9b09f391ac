"""The models that are attacked, loaded once, each as much of it as an objective needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from photovax.errors import ModelError
from photovax.models.autoencoders.base import PosteriorAutoencoder
from photovax.models.catalog.places import each_once, no_whole_edit
from photovax.models.load import load_autoencoder, load_denoiser, load_editor
from photovax.models.transformer.denoiser import FlowDenoiser
from photovax.models.unet.editor import LatentEditor

if TYPE_CHECKING:
    import torch

    from photovax.models.contracts import Autoencoder, Need

__all__ = ["Surrogates"]


class Surrogates:
    """Models by name: their autoencoders, and what else of them is asked for.

    Args:
        names: Catalogue names or folders.
        device: Where to load them.
        weights: Where to look for weights that do not ship with photovax.

    Raises:
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
        UsageError: If two models have one folder name.
    """

    def __init__(
        self, names: Sequence[str], *, device: torch.device, weights: Path | None = None
    ) -> None:
        self._device, self._weights = device, weights
        self.autoencoders: dict[str, Autoencoder] = {
            name: load_autoencoder(name, device=device, weights=weights)
            for name in each_once(names)
        }
        self._denoisers: dict[str, LatentEditor | FlowDenoiser] = {}

    def only(self, names: Sequence[str]) -> Surrogates:
        """Some of these models, which both share: nothing is loaded again."""
        some = copy(self)
        some.autoencoders = {name: self.autoencoders[name] for name in each_once(names)}
        return some

    def attacked(self, needs: Need) -> list[Autoencoder | LatentEditor | FlowDenoiser]:
        """What an objective attacks of each model: the least that it needs, loaded when needed.

        Raises:
            ModelError: If a model has no more than an autoencoder, or its edits are not run here.
        """
        if needs == "autoencoder":
            return list(self.autoencoders.values())
        load = load_editor if needs == "editor" else load_denoiser
        found = [self._denoiser(name, load) for name in self.autoencoders]
        for each in found:
            if needs == "editor" and not isinstance(each, LatentEditor):
                raise no_whole_edit(each.name)
        return list(found)

    def _denoiser(
        self, name: str, load: Callable[..., LatentEditor | FlowDenoiser]
    ) -> LatentEditor | FlowDenoiser:
        model = self.autoencoders[name]
        if not isinstance(model, PosteriorAutoencoder):
            raise ModelError(f"model {name} is no more than an autoencoder: it cannot edit")
        if name not in self._denoisers:
            self._denoisers[name] = load(
                name, device=self._device, autoencoder=model, weights=self._weights
            )
        return self._denoisers[name]
