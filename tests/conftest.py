import json
import os
import secrets

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from photovax.immunize import Immunizer
from photovax.recipe import Recipe
from photovax.registry import Part
from tests.postgres import postgres_server, with_schema

# Many threads make small work slower, and two test processes would fight for the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def immunizer() -> Immunizer:
    return Immunizer(device="cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    place = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place))
    return place


@pytest.fixture(scope="session")
def postgres_database() -> Iterator[str]:
    """The URL of a PostgreSQL database: $PHOTOVAX_TEST_DATABASE, or one of a server of our own."""
    pytest.importorskip("psycopg")
    if given := os.environ.get("PHOTOVAX_TEST_DATABASE"):
        yield given
        return
    with postgres_server() as url:
        if url is None:
            pytest.skip("needs PostgreSQL's initdb, or a URL in PHOTOVAX_TEST_DATABASE")
        yield url


@pytest.fixture
def postgres(postgres_database: str) -> Iterator[str]:
    """The same, with a schema in which nothing is yet."""
    import psycopg

    name = f"photovax_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield with_schema(postgres_database, name)
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def quick() -> Recipe:
    """The default objective at a size that a test can afford."""
    return Recipe(
        objective=Part("latent_drift"),
        budget=Part("linf", {"radius": 8 / 255}),
        views=(Part("short_side", {"pixels": 64}), Part("short_side", {"pixels": 96})),
        steps=4,
        step_size=4 / 255,
        schedule="cosine",
        draws=1,
    )


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    """A small piece of the sample photo, as a JPEG of odd sides."""
    from photovax.demo import SAMPLE

    with Image.open(SAMPLE) as sample:
        sample.crop((150, 20, 301, 147)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path / "photo.jpg"


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (41, 53, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def editor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pipeline folder, with a denoiser for each way of editing."""
    folder = tmp_path_factory.mktemp("editor")
    torch.manual_seed(0)
    import diffusers
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    parts: Any = diffusers  # its classes look empty to a type checker
    parts.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=2,
        layers_per_block=1,
        scaling_factor=0.5,
        sample_size=64,
    ).save_pretrained(folder / "vae")
    for name, channels in (("unet", 4), ("unet_inpaint", 9), ("unet_instruct", 8)):
        parts.UNet2DConditionModel(
            sample_size=8,
            in_channels=channels,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        ).save_pretrained(folder / name)
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=16,
            intermediate_size=32,
            projection_dim=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=len(tokens) - 2,
            eos_token_id=len(tokens) - 1,
            pad_token_id=len(tokens) - 1,
        )
    ).save_pretrained(folder / "text_encoder")
    parts.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "_class_name": "StableDiffusionPipeline",
        **{name: [None, None] for name in ("safety_checker", "feature_extractor", "image_encoder")},
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
