"""Providers that tests share: they change nothing of them."""

from dataclasses import replace

import pytest

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.certificates.register import Registered
from photovax.models.catalog.places import model_folder
from tests.certificates.provider import Provider, next_version


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
    folder = tmp_path_factory.mktemp("next") / "embedded" / "vae"
    return next_version(model_folder("embedded") / "vae", folder, "2")
