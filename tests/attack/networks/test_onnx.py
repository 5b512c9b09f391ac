"""Perturbation networks as ONNX graphs give what PyTorch gives, at any size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from photovax.attack.networks.files import read_network
from photovax.attack.networks.headers import SHIPPED
from photovax.attack.networks.onnx import export
from photovax.cli import app
from photovax.digests import file_digest
from photovax.errors import OutputExists, PhotovaxError, UsageError
from photovax.tensors import CPU

needs = 'needs pip install "photovax[onnx]"'
onnx = pytest.importorskip("onnx", reason=needs)
onnxruntime = pytest.importorskip("onnxruntime", reason=needs)
pytest.importorskip("onnxscript", reason=needs)


def photovax(*arguments: object) -> PhotovaxError | None:
    done = CliRunner().invoke(app, ["models", "export-network", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, PhotovaxError), done.exception
    return done.exception


@pytest.fixture(scope="module")
def graph(network_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("graph") / "small.onnx"
    assert photovax(network_file, "-o", file) is None
    return file


@pytest.mark.parametrize("shape", [(1, 40, 56), (3, 37, 91), (1, 16, 16), (1, 1, 5)])
def test_the_graph_gives_what_the_network_gives(graph: Path, network_file: Path, shape) -> None:
    count, height, width = shape
    chance = torch.Generator().manual_seed(1)
    photo = torch.rand(count, 3, height, width, generator=chance)
    allowance = 0.5 + 3 * torch.rand(count, 1, height, width, generator=chance)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for degree in (20.0, 38.0):
        given = {
            "photo": photo.numpy(),
            "allowance": allowance.numpy(),
            "degree": np.array(degree, dtype=np.float32),
        }
        (found,) = session.run(None, given)
        with torch.no_grad():
            wanted = read_network(network_file, CPU).network(photo, allowance, degree).numpy()
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_the_graph_says_what_it_is_of(graph: Path, network_file: Path) -> None:
    model = onnx.load(graph)
    onnx.checker.check_model(model)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["model"] == "embedded"
    assert told["network_digest"] == file_digest(network_file)
    assert str(Path.cwd()) not in str(model)  # of the machine that wrote it


def test_what_cannot_be_exported_is_said(graph: Path, network_file: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExists, match=r"small\.onnx"):
        export(network_file, graph)
    refused = photovax(SHIPPED[0], "-o", tmp_path / "a.safetensors")
    assert isinstance(refused, UsageError)
    assert "must end in .onnx" in str(refused)
    assert "cannot be read: No such file" in str(photovax("sd15", "-o", tmp_path / "a.onnx"))
    assert list(tmp_path.iterdir()) == []
