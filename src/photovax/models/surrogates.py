"""Surrogates: the attacked models, whose parts are loaded when an objective first needs them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from photovax.models.catalog.fits import check_used
from photovax.models.catalog.places import each_once
from photovax.models.load import load_autoencoder, load_editor

if TYPE_CHECKING:
    import torch

    from photovax.models.contracts import Autoencoder, Need
    from photovax.models.transformer.editor import FlowEditor
    from photovax.models.unet.editor import LatentEditor

__all__ = ["Surrogates"]


class Surrogates:
    """Attacked models by name.

    Args:
        names: Catalogue names or folders.
        device: Device on which to load the models.
        weights: Folder of weights that do not ship with photovax.

    Attributes:
        autoencoders: Autoencoders by the name of the model.

    Raises:
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
        UsageError: If two folders have the same name.
    """

    def __init__(
        self, names: Sequence[str] | str, *, device: torch.device, weights: Path | None = None
    ) -> None:
        self._device, self._weights = device, weights
        once = each_once(names)
        check_used(once, weights)
        self.autoencoders: dict[str, Autoencoder] = {
            name: load_autoencoder(name, device=device, weights=weights) for name in once
        }
        self._editors: dict[str, LatentEditor | FlowEditor] = {}

    def only(self, names: Sequence[str]) -> Surrogates:
        """A subset of these models, which shares the loaded weights.

        Args:
            names: Names of the models.
        """
        some = copy(self)
        some.autoencoders = {name: self.autoencoders[name] for name in each_once(names)}
        return some

    def attacked(self, needs: Need) -> list[Autoencoder | LatentEditor | FlowEditor]:
        """The attacked part of each model, loaded if it is not yet.

        Args:
            needs: Part that the objective attacks: ``autoencoder``, ``denoiser`` or ``editor``.

        Raises:
            ModelError: If a model has only an autoencoder, or its weights cannot be loaded.
        """
        if needs == "autoencoder":
            return list(self.autoencoders.values())
        return [self._editor(name) for name in self.autoencoders]

    def _editor(self, name: str) -> LatentEditor | FlowEditor:
        if name not in self._editors:
            self._editors[name] = load_editor(
                name,
                device=self._device,
                autoencoder=self.autoencoders[name],
                weights=self._weights,
            )
        return self._editors[name]
