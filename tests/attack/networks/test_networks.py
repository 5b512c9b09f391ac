"""Perturbation networks: estimates inside the budget, files, and the descents that start there."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from photovax.attack.budgets import BUDGETS, Linf, Perceptual
from photovax.attack.networks.estimate import estimator
from photovax.attack.networks.files import networks_of, read_network, write_network
from photovax.attack.networks.headers import SHIPPED, shipped_for, told_by
from photovax.attack.networks.network import PerturbationNetwork
from photovax.attack.presets import PRESETS, load_recipe
from photovax.digests import file_digest
from photovax.errors import ModelError, UsageError
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_effect
from photovax.models.load import load_autoencoder
from photovax.models.views import interpolated, resize
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part
from photovax.tensors import CPU

WIDTHS = (8, 8, 8)


@pytest.fixture(scope="module")
def autoencoder():
    return load_autoencoder("embedded", device=CPU)


@pytest.fixture
def small():
    """A network with random weights, quick to run."""
    torch.manual_seed(0)
    return PerturbationNetwork(WIDTHS, 1).eval()


@pytest.fixture
def file(small, autoencoder, tmp_path):
    path = tmp_path / "small.safetensors"
    write_network(small, path, model="embedded", model_digest=autoencoder.digest)
    return path


def photo(height=40, width=56, *, channels=3):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Photo.from_array(pixels)


@pytest.mark.parametrize("sides", [(40, 56), (37, 90), (16, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_estimate_uses_the_whole_budget_whatever_the_weights(small, sides, channels):
    origin = torch.rand(2, channels, *sides, generator=torch.Generator().manual_seed(2))
    budget = Perceptual(radius=0.5, levels=24, colour=0.6)
    fed = (24, 32)
    x = budget.estimated(origin, [(fed, estimator(small, None))])
    assert x.shape == origin.shape
    assert x.min() >= 0
    assert x.max() <= 1
    sizes = budget.size(x, origin)
    assert (sizes <= 1 + 1e-4).all()
    assert (sizes > 0.5).all()


def test_an_estimate_changes_nothing_outside_a_mask(small):
    origin = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    mask[..., :16] = True
    budget = Perceptual(radius=0.5, levels=24).within(mask)
    x = budget.estimated(origin, [((32, 32), estimator(small, None))])
    assert torch.equal(x[..., 16:], origin[..., 16:])
    assert budget.size(x, origin).item() == pytest.approx(1, abs=0.3)


def test_an_estimate_has_a_gradient_for_training(small):
    origin = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    x = Perceptual(radius=0.5, levels=24).estimated(origin, [((32, 32), estimator(small, None))])
    (x - origin).square().sum().backward()
    found = [parameter.grad for parameter in small.parameters()]
    assert all(each is not None and each.isfinite().all() for each in found)
    assert sum(each.abs().sum() for each in found) > 0


def test_networks_are_exact_on_a_cpu(small):
    def quick():
        raise AssertionError("a CPU takes longer for bfloat16")

    given = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32), 38.0
    assert torch.equal(estimator(small, quick)(*given), estimator(small, None)(*given))


def test_several_networks_count_alike_whatever_their_scale(small):
    origin = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    budget = Perceptual(radius=0.5, levels=24)
    plain = estimator(small, None)

    def louder(*given):
        return 1000 * plain(*given)

    def flipped(photo, allowance, degree):
        return plain(photo.flip(-1), allowance, degree)

    fed = (32, 32)
    one = budget.estimated(origin, [(fed, plain), (fed, flipped)])
    other = budget.estimated(origin, [(fed, louder), (fed, flipped)])
    assert torch.allclose(one, other, atol=1e-5)


def test_a_file_holds_the_network_and_what_it_is_of(file, small, autoencoder):
    read = read_network(file, CPU)
    assert (read.model, read.model_digest) == ("embedded", autoencoder.digest)
    given = (torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32), 38.0)
    with torch.no_grad():
        assert torch.allclose(read.network(*given), small(*given), atol=1e-2)
    assert list(file.parent.iterdir()) == [file]


def test_files_that_are_no_networks_are_refused(tmp_path, autoencoder):
    nothing = tmp_path / "nothing.safetensors"
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        read_network(nothing, CPU)
    nothing.write_bytes(b"GIF89a")
    with pytest.raises(ModelError, match=r"no safetensors file|no perturbation network"):
        read_network(nothing, CPU)
    save_file({"a": torch.zeros(1)}, nothing)
    with pytest.raises(ModelError, match="is no perturbation network") as found:
        read_network(nothing, CPU)
    assert "train-immunizer" in found.value.line


def test_the_shipped_network_is_read_only_where_it_is_used(autoencoder, monkeypatch):
    read: list[str] = []

    def reading(file, device):
        read.append(file.name)
        return read_network(file, device)

    monkeypatch.setattr("photovax.attack.networks.files.read_network", reading)
    immunizer = Immunizer()
    assert immunizer.all_digests(PRESETS["fast-linf"]) == [autoencoder.digest]
    assert read == []
    for _ in range(2):
        assert len(immunizer.all_digests(PRESETS["instant"])) == 2
    assert read == [SHIPPED[0].name]


def test_a_damaged_network_is_refused(file):
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(ModelError, match=r"small\.safetensors: damaged"):
        read_network(file, CPU)
    with pytest.raises(ModelError, match=r"small\.safetensors: damaged"):
        Immunizer(networks=[file])  # at once, not at the first photo


def test_a_network_of_other_weights_is_refused(small, autoencoder, tmp_path):
    other = tmp_path / "other.safetensors"
    write_network(small, other, model="sd15", model_digest="ab" * 32)
    with pytest.raises(ModelError, match="is of sd15 with weights abababababab, not of embedded"):
        networks_of([autoencoder], [other], CPU)


def test_networks_with_an_opponent_are_a_kind_of_their_own(small, file, autoencoder, tmp_path):
    beside = tmp_path / "beside.safetensors"
    of = {"model": "embedded", "model_digest": autoencoder.digest}
    write_network(small, beside, **of, opposed=True)
    plain, opposed = (read_network(each, CPU).digest for each in (file, beside))
    recipe = PRESETS["instant"]
    ways = {False: recipe, True: replace(recipe, opposed=True)}

    def used(*networks):
        immunizer = Immunizer(networks=networks)
        return [immunizer.networks(way)["embedded"] for way in ways.values()]

    # One with an opponent, which was given, is for all recipes; another one is not for those
    # that ask for an opponent.
    assert used(beside) == [opposed, opposed]
    assert used(file, beside) == used(beside, file) == [plain, opposed]
    assert used(file)[0] == plain
    assert opposed not in used(file)
    assert plain not in used(file)[1:]


def test_a_descent_starts_at_the_estimate_and_takes_fewer_steps(file):
    immunizer = Immunizer(networks=[file])
    recipe = replace(PRESETS["fast"], steps=6)
    made = immunizer.immunize(photo(), recipe)
    assert (made.steps, immunizer.steps(recipe)) == (1, 1)
    assert made.networks == {"embedded": read_network(file, CPU).digest}
    cold = immunizer.immunize(photo(), replace(recipe, warm=None))
    assert (cold.steps, dict(cold.networks)) == (6, {})


class Signs(Linf):
    """Such as a plug-in's: a ball whose images take an estimate's signs."""

    takes_estimates = True

    def estimated(self, origin, estimators):
        ((fed, estimate),) = estimators
        found = estimate(resize(origin, *fed), torch.ones(1, 1, *fed), 30.0).float()
        signs = interpolated(found, *origin.shape[-2:]).sign()
        return self.project(origin + self.radius * signs, origin)


def test_a_plug_ins_budget_can_take_estimates(file, monkeypatch):
    monkeypatch.setitem(BUDGETS._makers, "signs", Signs)
    recipe = replace(PRESETS["instant"], budget=Part("signs", {"radius": 8 / 255}), size=64)
    given = photo()
    made = Immunizer(networks=[file]).immunize(given, recipe)
    assert made.steps == 0
    change = np.abs(made.photo.pixels.astype(int) - given.pixels)
    assert np.quantile(change, (0.5, 1)).tolist() == [8, 8]


def test_instant_takes_no_step_and_keeps_the_budget(file, tmp_path):
    immunizer = Immunizer(networks=[file])
    saved = immunizer.immunize(photo(), PRESETS["instant"]).save(tmp_path / "a.png")
    record = json.loads((tmp_path / "a.png.json").read_text())
    assert record["steps"] == record["passes"] == 0
    assert record["networks"] == {"embedded": read_network(file, CPU).digest}
    assert record["loss"] < 0
    assert saved.path.exists()


def test_grey_photos_and_masks_are_immunized_too(file):
    immunizer = Immunizer(networks=[file])
    grey = photo(channels=1)
    mask = np.zeros((40, 56), dtype=bool)
    mask[:, :30] = True
    made = immunizer.immunize(grey, PRESETS["instant"], mask=mask)
    changed = made.photo.pixels != grey.pixels
    assert changed[:, :30].any()
    assert not changed[:, 30:].any()


def test_a_recipe_without_steps_names_the_models_that_lack_a_network(tmp_path):
    from tests.untrained import save_sd

    save_sd(tmp_path / "tiny")
    immunizer = Immunizer([str(tmp_path / "tiny")])
    with pytest.raises(UsageError, match="needs a perturbation network of each model") as found:
        immunizer.immunize(photo(), PRESETS["instant"])
    assert "photovax train-immunizer --model" in found.value.line
    with pytest.raises(UsageError, match="each model that was trained beside a denoiser") as found:
        immunizer.networks(PRESETS["robust"])
    assert "tiny --opposed 0.7 makes one" in found.value.line
    # A recipe that has steps takes them without.
    assert immunizer.networks(replace(PRESETS["fast"], opposed=True)) == {}
    assert immunizer.steps(PRESETS["fast"]) == PRESETS["fast"].steps


def test_a_budget_in_levels_uses_no_network():
    assert PRESETS["fast"].with_levels(8).warm is None
    with pytest.raises(UsageError, match="takes no steps"):
        PRESETS["instant"].with_levels(8)
    with pytest.raises(UsageError, match=r"warm needs a budget .* as perceptual, got linf"):
        replace(PRESETS["fast-linf"], warm=0.5)
    with pytest.raises(UsageError, match="warm must be from 0 to 1, got 2"):
        replace(PRESETS["fast"], warm=2)


@pytest.mark.parametrize(("recipe", "opposed"), [("instant", False), ("robust", True)])
def test_shipped_networks_are_of_the_embedded_model_and_move_its_latents(
    recipe, opposed, autoencoder
):
    file = shipped_for("embedded", opposed=opposed)
    assert file in SHIPPED
    assert told_by(file)["model_digest"] == autoencoder.digest
    assert shipped_for("sd15", opposed=opposed) is None
    sample = read_photo(SAMPLE)
    immunizer = Immunizer()
    assert immunizer.networks(PRESETS[recipe]) == {"embedded": file_digest(file)}
    made = immunizer.immunize(sample, PRESETS[recipe])
    effect = latent_effect(autoencoder, sample.pixels, made.photo.pixels, CPU, size=256)
    assert effect.shift > 0.1  # 48 steps without it reach 0.16


def test_one_pass_is_the_same_every_time():
    pixels = photo().pixels
    made = [Immunizer().immunize(Photo.from_array(pixels), PRESETS["instant"]) for _ in range(2)]
    assert np.array_equal(made[0].photo.pixels, made[1].photo.pixels)


def test_another_objective_or_number_of_steps_uses_no_network(tmp_path):
    for changed in ("steps = 100", 'objective = { name = "latent_target" }'):
        file = tmp_path / "mine.toml"
        file.write_text(f'preset = "fast"\n{changed}\n')
        assert load_recipe(str(file)).warm is None
        file.write_text(f'preset = "fast"\n{changed}\nwarm = 0.5\n')
        assert load_recipe(str(file)).warm == 0.5
    assert PRESETS["fast-diffusion"].with_mode("inpaint").warm is None
    assert PRESETS["fast-diffusion"].with_mode("img2img").warm is not None


def test_what_decides_a_result_includes_the_network(file):
    immunizer, known = Immunizer(), Immunizer(networks=[file])
    recipe = PRESETS["instant"]
    assert immunizer.digests(recipe) == known.digests(recipe)
    assert immunizer.all_digests(recipe) != known.all_digests(recipe)


def test_instant_takes_no_step_whatever_the_time(file):
    made = Immunizer(networks=[file]).immunize(photo(), PRESETS["instant"], seconds=5)
    assert made.steps == 0
