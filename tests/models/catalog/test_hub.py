"""Weights from the hub: what is asked of it, and what is said where it gives nothing."""

import socket

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from photovax.errors import ModelError
from photovax.models.catalog import hub
from photovax.models.catalog.entries import CATALOG
from photovax.models.load import pull
from tests.hub_cache import Hub, refusal

ON_HUB = {name: entry for name, entry in CATALOG.items() if entry.sources}
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def reached(monkeypatch):
    monkeypatch.setattr(hub, "_reach", lambda _name: None)


def test_pull_asks_for_the_pinned_files_and_no_more(monkeypatch, tmp_path, reached):
    asked = Hub([str(tmp_path)])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    assert pull("sd15", whole=False) == tmp_path
    pull("sd15", whole=True)
    pull("kandinsky22", whole=True)
    pull("sd15-inpaint", whole=False)
    pull("taef2", whole=True)
    source = CATALOG["sd15"].sources[0]
    vae = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]
    assert asked.asked[0] == (source.repository, source.revision, vae)
    assert {"unet/config.json", "tokenizer/*", *vae} < set(asked.asked[1][2])
    assert [patterns for *_, patterns in asked.asked[2:]] == [
        ["movq/config.json", "movq/diffusion_pytorch_model.safetensors"],
        ["vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors"],
        ["taef2.safetensors"],
    ]
    pull("sd35", whole=True)
    assert {
        "transformer/diffusion_pytorch_model-*.safetensors",
        "text_encoder_3/model-*.safetensors",
        "text_encoder_3/model.safetensors.index.json",
        "text_encoder/model.safetensors",
        "tokenizer_3/*",
    } < set(asked.asked[-1][2])
    pull("sdxl-inpaint", whole=True)
    assert {
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder_2/model.safetensors",
        "tokenizer_2/*",
        "model_index.json",
    } < set(asked.asked[-1][2])
    pull("flux2-klein", whole=True)
    assert {
        "transformer/diffusion_pytorch_model.safetensors",
        "text_encoder/model-*.safetensors",
        "text_encoder/model.safetensors.index.json",
        "tokenizer/*",
    } < set(asked.asked[-1][2])
    assert not any(".bin" in pattern or ".ckpt" in pattern for pattern in asked.asked[1][2])


def test_pull_passes_gated_and_vanished_sources_over(monkeypatch, tmp_path, reached):
    gated, gone = refusal(errors.GatedRepoError), refusal(errors.RepositoryNotFoundError)
    asked = Hub([gated, str(tmp_path)])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    assert pull("flux1", whole=True) == tmp_path
    assert [repository for repository, *_ in asked.asked] == [
        source.repository for source in CATALOG["flux1"].sources[:2]
    ]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub([gated]))
    with pytest.raises(ModelError, match=r"model sd3: the licence at \S+ is not") as caught:
        pull("sd3", whole=True)
    assert "'hf auth login'" in (caught.value.hint or "")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub([gone]))
    with pytest.raises(ModelError, match=r"sd35: \S*3.5-medium is gone or private$"):
        pull("sd35", whole=True)  # of large there is only the autoencoder
    with pytest.raises(ModelError, match=r"Wan2\.1-T2V-1\.3B-Diffusers is gone or private"):
        pull("wan", whole=True)


def test_pull_without_a_network_is_one_line(monkeypatch):
    # The client reads HF_HUB_OFFLINE when it is imported, which was long ago.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="model sd15: the hub cannot be reached") as caught:
        pull("sd15", whole=True)
    assert len(caught.value.line.splitlines()) == 1
    assert "'photovax models show sd15'" in (caught.value.hint or "")
    with pytest.raises(ModelError, match="taesana is not on the hub") as caught:
        pull("taesana", whole=True)
    assert "put taesana_encoder.pth" in (caught.value.hint or "")
    assert pull("embedded", whole=True) == CATALOG["embedded"].folder


def test_a_hub_out_of_reach_is_asked_once(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        # What it would repeat for half a minute is not even begun.
        monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
        with pytest.raises(ModelError, match=r"sd15: the hub cannot be reached \(.*refused"):
            pull("sd15", whole=False)


def test_revisions_are_pinned_where_they_could_be_made_sure_of():
    loose = {name for name, entry in ON_HUB.items() if entry.sources[0].revision is None}
    assert loose == {"taef2"}
