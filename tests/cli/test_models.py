"""``photovax models``."""

import json
import re
import shutil

import huggingface_hub
import pytest
from typer.testing import CliRunner

from photovax.cli import app
from photovax.errors import ModelError, UnknownName
from photovax.models.catalog import hub
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import model_folder
from tests.hub_cache import Hub, keep

pytestmark = pytest.mark.usefixtures("cache")


def photovax(*arguments):
    return CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)


def test_the_command_line_lists_shows_and_pulls(monkeypatch, tmp_path, cache, editor_folder):
    plain = photovax().output
    assert plain == photovax("list").output
    assert all(re.search(rf"^{name} ", plain, re.MULTILINE) for name in CATALOG)
    assert re.search(r"^embedded +here", plain, re.MULTILINE)
    assert not re.search(r"^sd15 +here", plain, re.MULTILINE)
    keep(cache, CATALOG["sd15"].sources[0].repository, editor_folder)
    assert re.search(r"^sd15 +here", photovax().output, re.MULTILINE)
    rows = json.loads(photovax("--json").output)
    assert set(rows) == set(CATALOG)
    assert rows["sd15"]["weights"] == str(model_folder("sd15"))
    shown = photovax("show", "sd3").output
    assert "16 channels, 1/8 size, (z - 0.0609) * 1.5305" in shown
    assert "to be accepted on the hub" in shown
    row = json.loads(photovax("show", "sd3", "--json").output)
    assert row["attacks"] == "latent, posterior, denoiser, edit"
    assert (row["edits"], "untrained" in row["proven"]) == ("img2img", True)
    assert "trained weights" in json.loads(photovax("show", "embedded", "--json").output)["proven"]
    assert not json.loads(photovax("show", "flux1", "--json").output)["proven"]
    asked = Hub([str(tmp_path)])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    monkeypatch.setattr(hub, "_reach", lambda _name: None)
    # The default attack needs no more than the autoencoder, and the rest is gigabytes.
    assert photovax("pull", "sd15").output.strip() == str(tmp_path)
    photovax("pull", "sd15", "--editor")
    assert len(asked.asked[0][2]) == 2
    assert "unet/config.json" in asked.asked[1][2]
    with pytest.raises(UnknownName, match="did you mean 'sd15'"):
        photovax("show", "sd115")


def test_an_autoencoder_alone_is_told_from_the_whole(cache, editor_folder, tmp_path):
    shutil.copytree(editor_folder / "vae", tmp_path / "alone" / "vae")
    keep(cache, CATALOG["sd15"].sources[0].repository, tmp_path / "alone")
    assert re.search(r"^sd15 +part ", photovax().output, re.MULTILINE)
    shown = photovax("show", "sd15").output
    assert "the autoencoder alone; photovax models pull sd15 --editor" in shown
    row = json.loads(photovax("show", "sd15", "--json").output)
    assert (row["here"], row["whole"]) == (True, False)


def test_folders_are_shown_as_well(editor_folder, tmp_path):
    row = json.loads(photovax("show", str(editor_folder), "--json").output)
    assert (row["autoencoder"], row["latent"]) == ("AutoencoderKL", "4 channels")
    assert row["attacks"] == "latent, denoiser, edit"
    assert set(row["edits"].split(", ")) == {"instruct", "inpaint", "img2img"}
    assert row["megabytes"] > 0
    assert f"weights     {editor_folder}" in photovax("show", str(editor_folder)).output
    alone = json.loads(photovax("show", str(editor_folder / "vae"), "--json").output)
    assert (alone["attacks"], alone["edits"]) == ("latent", "")
    with pytest.raises(ModelError, match=r"no config\.json in"):
        photovax("show", str(tmp_path))
