"""Training of perturbation networks: it learns, resumes, and keeps its photos apart."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from photovax.attack.networks.files import read_network
from photovax.attack.networks.headers import told_by
from photovax.attack.presets import PRESETS
from photovax.digests import file_digest
from photovax.errors import OutputExists, UsageError
from photovax.learning.crops import PhotoCrops, photos_in, readable, split
from photovax.learning.learner import Learner, Plan, concentration
from photovax.learning.opponent import Opponent
from photovax.models.load import load_autoencoder
from photovax.tensors import CPU
from tests.untrained import save_sd


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of small photos, a hidden one, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    draws = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "more/c.png", ".hidden.png"):
        small = draws.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((80, 60)).save(folder / name)
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_sd(folder)
    return load_autoencoder(str(folder), device=CPU)


def learner(model, photos, folder, start=None, **plan):
    recipe = replace(PRESETS["instant"], size=64)
    files = photos_in(photos)
    settings = {"seconds": 1e6, "every": 1e6} | plan
    return Learner(
        recipe,
        model,
        files[1:],
        readable(files[:1]),
        folder,
        Plan(**settings),
        quick=None,
        device=CPU,
        start=start,
    )


def test_photos_of_a_folder_are_found_and_some_held_out(photos, tmp_path):
    files = photos_in(photos)
    assert [file.name for file in files] == ["a.png", "b.jpg", "c.png"]
    learnt, held = split(files)
    assert sorted(learnt + held) == files
    assert held
    assert not set(learnt) & set(held)
    with pytest.raises(UsageError, match="training needs at least 2 photos, got 0 in"):
        photos_in(tmp_path)
    with pytest.raises(UsageError, match="photos must be in a folder, got"):
        photos_in(photos / "a.png")


def test_crops_leave_out_what_cannot_be_read(photos, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    crops = PhotoCrops([broken, photos / "a.png"], np.random.default_rng(0))
    batch = crops.batch(6, 40)
    assert batch.shape == (6, 3, 40, 40)
    assert batch.min() >= 0
    assert batch.max() <= 1
    with pytest.raises(UsageError, match="none of the photos can be read"):
        PhotoCrops([broken], np.random.default_rng(0)).batch(1, 8)


def test_training_raises_the_latent_shift(tiny, photos, tmp_path):
    run = learner(tiny, photos, tmp_path)
    before = run.report()["shift"]
    for _ in range(25):
        run.step()
    assert run.report()["shift"] > 1.2 * before


def test_a_training_goes_on_as_if_it_had_not_stopped(tiny, photos, tmp_path):
    whole = learner(tiny, photos, tmp_path / "whole")
    for _ in range(4):
        whole.step()
    first = learner(tiny, photos, tmp_path / "parts", seconds=1e-9)
    first.train()
    assert first.steps == 1
    second = learner(tiny, photos, tmp_path / "parts")
    for _ in range(3):
        second.step()
    assert second.steps == whole.steps == 4
    one, other = (run.averaged().state_dict() for run in (whole, second))
    # Rates depend on the time that has passed, so the weights agree but for that.
    assert all(torch.allclose(one[name], other[name], atol=5e-3) for name in one)
    curve = (tmp_path / "parts" / "curve.jsonl").read_text().splitlines()
    assert json.loads(curve[0])["step"] == 1


def test_an_interruption_loses_no_step(tiny, photos, tmp_path, monkeypatch):
    first = learner(tiny, photos, tmp_path, seconds=3600.0)
    take, taken = first.step, iter(range(2))

    def interrupted():
        if next(taken, None) is None:
            raise KeyboardInterrupt
        take()

    monkeypatch.setattr(first, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    assert learner(tiny, photos, tmp_path, seconds=3600.0).steps == 2


def test_an_opponent_learns_to_remove_what_the_network_makes(tiny, photos, tmp_path):
    run = learner(tiny, photos, tmp_path / "a", opposed=0.5)
    opponent, random = Opponent(CPU), np.random.default_rng(0)
    origin = torch.rand(2, 3, 80, 96, generator=torch.Generator().manual_seed(0)) / 2 + 0.25
    lines = 0.08 * torch.sin(torch.arange(96) * 1.9).expand_as(origin)

    def left():
        return (opponent(origin + lines) - origin).square().mean().item()

    before = left()
    for _ in range(60):
        opponent.learn(origin + lines, origin, random)
    assert left() < 0.6 * before
    changed = (origin + lines).requires_grad_()
    opponent(changed).sum().backward()
    assert changed.grad is not None  # a network learns through it
    assert changed.grad.abs().sum() > 0
    for _ in range(3):
        run.step()
    assert np.isfinite(run.report()["loss"])


def test_the_share_of_opposed_steps_is_the_one_asked_for(tiny, photos, tmp_path, monkeypatch):
    run, opposed = learner(tiny, photos, tmp_path, opposed=1.0), []
    whole = Opponent.__call__

    def counted(opponent, images):
        opposed.append(images.shape)
        return whole(opponent, images)

    monkeypatch.setattr(Opponent, "__call__", counted)
    for _ in range(5):
        run.step()
    assert len(opposed) == 5  # whatever the sizes are that crops are drawn for


def test_an_opponent_goes_on_with_its_training(tiny, photos, tmp_path):
    first = learner(tiny, photos, tmp_path, opposed=1.0, seconds=1e-9)
    first.train()
    second = learner(tiny, photos, tmp_path, opposed=1.0)
    one, other = (run._opponent.state()["network"] for run in (first, second))
    start = Opponent(CPU).state()["network"]
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], start[name]) for name in one)
    with pytest.raises(
        UsageError, match="holds a training with another model, recipe, seed, width, "
    ):
        learner(tiny, photos, tmp_path)


def test_a_training_of_something_else_is_not_gone_on_with(tiny, photos, tmp_path):
    learner(tiny, photos, tmp_path, seconds=1e-9).train()
    with pytest.raises(
        UsageError, match="holds a training with another model, recipe, seed, width, "
    ):
        learner(tiny, photos, tmp_path, seed=1)
    more = Path(shutil.copytree(photos, tmp_path / "more"))
    learner(tiny, more, tmp_path)  # the same photos elsewhere
    # One more photo, and others are held out than those that were until now.
    shutil.copy(more / "a.png", more / "0.png")
    with pytest.raises(UsageError, match=r"holds a training with another .* or photos"):
        learner(tiny, more, tmp_path)


def test_photos_held_out_may_be_unreadable(photos, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    assert len(readable([broken, photos / "a.png"])) == 1
    with pytest.raises(UsageError, match="none of the 1 photos held out can be read"):
        readable([broken])


def test_the_network_is_written_with_what_it_is_of(tiny, photos, tmp_path):
    run = learner(tiny, photos, tmp_path)
    run.step()
    run.export(tmp_path / "n.safetensors")
    read = read_network(tmp_path / "n.safetensors", CPU)
    assert read.model_digest == tiny.digest


def test_a_width_makes_another_network_which_trainings_start_from(tiny, photos, tmp_path):
    narrow = tmp_path / "narrow.safetensors"
    run = learner(tiny, photos, tmp_path / "a", seconds=1e-9, width=8, opposed=1.0)
    run.train()
    run.export(narrow)
    assert read_network(narrow, CPU).network.widths == (8, 16, 24)
    assert told_by(narrow)["opposed"] == "yes"
    started = learner(tiny, photos, tmp_path / "b", start=narrow)
    assert started.network.widths == (8, 16, 24)
    assert torch.equal(
        started.network.state_dict()["head.bias"],
        read_network(narrow, CPU).network.state_dict()["head.bias"],
    )
    started.step()  # its weights have gradients
    learner(tiny, photos, tmp_path / "b", start=narrow, seconds=1e-9).train()
    assert learner(tiny, photos, tmp_path / "b", start=narrow).steps == 1
    with pytest.raises(UsageError, match="or from another --start"):
        learner(tiny, photos, tmp_path / "b", width=8)
    with pytest.raises(UsageError, match="has 8 channels at the finest level, got a width of 16"):
        learner(tiny, photos, tmp_path / "c", start=narrow, width=16)
    with pytest.raises(
        UsageError, match=r"holds a training with another .* width, opponent or photos"
    ):
        learner(tiny, photos, tmp_path / "a", width=16, opposed=1.0)


def test_recipes_that_networks_cannot_learn_are_refused(tiny, photos, tmp_path):
    for name in ("fast-linf", "fast-diffusion"):
        with pytest.raises(UsageError, match="a perturbation network needs a recipe with"):
            Learner(
                PRESETS[name],
                tiny,
                photos_in(photos),
                [],
                tmp_path,
                Plan(1),
                quick=None,
                device=CPU,
            )


def test_power_in_one_frequency_is_penalised_and_noise_is_not():
    noise = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    assert concentration(noise).item() == 0
    lines = torch.sin(torch.arange(64) * torch.pi / 4)[:, None].expand(1, 2, 64, 64)
    # All power in 1 of 64 x 33 frequencies: mean(P^2) / mean(P)^2 is their number.
    expected = np.log(64 * 33 / 2 / 25)
    assert concentration(lines).item() == pytest.approx(expected, abs=0.7)


def test_the_command_trains_a_network_that_immunizes(photos, tmp_path):
    from typer.testing import CliRunner

    from photovax.cli import app

    model = tmp_path / "tiny"
    save_sd(model)
    file = tmp_path / "n.safetensors"
    given = ["train-immunizer", "--photos", str(photos), "-o", str(file), "--model", str(model)]
    brief = tmp_path / "brief.toml"
    brief.write_text('preset = "instant"\nsize = 64\n')
    result = CliRunner().invoke(app, [*given, "--minutes", "0.02", "--recipe", str(brief)])
    assert result.exit_code == 0, result.output
    assert "the network alone" in result.output
    assert Path(f"{file}.training/checkpoint.pt").exists()
    with pytest.raises(OutputExists, match=r"n\.safetensors: exists already"):
        CliRunner().invoke(app, given, catch_exceptions=False)
    done = CliRunner().invoke(
        app,
        [
            *("immunize", str(photos / "a.png"), "-o", str(tmp_path / "a.png")),
            *("--model", str(model), "--network", str(file), "--recipe", str(brief)),
        ],
    )
    assert done.exit_code in (0, 11), done.output  # a network this brief may fail the check
    record = json.loads((tmp_path / "a.png.json").read_text())
    assert list(record["networks"].values()) == [file_digest(file)]
