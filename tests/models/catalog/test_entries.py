"""What the catalogue says of each model."""

import json
import re
from typing import Any

import diffusers
import pytest
import torch

from photovax.models.autoencoders.families import FAMILIES, MoVQAutoencoder
from photovax.models.autoencoders.tiny import TINY
from photovax.models.catalog import hub
from photovax.models.catalog.describe import described
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import fed_size, model_folder
from photovax.models.load import load_autoencoder, usual_edit
from tests.places import ROOT

parts: Any = diffusers  # its classes look empty to a type checker
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("name", list(CATALOG))
def test_every_entry_is_complete(name):
    entry = CATALOG[name]
    assert entry.summary
    assert entry.licence
    assert entry.memory.endswith(" GB")
    assert entry.pace in ("light", "medium", "heavy")
    assert entry.size % entry.latent.downscale == 0
    assert entry.attacks[0] == "latent"
    assert ("edit" in entry.attacks) == bool(entry.edits)
    assert bool(entry.folder) + bool(entry.sources or entry.files) == 1
    assert bool(entry.config) or entry.folder or name in TINY
    for mode in entry.edits:
        assert usual_edit(name, mode).mode == mode
    for source in entry.sources:
        assert hub.looks_like_repository(source.repository)
        assert source.revision is None or re.fullmatch("[0-9a-f]{40}", source.revision)
    assert fed_size(name) == entry.size
    told = described(name)
    assert "\n" not in told["command"] + told["by hand"]


def test_the_embedded_models_latent_is_as_documented():
    latent = load_autoencoder("embedded", device=CPU).encode(torch.zeros(1, 3, 64, 64))
    config = json.loads((model_folder("embedded") / "vae" / "config.json").read_text())
    assert latent.shape == (1, CATALOG["embedded"].latent.channels, 8, 8)
    assert CATALOG["embedded"].latent.scale == config["scaling_factor"]


def test_the_documentation_names_them_all():
    text = (ROOT / "docs" / "models.md").read_text()
    before, _ = text.split("## Attention", 1)  # whose table is of recipes
    table = [line for line in before.splitlines() if line.startswith("| `")]
    assert [name for line in table for name in re.findall("`(.*?)`", line)] == list(CATALOG)


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.config])
def test_configs_give_the_latents_that_are_documented(name):
    entry = CATALOG[name]
    kind = entry.config["_class_name"]
    with torch.device("meta"):
        model = getattr(parts, kind).from_config(dict(entry.config))
        adapter = FAMILIES[kind](model, name=name, digest="", size=entry.size)
        image = torch.empty(1, 3, entry.size, entry.size)
        latents = adapter.encode(image)
    assert latents.shape[1] == entry.latent.channels
    assert latents.shape[-1] * entry.latent.downscale == entry.size
    assert adapter.multiple == entry.latent.downscale
    assert hasattr(adapter, "posterior") == entry.posterior
    if not isinstance(adapter, MoVQAutoencoder) and not entry.latent.note:
        assert entry.latent.scale == getattr(model.config, "scaling_factor", 1.0)
        assert entry.latent.shift == (getattr(model.config, "shift_factor", 0.0) or 0.0)
