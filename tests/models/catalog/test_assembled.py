"""Pipelines whose parts come from several models."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from photovax.adversary.edits import Adversary
from photovax.attack.networks.files import write_network
from photovax.attack.networks.network import PerturbationNetwork
from photovax.doctor import Held, diagnose
from photovax.errors import ModelError
from photovax.models.autoencoders.load import load_folder
from photovax.models.autoencoders.tiny import TINY
from photovax.models.catalog.assembled import assembled
from photovax.models.catalog.describe import described
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import model_folder, part_digests
from photovax.models.load import load_autoencoder, load_editor, pull, usual_edit
from photovax.models.unet.editor import LatentEditor
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.tensors import tensor
from tests.hub_cache import keep

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def parts(tmp_path):
    """Two files under the names that they shall have."""
    (tmp_path / "here").write_text("first")
    (tmp_path / "there").write_text("second")
    return {"index.json": tmp_path / "here", "unet/config.json": tmp_path / "there"}


@pytest.fixture
def loose(tmp_path):
    """A folder of untrained ``taef2``, as its project's two files, beside another model's."""
    torch.manual_seed(3)
    folder = tmp_path / "loose"
    folder.mkdir()
    for part, make in zip(("encoder", "decoder"), TINY["taef2"][1:], strict=True):
        assert make is not None
        torch.save(make().state_dict(), folder / f"taef2_{part}.pth")
    (folder / "taesana_encoder.pth").touch()
    return folder


def read(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_text() for file in files}


def test_parts_lie_where_a_pipeline_has_them(parts, monkeypatch):
    wanted = {"index.json": "first", "unet/config.json": "second"}
    folder = assembled("lent", parts)
    assert folder.parent == Path(constants.HF_HOME) / "photovax"
    assert read(folder) == wanted
    assert assembled("lent", parts) == folder
    assert folder.stat().st_mode == folder.parent.stat().st_mode  # others may read it, too
    # On Windows, links need a permission.
    monkeypatch.setattr(Path, "symlink_to", _refuse)
    copied = assembled("copied", parts)
    assert read(copied) == wanted
    assert not any(file.is_symlink() for file in copied.rglob("*"))


def _refuse(*_):
    raise OSError("a required privilege is not held by the client")


def test_other_files_and_other_versions_of_them_are_another_folder(parts):
    first = assembled("lent", parts)
    os.utime(parts["index.json"], (1, 1))
    second = assembled("lent", parts)
    third = assembled("lent", {"other.json": parts["index.json"]})
    assert len({first, second, third}) == 3


def test_of_two_processes_one_makes_the_folder(parts, monkeypatch):
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        target.mkdir()
        (target / "theirs").touch()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    folder = assembled("lent", parts)
    assert read(folder) == {"theirs": ""}
    assert list(folder.parent.iterdir()) == [folder]


def test_what_cannot_be_written_is_said(parts, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "here"))
    with pytest.raises(ModelError, match="model lent: its parts cannot be linked") as caught:
        assembled("lent", parts)
    assert "set HF_HOME to a folder that can be written" in caught.value.line


def test_the_bench_on_flux2s_latents_edits_as_its_pipeline_does(loose):
    edit = usual_edit("bench-flux2", "instruct").asking("make it night")
    pixels = read_photo(SAMPLE).pixels[:64, :96]
    editor = load_editor("bench-flux2", device=CPU, weights=loose)
    assert isinstance(editor, LatentEditor)
    with torch.no_grad():
        own = editor.edit(
            tensor(np.ascontiguousarray(pixels), CPU), edit, torch.Generator().manual_seed(5)
        )
    theirs = Adversary("bench-flux2", device="cpu", weights=loose)
    made = theirs.edit(pixels, edit, seed=5, size=64)
    difference = own[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255 - made
    assert np.abs(difference).max() < 1
    # What decides its edits has parts of three models.
    folder = model_folder("bench-flux2", weights=loose)
    parts = {file.relative_to(folder).parent.as_posix() for file in part_digests(folder)}
    assert parts == {".", "unet_instruct", "scheduler", "text_encoder", "tokenizer", "vae"}


def test_a_network_beside_a_tiny_models_files_is_not_taken_for_it(loose):
    """As ``train-immunizer --model taef2 -o taef2.safetensors`` leaves one there."""
    before = load_autoencoder("taef2", device=CPU, weights=loose)
    network = PerturbationNetwork((8, 8, 8), 1)
    write_network(network, loose / "taef2.safetensors", model="taef2", model_digest=before.digest)
    (loose / "taesana_encoder.pth").unlink()
    assert load_autoencoder("taef2", device=CPU, weights=loose).digest == before.digest
    assert load_folder(loose, name="mine", device=CPU).digest == before.digest


def test_its_autoencoder_is_lent_and_goes_by_its_name(loose):
    lent = load_autoencoder("bench-flux2", device=CPU, weights=loose)
    lender = load_autoencoder("taef2", device=CPU, weights=loose)
    assert (lent.name, lent.size, lent.digest) == ("bench-flux2", 256, lender.digest)
    photo = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lent.encode(photo), lender.encode(photo))


def test_it_is_here_once_the_lender_is(loose, cache):
    assert not described("bench-flux2")["here"]
    with pytest.raises(ModelError, match="model taef2: no weights") as caught:
        model_folder("bench-flux2")
    assert "'photovax models pull taef2'" in caught.value.line
    assert "bench-flux2" not in diagnose(device="cpu").weights
    # The hub has both parts in one file.
    joined = {}
    for part, offset in (("encoder", 0), ("decoder", 1)):
        for key, value in torch.load(loose / f"taef2_{part}.pth").items():
            layer, rest = key.split(".", 1)
            joined[f"{part}.layers.{int(layer) - offset}.{rest}"] = value
    hub = loose / "hub"
    hub.mkdir()
    save_file(joined, hub / "taef2.safetensors")
    snapshot = keep(cache, CATALOG["taef2"].sources[0].repository, hub)
    told = described("bench-flux2")
    assert (told["here"], told["whole"], told["weights"]) == (True, True, str(snapshot))
    assert diagnose(device="cpu").weights["bench-flux2"] == Held(
        str(snapshot / "taef2.safetensors"), True
    )
    editor = load_editor("bench-flux2", device=CPU)
    photo = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    lender = load_autoencoder("taef2", device=CPU, weights=loose)
    assert torch.equal(editor.encode(photo), lender.encode(photo))
    Adversary("bench-flux2", device="cpu").load(["instruct"])


def test_the_lender_is_what_is_pulled(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "photovax.models.catalog.hub.pull", lambda name, _, *, whole: tmp_path / f"{name} {whole}"
    )
    assert pull("bench-flux2", whole=True) == tmp_path / "taef2 False"
