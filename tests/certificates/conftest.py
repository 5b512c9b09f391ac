"""Providers that tests share: they change nothing of them."""

import shutil
from dataclasses import replace

import pytest

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.certificates.register import Registered, registered
from tests.certificates.provider import Provider


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return Provider(tmp_path_factory.mktemp("provider"))


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    """A provider with the default recipe, whose budget is of what is seen."""
    recipe = replace(load_recipe(DEFAULT), steps=4, size=64)
    return Provider(tmp_path_factory.mktemp("usual"), recipe)


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    """The embedded model with slightly other weights: the next version of it."""
    from safetensors.torch import load_file, save_file

    from photovax.models.catalog.places import model_folder

    folder = tmp_path_factory.mktemp("next") / "embedded"
    shutil.copytree(model_folder("embedded") / "vae", folder / "vae")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: 1.01 * value for name, value in load_file(file).items()}, file)
    return registered(str(folder / "vae"), name="embedded", version="2")
