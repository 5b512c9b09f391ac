"""``photovax models``."""

import json
import re

import huggingface_hub
import pytest
from typer.testing import CliRunner

from photovax.cli import app
from photovax.errors import UnknownName
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
    assert (
        json.loads(photovax("show", "sd3", "--json").output)["attacks"]
        == "latent, posterior, denoiser"
    )
    asked = Hub([str(tmp_path)])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    assert photovax("pull", "sd15", "--autoencoder").output.strip() == str(tmp_path)
    assert len(asked.asked[0][2]) == 2
    with pytest.raises(UnknownName, match="did you mean 'sd15'"):
        photovax("show", "sd115")
