"""Models by name, from where their weights are found."""

import shutil
from typing import Any

import diffusers
import pytest
import torch

from photovax.errors import ModelError, UnknownName, UsageError
from photovax.immunizer import Immunizer
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import model_folder
from photovax.models.load import load_autoencoder, load_editor, pull, usual_edit
from photovax.models.unet.editor import LatentEditor
from photovax.pictures.photo import read_photo
from tests.hub_cache import keep

parts: Any = diffusers  # its classes look empty to a type checker
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("name", ["pixart", "flux1", "taesd"])
def test_mere_autoencoders_cannot_edit(name):
    for refused in (lambda: load_editor(name, device=CPU), lambda: usual_edit(name, "inpaint")):
        with pytest.raises(ModelError, match="autoencoder: it cannot edit"):
            refused()


def test_editors_say_which_edits_they_know():
    with pytest.raises(UsageError, match="cannot inpaint; it knows instruct"):
        usual_edit("instruct-pix2pix", "inpaint")


def test_a_cached_model_loads_by_its_name(cache, sd, photo_file, quick):
    source = CATALOG["sd15"].sources[0]
    assert source.revision is not None
    snapshot = keep(cache, source.repository, sd, commit=source.revision, newest=False)
    assert model_folder("sd15") == snapshot
    loaded = load_autoencoder("sd15", device=CPU)
    assert (loaded.name, loaded.size) == ("sd15", 512)
    assert loaded.digest == load_autoencoder(str(sd), device=CPU).digest
    editor = load_editor("sd15", device=CPU)
    assert isinstance(editor, LatentEditor)
    assert set(editor.unets) == {"img2img"}
    immunizer = Immunizer(["sd15"], device="cpu")
    result = immunizer.immunize(read_photo(photo_file), quick)
    assert immunizer.digests(quick) == [loaded.digest]
    assert (result.photo.pixels != result.original.pixels).any()


def test_weights_may_be_one_file(tmp_path):
    torch.manual_seed(0)
    model = parts.AutoencoderTiny()
    model.save_pretrained(tmp_path / "made")
    file = tmp_path / "made" / "diffusion_pytorch_model.safetensors"
    loaded = load_autoencoder("taesd", device=CPU, weights=file)
    assert loaded.encode(torch.rand(1, 3, 16, 16)).shape == (1, 4, 2, 2)
    shutil.copyfile(file, tmp_path / "taesd.safetensors")
    assert load_autoencoder("taesd", device=CPU, weights=tmp_path).digest == loaded.digest
    with pytest.raises(ModelError, match="a file does not name its model"):
        load_autoencoder(str(file), device=CPU)


def test_unknown_names_suggest_the_nearest():
    for called in (load_autoencoder, load_editor):
        with pytest.raises(UnknownName, match="did you mean 'kandinsky22'"):
            called("kandinsky2", device=CPU)
    with pytest.raises(UnknownName, match="did you mean 'flux1'"):
        pull("flux11", whole=True)
