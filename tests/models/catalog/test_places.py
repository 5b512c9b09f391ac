"""Where weights are looked for on this machine, and what is said where they are not."""

import re
import shutil
from typing import Any

import diffusers
import pytest
import torch

from photovax.checks.check import check
from photovax.errors import ModelError, UnknownName, UsageError
from photovax.immunizer import Immunizer
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import each_once, fed_size, model_folder
from photovax.models.load import load_autoencoder, load_editor
from photovax.models.unet.editor import LatentEditor
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from tests.hub_cache import keep

parts: Any = diffusers  # its classes look empty to a type checker
CPU = torch.device("cpu")
ON_HUB = {name: entry for name, entry in CATALOG.items() if entry.sources}
pytestmark = pytest.mark.usefixtures("cache")


def test_models_of_one_name_are_refused(tmp_path):
    folders = [tmp_path / name / "vae" for name in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    names = [str(folder) for folder in folders]
    assert each_once(["embedded", names[0], "embedded"]) == ["embedded", names[0]]
    with pytest.raises(UsageError, match=r"two models would be called 'vae': .*first.* and .*sec"):
        Immunizer(names, device="cpu")
    photo = read_photo(SAMPLE)
    with pytest.raises(UsageError, match="two models would be called 'vae'"):
        check(photo, photo, models=names, device="cpu")


@pytest.mark.parametrize("sample", ["null", "[64, 64]", "0"])
def test_a_denoiser_that_does_not_say_its_size_is_fed_512(sample, tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(f'{{"sample_size": {sample}}}')
    assert fed_size(str(tmp_path)) == 512


@pytest.mark.parametrize("name", list(ON_HUB))
def test_missing_weights_say_in_a_line_what_to_get(name, cache):
    with pytest.raises(ModelError) as caught:
        load_autoencoder(name, device=CPU)
    assert str(cache) in str(caught.value)
    said = caught.value.line
    assert len(said.splitlines()) == 1
    assert f"'photovax models pull {name}" in said
    assert "--weights FOLDER" in said
    assert ("its licence must be accepted" in said) == CATALOG[name].sources[0].gated


@pytest.mark.parametrize("name", [name for name, entry in ON_HUB.items() if entry.edits])
def test_missing_editors_say_in_a_line_what_to_get(name):
    with pytest.raises(ModelError, match=f"model {name}: no weights") as caught:
        load_editor(name, device=CPU)
    assert re.search(f"pull {name} --editor'.*the pipeline folder of", caught.value.line)


def test_another_cached_revision_or_a_mirror_will_do(cache, sd):
    first, second = CATALOG["sd15"].sources[:2]
    keep(cache, second.repository, sd)
    assert "runwayml" in str(model_folder("sd15"))
    snapshot = keep(cache, first.repository, sd)
    assert model_folder("sd15") == snapshot


def test_an_autoencoder_alone_is_enough_for_what_needs_no_more(cache, sd):
    (sd / "unet" / "config.json").unlink()
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
    assert load_autoencoder("sd15", device=CPU).name == "sd15"
    with pytest.raises(ModelError, match="model sd15: no weights in the hub's cache"):
        load_editor("sd15", device=CPU)


def test_sdxl_needs_both_its_text_encoders(cache, sdxl_folder, tmp_path):
    source = CATALOG["sdxl-inpaint"].sources[0]
    assert source.revision is not None
    half = tmp_path / "half"
    shutil.copytree(sdxl_folder, half)
    shutil.rmtree(half / "text_encoder_2")
    keep(cache, source.repository, half)
    with pytest.raises(ModelError, match="model sdxl-inpaint: no weights in the hub's cache"):
        load_editor("sdxl-inpaint", device=CPU)
    with pytest.raises(ModelError, match=r"no safetensors weights in \S*text_encoder_2"):
        load_editor(str(half), device=CPU)
    keep(cache, source.repository, sdxl_folder, commit=source.revision)
    editor = load_editor("sdxl-inpaint", device=CPU)
    assert isinstance(editor, LatentEditor)
    assert set(editor.prompts.encoders) == {"text_encoder", "text_encoder_2"}
    assert "inpaint" in editor.unets


def test_half_precision_alone_is_enough(cache, sd):
    for part, stem in (("vae", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = sd / part / f"{stem}.safetensors"
        file.rename(file.with_name(f"{stem}.fp16.safetensors"))
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
    assert load_editor("sd15", device=CPU).name == "sd15"


def test_shards_in_half_precision_are_enough(cache, sd):
    model = parts.UNet2DConditionModel.from_pretrained(sd / "unet", low_cpu_mem_usage=False)
    shutil.rmtree(sd / "unet")
    model.save_pretrained(sd / "unet", variant="fp16", max_shard_size="20KB")
    assert (sd / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json").is_file()
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
    assert load_editor("sd15", device=CPU).name == "sd15"


def test_a_folder_of_lone_files_says_to_name_one(tmp_path):
    (tmp_path / "v1-5-pruned.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        load_autoencoder("sd15", device=CPU, weights=tmp_path)
    assert f"name a file, such as --weights {tmp_path}/v1-5-pruned" in caught.value.line


def test_a_configuration_without_a_scale_has_that_of_diffusers(sd):
    config = sd / "vae" / "config.json"
    config.write_text(config.read_text().replace('"scaling_factor": 0.18215,', ""))
    assert load_autoencoder("sd15", device=CPU, weights=sd).name == "sd15"
    with pytest.raises(ModelError, match=r"scaling_factor is 0\.18215, expected 0\.13025"):
        load_autoencoder("sdxl", device=CPU, weights=sd)


def test_any_cached_repository_loads_by_its_id(cache, sd):
    keep(cache, "someone/model", sd)
    loaded = load_autoencoder("someone/model", device=CPU)
    assert loaded.name == "someone/model"
    assert loaded.size == fed_size("someone/model") == 64
    shutil.rmtree(sd / "unet")
    keep(cache, "someone/autoencoder", sd / "vae")
    assert load_autoencoder("someone/autoencoder", device=CPU).digest == loaded.digest
    with pytest.raises(ModelError, match="someone/none: neither a folder nor in the hub"):
        load_autoencoder("someone/none", device=CPU)
    for path in ("./none", "../none", "some/where/else", "a--b/c", "none/"):
        with pytest.raises(UnknownName):
            load_autoencoder(path, device=CPU)


def test_a_pickle_only_repository_is_refused(cache, sd):
    for file in sd.rglob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    keep(cache, "someone/pickled", sd)
    with pytest.raises(ModelError, match="only pickled weights, which are not loaded"):
        load_autoencoder("someone/pickled", device=CPU)
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
    with pytest.raises(ModelError, match="no weights in the hub's cache"):
        load_autoencoder("sd15", device=CPU)


def test_weights_are_found_in_a_folder_first(cache, sd, tmp_path):
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
    given = tmp_path / "given"
    shutil.copytree(sd, given / "sd15")
    file = given / "sd15" / "vae" / "diffusion_pytorch_model.safetensors"
    other = parts.AutoencoderKL.from_pretrained(sd / "vae", low_cpu_mem_usage=False)
    torch.nn.init.ones_(other.encoder.conv_in.bias)
    other.save_pretrained(file.parent)
    mine = load_autoencoder("sd15", device=CPU, weights=given)
    assert mine.digest != load_autoencoder("sd15", device=CPU).digest
    for place in (given / "sd15", given / "sd15" / "vae"):
        assert load_autoencoder("sd15", device=CPU, weights=place).digest == mine.digest
    assert model_folder("sd15", weights=given) == given / "sd15"
    assert load_editor("sd15", device=CPU, weights=given).autoencoder.digest == mine.digest
    assert load_autoencoder("sd15", device=CPU, weights=tmp_path).digest != mine.digest


def test_weights_of_another_model_are_refused(sd):
    for name, says in (("sdxl", "scaling_factor is"), ("flux2", "_class_name is AutoencoderKL")):
        with pytest.raises(ModelError, match=f"is of another model: {says}"):
            load_autoencoder(name, device=CPU, weights=sd)
