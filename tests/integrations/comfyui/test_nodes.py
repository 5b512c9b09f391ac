"""The nodes of ComfyUI, called as the host calls them, without the host."""

import importlib.util
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image

import photovax
from photovax.errors import UsageError
from photovax.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from photovax.version import VERSION
from tests.places import ROOT
from tests.serving import recipe_file

FOLDER = ROOT / "comfyui"


@pytest.fixture
def image(photo_file: Path) -> torch.Tensor:
    """Two pictures as the host's loader gives them, float32 (2, 64, 80, 3)."""
    with Image.open(photo_file) as picture:
        pieces = [picture.crop((x, 20, x + 80, 84)) for x in (0, 60)]
    return torch.from_numpy(np.stack([np.asarray(each) for each in pieces])).float() / 255


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A host on the CPU, and the progress that it was told."""
    told: list[tuple[int, int]] = []

    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total = total

        def update_absolute(self, value: int, total: int | None = None) -> None:
            told.append((value, total or self.total))

    comfy, utils = types.ModuleType("comfy"), types.ModuleType("comfy.utils")
    management: Any = types.ModuleType("comfy.model_management")
    utils.ProgressBar = ProgressBar  # type: ignore[attr-defined]
    management.get_torch_device = lambda: torch.device("cpu")
    for module in (comfy, utils, management):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return told


def run(name: str, **given: Any) -> Any:
    """A node's result, with the inputs that the host fills in from what the node states."""
    kind = NODE_CLASS_MAPPINGS[name]
    stated = kind.INPUT_TYPES()
    assert given.keys() <= {*stated["required"], *stated["optional"]}
    for key, (values, *settings) in stated["required"].items():
        if key not in given:
            given[key] = settings[0]["default"] if settings else values[0]
    with torch.inference_mode():
        result = getattr(kind(), kind.FUNCTION)(**given)
    shown = result["result"] if isinstance(result, dict) else result
    assert len(shown) == len(kind.RETURN_TYPES) == len(kind.RETURN_NAMES)
    return shown


def quick(folder: Path, **more: Any) -> dict[str, Any]:
    return {"recipe": str(recipe_file(folder, **more))}


def levels(image: torch.Tensor) -> np.ndarray:
    """What the host's node that saves pictures writes: it truncates."""
    saved: np.ndarray = np.clip(255.0 * image.numpy(), 0, 255).astype(np.uint8)
    return saved


def test_a_batch_is_immunized_and_checked_inside_inference_mode(image, host, tmp_path):
    with torch.inference_mode():
        given = image.clone()
    (safe,) = run("PhotovaxImmunize", image=given, **quick(tmp_path, steps=8))
    assert (safe.shape, safe.dtype) == (image.shape, torch.float32)
    shares = [done / whole for done, whole in host]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(set(shares)) >= 8
    for before, after in zip(levels(image), levels(safe), strict=True):
        alone = photovax.immunize(before, recipe=str(tmp_path / "quick.json"), device="cpu")
        assert np.array_equal(after, alone)
    verdict, shift, report = run("PhotovaxCheck", image=safe, original=image, size=64)
    assert verdict in {"PASS", "WEAK"}
    assert shift > 0.1
    assert report.count("embedded: ") == 2
    assert run("PhotovaxCheck", image=image, original=image, size=64)[0] == "FAIL"
    # One original for all: the second picture is of something else.
    with pytest.raises(UsageError, match="another"):
        run("PhotovaxCheck", image=safe, original=image[:1], size=64)


def test_only_what_an_editor_keeps_changes(image, host, tmp_path):
    mask = torch.zeros(64, 80)
    mask[:, 40:] = 1  # an editor repaints it
    (safe,) = run("PhotovaxImmunize", image=image, mask=mask, **quick(tmp_path))
    changed = (levels(safe) != levels(image)).any(-1)
    assert changed[:, :, :40].any()
    assert not changed[:, :, 40:].any()
    # What the host's loader gives with a picture that has no mask.
    (whole,) = run("PhotovaxImmunize", image=image, mask=torch.zeros(1, 64, 64), **quick(tmp_path))
    assert (levels(whole) != levels(image)).any(-1)[:, :, 40:].any()
    with pytest.raises(UsageError, match="3 masks for 2 pictures"):
        run("PhotovaxImmunize", image=image, mask=mask.expand(3, -1, -1), **quick(tmp_path))


def test_strengths_and_seeds_reach_the_recipe(image, host, tmp_path):
    options: dict[str, Any] = {"image": image[:1], "levels": 2.0, "size": 64, **quick(tmp_path)}
    options["recipe"] = str(recipe_file(tmp_path, "linf", preset="fast-linf"))
    first, second = (levels(run("PhotovaxImmunize", seed=s, **options)[0]) for s in (0, 1))
    assert np.abs(first.astype(int) - levels(image[:1])).max() == 2
    assert not np.array_equal(first, second)
    with pytest.raises(UsageError, match="give one"):
        run("PhotovaxImmunize", visibility="low", **options)


def test_transparency_and_values_out_of_range_do_no_harm(image, host, tmp_path):
    wide = image[:1] * 1.02 - 0.01
    (safe,) = run("PhotovaxImmunize", image=wide, **quick(tmp_path))
    assert 0 <= safe.min() <= safe.max() <= 1
    layers = torch.cat([image[:1], torch.full((1, 64, 80, 1), 0.5)], -1)
    (safe,) = run("PhotovaxImmunize", image=layers, **quick(tmp_path))
    assert safe.shape == layers.shape
    assert len(np.unique(levels(safe)[..., 3])) == 1
    with pytest.raises(UsageError, match="not finite"):
        run("PhotovaxImmunize", image=image * torch.nan, **quick(tmp_path))


def test_edits_of_both_are_compared(image, host):
    changed = (image + 0.1 * torch.rand(image.shape)).clamp(0, 1)
    asked: dict[str, Any] = {"prompt": "make it night", "steps": 2, "size": 64}
    edited, clean, psnr, report = run(
        "PhotovaxEditAndCompare", image=changed, original=image, **asked
    )
    assert edited.shape == clean.shape == (2, 64, 80, 3)
    assert not torch.equal(edited, clean)
    assert 5 < psnr < 60
    assert report.count("dB further from the true edit") == 2
    assert host[-1] == (4, 4)
    alone = photovax.edit(levels(image)[0], device="cpu", **asked)
    assert np.array_equal(levels(clean)[0], alone)
    mask = torch.zeros(1, 64, 80)
    mask[..., 40:] = 1
    asked |= {"mode": "inpaint", "prompt": "a beach", "mask": mask}
    edited, clean, *_ = run("PhotovaxEditAndCompare", image=image, original=image, **asked)
    assert torch.equal(edited, clean)
    moved = (clean - image).abs().mean((0, 1, 3))
    assert moved[:36].mean() < moved[44:].mean()


def test_cancelling_in_the_host_ends_the_work(image, host, tmp_path, monkeypatch):
    class InterruptProcessingException(Exception):
        pass

    def cancelled(self, value, total=None):
        if value == 1:
            raise InterruptProcessingException

    bar = sys.modules["comfy.utils"].ProgressBar
    monkeypatch.setattr(bar, "update_absolute", cancelled)
    with pytest.raises(InterruptProcessingException):
        run("PhotovaxImmunize", image=image, **quick(tmp_path))
    monkeypatch.undo()
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_the_models_of_a_run_are_loaded_once(image, host, tmp_path, monkeypatch):
    run("PhotovaxImmunize", image=image[:1], **quick(tmp_path))
    monkeypatch.setattr("photovax.models.surrogates.load_autoencoder", None)
    run("PhotovaxImmunize", image=image[:1], **quick(tmp_path))


def test_the_nodes_state_what_the_host_asks_for():
    assert NODE_CLASS_MAPPINGS.keys() == NODE_DISPLAY_NAME_MAPPINGS.keys()
    for kind in NODE_CLASS_MAPPINGS.values():
        stated = kind.INPUT_TYPES()
        for values, *settings in (*stated["required"].values(), *stated["optional"].values()):
            assert isinstance(values, str | list)
            default = settings[0].get("default") if settings else None
            if isinstance(values, list) and default is not None:
                assert default in values


def test_without_a_host_the_device_is_found_out():
    from photovax.integrations.comfyui.host import device, teller

    assert "comfy" not in sys.modules
    assert device() == "auto"
    assert teller()(1, 2) is None


def test_the_folder_is_a_custom_node(tmp_path, monkeypatch):
    # As the host imports it: under its path, which is no name of a module.
    name = str(FOLDER).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    assert module.NODE_CLASS_MAPPINGS is NODE_CLASS_MAPPINGS


def test_the_registry_is_told_this_version():
    told = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert told["project"]["version"] == VERSION
    assert told["project"]["requires-python"] == own["requires-python"]
    assert {"PublisherId", "DisplayName"} <= told["tool"]["comfy"].keys()
    listed = (FOLDER / "requirements.txt").read_text(encoding="utf-8").split()
    assert told["project"]["dependencies"] == listed
    (need,) = map(Requirement, listed)
    assert need.extras <= own["optional-dependencies"].keys()
    assert need.specifier.contains(VERSION)
