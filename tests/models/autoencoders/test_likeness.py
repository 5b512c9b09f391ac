"""Bare autoencoders are told by their latents, or by the published digest of their file."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from photovax.errors import ModelError
from photovax.models.autoencoders import likeness
from photovax.models.autoencoders.load import load_folder
from photovax.models.catalog.entries import CATALOG, PUBLISHED, Latent
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import read_photo
from photovax.pictures.resize import resized
from photovax.pictures.sample import SAMPLE
from photovax.tensors import tensor
from tests.hub_cache import keep

parts: Any = diffusers  # its classes look empty to a type checker
CPU = torch.device("cpu")
LEVELS = {
    "block_out_channels": (4, 4, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 2,
}
SD, XL = CATALOG["sd15"].latent, CATALOG["sdxl"].latent
SD3, FLUX = CATALOG["sd3"].latent, CATALOG["flux1"].latent


def spread(folder, told: str, true: Latent, *, contrast: float = 1.0, shift: float = 0.0):
    """An autoencoder with the configuration of one model and latents spread as those of another.

    Args:
        folder: Where to.
        told: Catalogue name of the configuration.
        true: Latent whose means and deviations those of the sample photo get.
        contrast: Factor of the deviations, as one photo's are not those of all photos.
        shift: Further offset of the means, in deviations.
    """
    torch.manual_seed(0)
    channels = true.channels
    scale, offset = CATALOG[told].latent.scale, CATALOG[told].latent.shift
    model = parts.AutoencoderKL(
        **LEVELS, latent_channels=channels, scaling_factor=scale, shift_factor=offset or None
    )
    photo = tensor(np.asarray(resized(read_photo(SAMPLE).pixels, 256)))
    with torch.no_grad():
        raw = model.encoder(photo * 2 - 1)[0, :channels].flatten(1)
        means = torch.tensor(true.means or (true.shift,) * channels)
        deviations = torch.tensor(true.deviations or (1 / true.scale,) * channels)
        gain = contrast * deviations / raw.std(dim=1)
        model.quant_conv.weight.zero_()
        for channel in range(channels):
            model.quant_conv.weight[channel, channel] = gain[channel]
        model.quant_conv.bias[:channels] = means + shift * deviations - gain * raw.mean(dim=1)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("contrast", "shift"), [(1.0, 0.0), (0.5, 0.3), (0.7, -0.3), (1.1, 0.2)])
@pytest.mark.parametrize(
    ("told", "true", "other"),
    [("sd15", SD, "sdxl"), ("sdxl", XL, "sd15"), ("sd3", SD3, "flux1"), ("flux1", FLUX, "sd3")],
)
def test_latents_name_their_model(told, true, other, contrast, shift, tmp_path):
    own = spread(tmp_path / "own", told, true, contrast=contrast, shift=shift)
    loaded = load_autoencoder(told, device=CPU, weights=own)
    assert loaded.identified_by == "its latents of the sample photo"
    # The same weights with the configuration of the other model, which fits them as well.
    wrong = spread(tmp_path / "wrong", other, true, contrast=contrast, shift=shift)
    with pytest.raises(ModelError, match=f"model {other}: .*latents of the sample photo are like"):
        load_autoencoder(other, device=CPU, weights=wrong)


def test_a_lone_file_of_another_model_is_refused_with_its_name(tmp_path, monkeypatch):
    folder = spread(tmp_path / "vae", "sdxl", XL)
    shape = json.loads((folder / "config.json").read_text())
    for name in ("sd15", "sdxl"):
        config = shape | {"scaling_factor": CATALOG[name].latent.scale}
        monkeypatch.setitem(CATALOG, name, replace(CATALOG[name], config=config))
    file = folder / "diffusion_pytorch_model.safetensors"
    with pytest.raises(ModelError) as caught:
        load_autoencoder("sd15", device=CPU, weights=file)
    assert caught.value.line.startswith(
        f"model sd15: {file} is of another model: its latents of the sample photo are like those "
        "of sdxl; name it with --model sdxl or "
    )
    loaded = load_autoencoder("sdxl", device=CPU, weights=file)
    assert loaded.identified_by == "its latents of the sample photo"


@pytest.mark.parametrize("contrast", [0.01, 20.0])
def test_what_is_like_none_is_as_told(contrast, tmp_path):
    folder = spread(tmp_path / "vae", "sd15", SD, contrast=contrast)
    assert load_autoencoder("sd15", device=CPU, weights=folder).identified_by.startswith("as told")


def test_a_published_digest_comes_first(tmp_path, monkeypatch):
    folder = spread(tmp_path / "vae", "sd15", SD)
    digest = load_folder(folder, name="x", device=CPU).digest
    monkeypatch.setitem(PUBLISHED, digest, SD)
    monkeypatch.setattr(likeness, "_by_latents", pytest.fail)
    loaded = load_autoencoder("sd2", device=CPU, weights=folder)
    assert loaded.identified_by == "the published SHA-256 of its file"
    monkeypatch.setitem(PUBLISHED, digest, XL)
    with pytest.raises(ModelError, match="its SHA-256 is published as that of sdxl"):
        load_autoencoder("sd15", device=CPU, weights=folder)
    assert all(len(known) == 64 and int(known, 16) for known in PUBLISHED)


def test_shipped_and_cached_models_are_known_by_their_place(cache, sd):
    assert load_autoencoder("embedded", device=CPU).identified_by == "shipped with photovax"
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
    assert "repository" in load_autoencoder("sd15", device=CPU).identified_by
