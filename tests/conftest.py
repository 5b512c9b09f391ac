import os
import secrets
import sys
import uuid

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported
# Of processes that tests start: many threads make small work slower, and tests run side by side.
os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from photovax.attack.networks import whole
from photovax.attack.networks.files import write_network
from photovax.attack.networks.headers import shipped_for, told_by
from photovax.attack.networks.network import PerturbationNetwork
from photovax.attack.networks.onnx import converted
from photovax.attack.recipe import Recipe
from photovax.immunizer import Immunizer
from photovax.registry import Part
from tests.models.transformer.untrained import save_flows
from tests.postgres import postgres_server, with_schema
from tests.untrained import save_sd, save_sdxl

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def immunizer() -> Immunizer:
    return Immunizer(device="cpu")


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perturbation network of the embedded model with random weights, quick to run."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("network") / "small.safetensors"
    of = told_by(shipped_for("embedded") or Path())
    network = PerturbationNetwork((8, 8, 8), 1)
    write_network(network, file, model="embedded", model_digest=of["model_digest"])
    return file


@pytest.fixture
def untraced() -> Iterator[None]:
    """Without coverage, which doubles the time of torch.export.

    The marker ``no_cover`` of pytest-cov does nothing in the processes of pytest-xdist.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture
def converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first recipe's graph is that of all: each conversion takes torch.export long."""
    made: list[Any] = []

    def once(*arguments: Any, **options: Any) -> Any:
        if not made:
            made.append(converted(*arguments, **options))
        return deepcopy(made[0])

    monkeypatch.setattr(whole, "converted", once)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    place = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place))
    return place


@pytest.fixture(scope="session")
def postgres_database() -> Iterator[str]:
    """The URL of a PostgreSQL database: $PHOTOVAX_TEST_DATABASE, or one of a server of our own."""
    pytest.importorskip("psycopg")
    if given := os.environ.get("PHOTOVAX_TEST_DATABASE"):
        yield given
        return
    with postgres_server() as url:
        if url is None:
            pytest.skip("needs PostgreSQL's initdb, or a URL in PHOTOVAX_TEST_DATABASE")
        yield url


@pytest.fixture
def postgres(postgres_database: str) -> Iterator[str]:
    """The same, with a schema in which nothing is yet."""
    import psycopg

    name = f"photovax_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield with_schema(postgres_database, name)
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server on this machine."""
    needs = 'needs pip install "photovax[s3]", and moto, flask and flask-cors'
    pytest.importorskip("s3fs", reason=needs)
    server = pytest.importorskip("moto.server", reason=needs)
    running = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"photos-{uuid.uuid4().hex}"
    store.mkdir(name)
    yield f"s3://{name}"
    type(store).clear_instance_cache()
    running.stop()


@pytest.fixture
def quick() -> Recipe:
    """The default objective at a size that a test can afford."""
    return Recipe(
        objective=Part("latent_drift"),
        budget=Part("linf", {"radius": 8 / 255}),
        views=(Part("short_side", {"pixels": 64}), Part("short_side", {"pixels": 96})),
        steps=4,
        size=64,
        step_size=4 / 255,
        schedule="cosine",
        draws=1,
    )


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    """A small piece of the sample photo, as a JPEG of odd sides."""
    from photovax.pictures.sample import SAMPLE

    with Image.open(SAMPLE) as sample:
        sample.crop((150, 20, 301, 147)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path / "photo.jpg"


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (41, 53, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def editor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pipeline folder, with a denoiser for each way of editing."""
    folder = tmp_path_factory.mktemp("editor")
    save_sd(folder)
    return folder


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of SDXL's form."""
    folder = tmp_path_factory.mktemp("sdxl")
    save_sdxl(folder)
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, editor_folder: Path) -> dict[str, Path]:
    """An untrained pipeline folder of each kind of transformer."""
    return save_flows(tmp_path_factory.mktemp("flows"), editor_folder)
