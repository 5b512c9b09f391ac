"""Files of perturbation networks: weights in safetensors, with what they were trained for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from photovax.attack.networks.headers import FORMAT, OPPOSED, SHIPPED, told_by
from photovax.attack.networks.network import PerturbationNetwork, placed
from photovax.digests import file_digest
from photovax.errors import ModelError
from photovax.models.contracts import Autoencoder
from photovax.pictures.atomic import write_bytes

__all__ = ["Networks", "Trained", "networks_of", "read_network", "write_network"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    Attributes:
        network: Network, in evaluation mode and without weight gradients.
        model: Name of the autoencoder that it was trained against.
        model_digest: SHA-256 of the autoencoder's weights, in hexadecimal digits.
        digest: SHA-256 of the network's file, in hexadecimal digits.
    """

    network: PerturbationNetwork
    model: str
    model_digest: str
    digest: str


Networks = dict[tuple[str, bool], Callable[[], Trained]]
"""By the name of the model, and whether they were trained beside a denoiser."""


def write_network(
    network: PerturbationNetwork,
    file: Path,
    *,
    model: str,
    model_digest: str,
    opposed: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a network in half precision.

    Args:
        network: Network.
        file: File to write.
        model: Name of the autoencoder that it was trained against.
        model_digest: SHA-256 of the autoencoder's weights, in hexadecimal digits.
        opposed: Whether it was trained beside a denoiser (``photovax.learning.opponent``).
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputExists: If the file exists and must not be replaced.
        SaveError: If the disk refuses the file.
    """
    shape = {"widths": list(network.widths), "blocks": network.blocks}
    told = {"format": FORMAT, "model": model, "model_digest": model_digest}
    if opposed:
        told[OPPOSED] = "yes"
    weights = {name: each.half().contiguous() for name, each in network.state_dict().items()}
    data = save(weights, metadata={**told, "shape": json.dumps(shape)})
    write_bytes(data, file, overwrite=overwrite)


def read_network(file: Path, device: torch.device) -> Trained:
    """Read a network.

    Args:
        file: File that ``write_network`` wrote.
        device: Device on which to load it.

    Raises:
        ModelError: If the file cannot be read, or is no perturbation network.
    """
    told = told_by(file)
    try:
        shape = json.loads(told["shape"])
        network = PerturbationNetwork(tuple(shape["widths"]), shape["blocks"])
        with safe_open(file, framework="pt") as opened:
            weights = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
        network.load_state_dict(weights)
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip() or type(error).__name__
        raise ModelError(f"network {file}: damaged: {reason}") from None
    placed(network.eval().requires_grad_(False), device)
    return Trained(network, told["model"], told["model_digest"], file_digest(file))


def networks_of(
    models: Sequence[Autoencoder], files: Sequence[Path], device: torch.device
) -> Networks:
    """The networks of some models, each read when it is first asked for.

    Args:
        models: Autoencoders.
        files: Files of networks; those in ``SHIPPED`` are known without being given. One that is
            given and was trained beside a denoiser stands for both kinds of its model, unless
            another one is given, too.
        device: Device on which to load them.

    Raises:
        ModelError: If one of ``files`` cannot be read, or was trained against none of these models.
    """
    found: Networks = {}
    given = sorted(files, key=lambda file: OPPOSED not in told_by(file))
    for file in (*SHIPPED, *given):
        told = told_by(file)
        names = [model.name for model in models if model.digest == told["model_digest"]]
        if not names and file in files:
            raise ModelError(
                f"network {file} is of {told['model']} with weights {told['model_digest'][:12]}, "
                "not of " + ", ".join(f"{model.name} with {model.digest[:12]}" for model in models)
            )
        network = cache(partial(read_network, file, device))
        if names and file in files:
            network()  # so that damage is told now
        opposed = OPPOSED in told
        kinds = (True, False) if opposed and file in files else (opposed,)
        found.update({(name, kind): network for name in names for kind in kinds})
    return found
