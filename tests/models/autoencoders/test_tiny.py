"""Third-party tiny autoencoders: their true weights where these are at hand."""

import hashlib
import json
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from typer.testing import CliRunner

from photovax.attack.presets import PRESETS
from photovax.checks.check import check
from photovax.cli import app
from photovax.errors import ModelError
from photovax.immunizer import Immunizer
from photovax.models.autoencoders.tiny import TINY, TinyAutoencoder
from photovax.models.catalog.entries import CATALOG
from photovax.models.load import load_autoencoder, load_editor
from photovax.pictures.photo import read_photo
from photovax.tensors import tensor
from tests.places import SHARED

CPU = torch.device("cpu")
WEIGHTS = SHARED / "weights"
needs_weights = pytest.mark.skipif(
    not (WEIGHTS / "taef2_encoder.pth").exists(), reason="needs PHOTOVAX_SHARED's weights"
)


@pytest.mark.parametrize("name", list(TINY))
def test_latents_are_smaller_by_the_documented_factor(name):
    factor, encoder, decoder = TINY[name]
    model = TinyAutoencoder(encoder(), decoder and decoder(), design=name, name=name, digest="")
    latents = model.encode(torch.zeros(2, 1, 60, 90))
    channels = CATALOG[name].latent.channels
    assert latents.shape == (2, channels, -(-60 // factor), -(-90 // factor))
    assert factor == CATALOG[name].latent.downscale
    if model.decodes:
        assert model.decode(latents).shape == (2, 3, 64, 96)
    else:
        with pytest.raises(ModelError, match="has no decoder"):
            model.decode(latents)


@needs_weights
def test_true_weights_reconstruct_a_photo(photo_file):
    model = load_autoencoder("taef2", device=CPU, weights=WEIGHTS)
    pixels = read_photo(photo_file).pixels[:120, :144]
    seen = tensor(np.ascontiguousarray(pixels), CPU)
    with torch.no_grad():
        latents = model.encode(seen)
        error = (model.decode(latents) - seen).square().mean()
    assert -10 * error.log10() > 28
    assert 0.5 < latents.std() < 2


@pytest.mark.parametrize("name", ["taesd", "taef1"])
def test_loose_files_are_those_of_diffusers_in_other_names(name, tmp_path):
    """The same weights in both layouts give the same latents and pictures."""
    kind: Any = diffusers.AutoencoderTiny  # its classes look empty to a type checker
    model = kind(latent_channels=CATALOG[name].latent.channels)
    model.save_pretrained(tmp_path / "whole")
    for part, offset in (("encoder", 0), ("decoder", 1)):
        state = {}
        for key, value in getattr(model, part).state_dict().items():
            layer, rest = key.removeprefix("layers.").split(".", 1)
            state[f"{int(layer) + offset}.{rest}"] = value
        torch.save(state, tmp_path / f"{name}_{part}.pth")
    loose = load_autoencoder(name, device=CPU, weights=tmp_path)
    folder = load_autoencoder(name, device=CPU, weights=tmp_path / "whole")
    assert isinstance(loose, TinyAutoencoder)
    assert not isinstance(folder, TinyAutoencoder)
    images = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = loose.encode(images)
        torch.testing.assert_close(folder.encode(images), latents)
        torch.testing.assert_close(folder.decode(latents), loose.decode(latents))


def test_both_parts_may_come_in_one_file(tmp_path):
    _, encoder, decoder = TINY["taef2"]
    assert decoder is not None
    modules = {"encoder": encoder(), "decoder": decoder()}
    joined = {}
    for part, module in modules.items():
        for key, value in module.state_dict().items():
            layer, rest = key.split(".", 1)
            number = int(layer) - (part == "decoder")
            joined[f"{part}.layers.{number}.{rest}"] = value
    save_file(joined, tmp_path / "taef2.safetensors")
    loaded = load_autoencoder("taef2", device=CPU, weights=tmp_path)
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted = TinyAutoencoder(
        modules["encoder"], modules["decoder"], design="taef2", name="taef2", digest=""
    )
    with torch.no_grad():
        latents = loaded.encode(images)
        assert torch.equal(latents, wanted.encode(images))
        assert torch.equal(loaded.decode(latents), wanted.decode(latents))


@needs_weights
@pytest.mark.parametrize("name", ["taef2", "taesana"])
def test_they_can_be_immunized_against(name, quick, photo_file, tmp_path):
    immunizer = Immunizer([name], weights=WEIGHTS, device="cpu")
    result = immunizer.immunize(read_photo(photo_file), quick)
    saved = immunizer.save(result, tmp_path / "out.png")
    effect = saved.effects[name]
    found = check(
        read_photo(saved.path), read_photo(photo_file), models=[name], weights=WEIGHTS, size=96
    )
    assert effect.shift > 0
    assert found.models[name].effect.shift > 2 * found.models[name].floor.shift
    assert (found.models[name].effect.damage is None) == (name == "taesana")


@needs_weights
def test_the_command_line_takes_a_folder_of_weights(photo_file, tmp_path):
    (tmp_path / "quick.toml").write_text('preset = "fast"\nsteps = 2\n')
    out = tmp_path / "out.png"
    done = CliRunner().invoke(
        app,
        [
            *("immunize", str(photo_file), "--model", "taef2", "--weights", str(WEIGHTS)),
            *("--recipe", str(tmp_path / "quick.toml"), "--size", "64", "--device", "cpu"),
            *("-o", str(out), "--json"),
        ],
    )
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)[0]["record"]
    weights = load_autoencoder("taef2", device=CPU, weights=WEIGHTS).digest
    told = "as told: nothing in its weights names their model"
    assert record["models"] == [{"name": "taef2", "sha256": weights, "identified_by": told}]
    assert record["effects"]["taef2"]["shift"] > 0
    assert record["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()


def test_missing_weights_say_what_to_get(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for weights in (None, tmp_path):
        for name in ("taef2", "taesana"):
            with pytest.raises(ModelError, match=f"model {name}: no weights") as caught:
                load_autoencoder(name, device=CPU, weights=weights)
            assert f"put {name}_encoder.pth " in (caught.value.hint or "")
            assert "--weights FOLDER" in (caught.value.hint or "")
    (tmp_path / "taesana_encoder.pth").write_bytes(b"not a state dict")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_autoencoder("taesana", device=CPU, weights=tmp_path)


def test_an_autoencoder_alone_cannot_edit(photo_file):
    with pytest.raises(ModelError, match="autoencoder: it cannot edit"):
        load_editor("taef2", device=CPU)
    if (WEIGHTS / "taesana_encoder.pth").exists():
        immunizer = Immunizer(["taesana"], weights=WEIGHTS, device="cpu")
        with pytest.raises(ModelError, match="autoencoder: it cannot edit"):
            immunizer.immunize(read_photo(photo_file), PRESETS["advdm"])
