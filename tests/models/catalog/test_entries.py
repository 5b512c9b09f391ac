"""Models by name: what the catalogue says of each, and where their weights are looked for."""

import json
import re
import shutil
from typing import Any

import diffusers
import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors
from typer.testing import CliRunner

from photovax.checking import check
from photovax.cli import app
from photovax.demo import SAMPLE
from photovax.errors import ModelError, UnknownName, UsageError
from photovax.immunizer import Immunizer
from photovax.models.autoencoders.families import FAMILIES, MoVQAutoencoder
from photovax.models.autoencoders.tiny import TINY
from photovax.models.catalog import hub
from photovax.models.catalog.describe import described
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import each_once, fed_size, model_folder
from photovax.models.load import load_autoencoder, load_editor, pull, usual_edit
from photovax.models.unet.editor import LatentEditor
from photovax.pictures.photo import read_photo
from tests.hub_cache import keep
from tests.places import ROOT

parts: Any = diffusers  # its classes look empty to a type checker
CPU = torch.device("cpu")
ON_HUB = {name: entry for name, entry in CATALOG.items() if entry.sources}
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def sd(tmp_path, editor_folder):
    """An untrained pipeline of Stable Diffusion's form, with its scaling factor."""
    folder = tmp_path / "pipeline"
    shutil.copytree(editor_folder, folder)
    config = folder / "vae" / "config.json"
    config.write_text(
        config.read_text().replace('"scaling_factor": 0.5', '"scaling_factor": 0.18215')
    )
    for other in ("unet_inpaint", "unet_instruct"):
        shutil.rmtree(folder / other)
    return folder


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
    table = [line for line in text.splitlines() if line.startswith("| `")]
    assert [name for line in table for name in re.findall("`(.*?)`", line)] == list(CATALOG)


def test_revisions_are_pinned_where_they_could_be_made_sure_of():
    loose = {name for name, entry in ON_HUB.items() if entry.sources[0].revision is None}
    assert loose == {"taef2"}


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


@pytest.mark.parametrize("name", list(ON_HUB))
def test_missing_weights_say_in_a_line_what_to_get(name, cache):
    with pytest.raises(ModelError, match=f"run 'photovax models pull {name}") as caught:
        load_autoencoder(name, device=CPU)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert str(cache) in said
    assert "--weights FOLDER" in said
    assert ("its licence must be accepted" in said) == CATALOG[name].sources[0].gated


@pytest.mark.parametrize("name", [name for name, entry in ON_HUB.items() if entry.edits])
def test_missing_editors_say_in_a_line_what_to_get(name):
    with pytest.raises(ModelError, match=rf"pull {name}'.*the pipeline folder of"):
        load_editor(name, device=CPU)


@pytest.mark.parametrize("name", ["pixart", "flux1", "taesd"])
def test_mere_autoencoders_cannot_edit(name):
    for refused in (lambda: load_editor(name, device=CPU), lambda: usual_edit(name, "inpaint")):
        with pytest.raises(ModelError, match="no more than an autoencoder"):
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
    assert set(editor.prompts.encoders) == {"text_encoder", "text_encoder_2"}
    assert "inpaint" in editor.unets


def test_half_precision_alone_is_enough(cache, sd):
    for part, stem in (("vae", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = sd / part / f"{stem}.safetensors"
        file.rename(file.with_name(f"{stem}.fp16.safetensors"))
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
    assert load_editor("sd15", device=CPU).name == "sd15"


def test_any_cached_repository_loads_by_its_id(cache, sd):
    keep(cache, "someone/model", sd)
    loaded = load_autoencoder("someone/model", device=CPU)
    assert loaded.name == "someone/model"
    assert loaded.size == fed_size("someone/model") == 64
    shutil.rmtree(sd / "unet")
    keep(cache, "someone/autoencoder", sd / "vae")
    assert load_autoencoder("someone/autoencoder", device=CPU).digest == loaded.digest
    with pytest.raises(ModelError, match=r"neither a folder nor in the hub's cache .*someone/none"):
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


def test_weights_may_be_one_file(tmp_path):
    torch.manual_seed(0)
    model = parts.AutoencoderTiny()
    model.save_pretrained(tmp_path / "made")
    file = tmp_path / "made" / "diffusion_pytorch_model.safetensors"
    loaded = load_autoencoder("taesd", device=CPU, weights=file)
    assert loaded.encode(torch.zeros(1, 3, 16, 16)).shape == (1, 4, 2, 2)
    shutil.copyfile(file, tmp_path / "taesd.safetensors")
    assert load_autoencoder("taesd", device=CPU, weights=tmp_path).digest == loaded.digest
    with pytest.raises(ModelError, match="a file does not tell which model it is"):
        load_autoencoder(str(file), device=CPU)


def test_weights_of_another_model_are_refused(sd):
    for name, says in (("sdxl", "scaling_factor is"), ("flux2", "_class_name is AutoencoderKL")):
        with pytest.raises(ModelError, match=f"is of another model: {says}"):
            load_autoencoder(name, device=CPU, weights=sd)


def test_unknown_names_suggest_the_nearest():
    for called in (load_autoencoder, load_editor):
        with pytest.raises(UnknownName, match="did you mean 'kandinsky22'"):
            called("kandinsky2", device=CPU)
    with pytest.raises(UnknownName, match="did you mean 'flux1'"):
        pull("flux11")


class Hub:
    """Stands for the hub: what it is asked, and what it answers."""

    def __init__(self, answers):
        self.answers = answers
        self.asked: list[tuple[str, str | None, list[str]]] = []

    def __call__(self, repository, *, revision, allow_patterns):
        self.asked.append((repository, revision, allow_patterns))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusal(kind):
    """One of the hub's errors; its constructor wants a whole HTTP response."""
    error = kind.__new__(kind)
    Exception.__init__(error, "no")
    return error


def test_pull_asks_for_the_pinned_files_and_no_more(monkeypatch, tmp_path):
    asked = Hub([str(tmp_path)])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    assert pull("sd15", whole=False) == tmp_path
    pull("sd15")
    pull("kandinsky22")
    pull("sd15-inpaint", whole=False)
    pull("taef2")
    source = CATALOG["sd15"].sources[0]
    vae = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]
    assert asked.asked[0] == (source.repository, source.revision, vae)
    assert {"unet/config.json", "tokenizer/*", *vae} < set(asked.asked[1][2])
    assert [patterns for *_, patterns in asked.asked[2:]] == [
        ["movq/config.json", "movq/diffusion_pytorch_model.safetensors"],
        ["vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors"],
        ["taef2.safetensors"],
    ]
    pull("sd35")
    assert {
        "transformer/diffusion_pytorch_model-*.safetensors",
        "text_encoder_3/model-*.safetensors",
        "text_encoder_3/model.safetensors.index.json",
        "text_encoder/model.safetensors",
        "tokenizer_3/*",
    } < set(asked.asked[-1][2])
    pull("sdxl-inpaint")
    assert {
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder_2/model.safetensors",
        "tokenizer_2/*",
        "model_index.json",
    } < set(asked.asked[-1][2])
    pull("flux2-klein")
    assert {
        "transformer/diffusion_pytorch_model.safetensors",
        "text_encoder/model-*.safetensors",
        "text_encoder/model.safetensors.index.json",
        "tokenizer/*",
    } < set(asked.asked[-1][2])
    assert not any(".bin" in pattern or ".ckpt" in pattern for pattern in asked.asked[1][2])


def test_pull_passes_gated_and_vanished_sources_over(monkeypatch, tmp_path):
    gated, gone = refusal(errors.GatedRepoError), refusal(errors.RepositoryNotFoundError)
    asked = Hub([gated, str(tmp_path)])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    assert pull("flux1") == tmp_path
    assert [repository for repository, *_ in asked.asked] == [
        source.repository for source in CATALOG["flux1"].sources[:2]
    ]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub([gated]))
    with pytest.raises(ModelError, match=r"model sd3: accept the licence at .* 'hf auth login'"):
        pull("sd3")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub([gone]))
    with pytest.raises(ModelError, match=r"sd35: \S*3.5-medium is gone or private$"):
        pull("sd35")  # of large there is only the autoencoder
    with pytest.raises(ModelError, match=r"Wan2\.1-T2V-1\.3B-Diffusers is gone or private"):
        pull("wan")


def test_pull_without_a_network_is_one_line(monkeypatch):
    # The client reads HF_HUB_OFFLINE when it is imported, which was long ago.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match="hub cannot be reached; 'photovax models show sd15' tells how"
    ) as caught:
        pull("sd15")
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ModelError, match=r"taesana is not on the hub: put taesana_encoder\.pth"):
        pull("taesana")
    assert pull("embedded") == CATALOG["embedded"].folder


def photovax(*arguments):
    return CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)


def test_the_command_line_lists_shows_and_pulls(monkeypatch, tmp_path, cache, sd):
    plain = photovax().output
    assert plain == photovax("list").output
    assert all(re.search(rf"^{name} ", plain, re.MULTILINE) for name in CATALOG)
    assert re.search(r"^embedded +here", plain, re.MULTILINE)
    assert not re.search(r"^sd15 +here", plain, re.MULTILINE)
    keep(cache, CATALOG["sd15"].sources[0].repository, sd)
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
