"""Perturbation networks as ONNX graphs, for runtimes other than PyTorch.

The graph is the network alone: what makes a change of its thresholds, within the budget, is in that
of ``photovax.attack.networks.whole``, and what verifies the saved file is in none.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from photovax.attack.networks.files import Trained, read_network
from photovax.attack.networks.headers import FORMAT
from photovax.attack.networks.network import USUAL_DEGREE, PerturbationNetwork
from photovax.errors import ModelError, first_line
from photovax.extras import package
from photovax.pictures.atomic import check_free, write_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["INPUTS", "OPSET", "OUTPUT", "check_packages", "converted", "export", "thresholds"]

INPUTS = ("photo", "allowance", "degree")
"""Inputs of the graph: those of ``PerturbationNetwork.forward``, the last one a scalar."""

OUTPUT = "thresholds"
OPSET = 18

_EXAMPLE = (2, 40, 56)  # any size: the batch and both sides are symbols in the graph


class _Graph(nn.Module):
    """A network whose pixels per degree are a tensor, which a graph can have as an input."""

    def __init__(self, network: PerturbationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo: Tensor, allowance: Tensor, degree: Tensor) -> Tensor:
        return thresholds(self.network, photo, allowance, degree)


def thresholds(
    network: PerturbationNetwork, photo: Tensor, allowance: Tensor, degree: Tensor
) -> Tensor:
    """What a network gives, for pixels per degree as a tensor, which a graph can be given."""
    return network.viewed(photo, allowance, torch.log2(degree / USUAL_DEGREE).expand_as(allowance))


def export(network: Path, file: Path, *, overwrite: bool = False) -> None:
    """Write a network as an ONNX graph in float32, for photos of any size and batches of any.

    The metadata of the file are those of the network, and its SHA-256 (``network_digest``).

    Args:
        network: File of the network, as ``photovax train-immunizer`` writes it.
        file: File to write.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: If a package of the extra ``onnx`` is missing.
        ModelError: If the network cannot be read, or not be converted.
        OutputExists: If the file exists and must not be replaced.
        SaveError: If the disk refuses the file.
    """
    check_free(file, overwrite=overwrite)
    check_packages()
    trained = read_network(network, torch.device("cpu"))
    count, height, width = _EXAMPLE
    given = (
        torch.rand(count, 3, height, width),
        torch.ones(count, 1, height, width),
        torch.tensor(USUAL_DEGREE),
    )
    sides = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    model = converted(
        _Graph(trained.network),
        given,
        inputs=INPUTS,
        outputs=(OUTPUT,),
        any_size=(sides, sides, {}),
        trained=trained,
        told={"format": FORMAT},
    )
    write_bytes(model.SerializeToString(), file, overwrite=overwrite)


def check_packages() -> None:
    """Check that the packages of the extra ``onnx`` are there.

    Raises:
        UsageError: If one is missing.
    """
    for name in ("onnx", "onnxscript"):
        package(name, install="photovax[onnx]", user="ONNX")


def converted(
    module: nn.Module,
    given: tuple[Tensor, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    any_size: tuple[Mapping[int, Any], ...],
    trained: Trained,
    told: Mapping[str, str],
) -> ModelProto:
    """A module as an ONNX graph in float32.

    Args:
        module: Module.
        given: Examples of its inputs.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        any_size: For each input the dimensions that are symbols in the graph.
        trained: Network inside it, which the metadata name.
        told: More metadata.

    Raises:
        ModelError: If it cannot be converted.
    """
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                given,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=any_size,
                verbose=False,
            )
    except Exception as error:
        raise ModelError(
            f"the network of {trained.model} cannot be converted: {first_line(error)}"
        ) from error
    assert program is not None  # noqa: S101 - for the type checker: no file was given
    model = program.model_proto
    # The exporter notes the lines of code, with paths of this machine.
    for each in (model.graph, *model.graph.node):
        del each.metadata_props[:]
    del model.graph.value_info[:]  # runtimes infer these shapes
    facts = {
        **told,
        "model": trained.model,
        "model_digest": trained.model_digest,
        "network_digest": trained.digest,
    }
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own steps."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
