import os
import shutil
import sys
import tomllib
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from photovax import doctor, functions
from photovax.models.catalog.entries import CATALOG
from tests.hub_cache import keep
from tests.places import ROOT

pytestmark = pytest.mark.usefixtures("cache")
NEEDS = {
    "photovax": [
        *("here>=1", "old>=2", "gone>=1"),
        "there[pool]>=1; extra == 'full'",
        "here>=1; extra == 'part'",
        "elsewhere>=1; sys_platform == 'atari' and extra == 'part'",
    ],
    "there": ["lost>=1; extra == 'pool'", "other>=1; extra == 'more'"],
}
INSTALLED = {"here": "1.5", "old": "1.9", "there": "1.1rc1"}


@pytest.fixture
def untried(monkeypatch):
    monkeypatch.setattr(doctor, "_trial", lambda _device: doctor.Trial(None, 1.0))


@pytest.fixture
def packages(monkeypatch, untried):
    """Another set of packages, some of which are installed."""

    def installed(name):
        if name not in INSTALLED:
            raise PackageNotFoundError(name)
        return INSTALLED[name]

    class Metadata:
        @staticmethod
        def get_all(_name, _missing):
            return ["full", "part"]

    monkeypatch.setattr(doctor, "requires", NEEDS.get)
    monkeypatch.setattr(doctor, "metadata", lambda _name: Metadata)
    monkeypatch.setattr(doctor, "version", installed)


def test_every_extra_has_a_purpose():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(doctor.EXTRAS) == set(told["project"]["optional-dependencies"])


def test_this_machine_works():
    found = doctor.diagnose(device="cpu")
    assert found.works, found.trial.problem
    assert found.computing is not None
    assert (found.computing.device, found.versions["torch"]) != ("", None)
    assert found.weights["embedded"] == doctor.Held(str(CATALOG["embedded"].folder), True)
    assert set(found.weights) == {"embedded"}


@pytest.mark.parametrize(
    ("part", "stands_for", "problem"),
    [
        ("edit", lambda picture, *_, **__: 255 - picture, "does not do what it is told"),
        ("immunize", lambda picture, **_: picture, "changes no pixel"),
        ("immunize", lambda *_, **__: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_what_computes_wrongly_cannot_work(monkeypatch, part, stands_for, problem):
    monkeypatch.setattr(functions, "immunize", lambda picture, **_: picture ^ np.uint8(1))
    monkeypatch.setattr(functions, part, stands_for)
    found = doctor.diagnose(device="cpu")
    assert not found.works
    assert problem in (found.trial.problem or "")


@pytest.mark.parametrize("error", [ImportError("no c10"), AttributeError("no array api")])
def test_a_torch_that_cannot_be_imported_is_told(monkeypatch, error):
    class Broken(MetaPathFinder):
        def find_spec(self, name, *_):
            if name == "torch":
                raise error

    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert doctor._computing("cpu") == (None, f"PyTorch cannot be imported: {error}")


def test_packages_that_are_missing_or_old_are_named(packages):
    found = doctor.diagnose(device="cpu")
    assert found.extras["full"].lacking == ("lost",)
    assert found.extras["part"].lacking == ()
    assert (found.versions["here"], found.versions["gone"]) == ("1.5", None)
    assert any("old>=2 instead of 1.9, gone: pip install" in change for change in found.changes)


def test_weights_are_found_where_models_look_for_them(cache, editor_folder, tmp_path, untried):
    vae = tmp_path / "alone"
    (vae / "vae").mkdir(parents=True)
    for file in (editor_folder / "vae").iterdir():
        os.link(file, vae / "vae" / file.name)
    keep(cache, CATALOG["sd15"].sources[0].repository, vae)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sd2").symlink_to(editor_folder)
    found = doctor.diagnose(device="cpu", weights=tmp_path / "own").weights
    assert {name: held.whole for name, held in found.items()} == {
        "embedded": True,
        "sd15": False,
        "sd2": True,
    }
    # Of a folder or a file that is a model itself, nobody knows which one.
    file = next((editor_folder / "vae").glob("*.safetensors"))
    for unnamed in (editor_folder, file):
        assert set(doctor.diagnose(device="cpu", weights=unnamed).weights) == {"embedded"}
    for part in ("encoder", "decoder"):
        (tmp_path / f"taesd_{part}.pth").touch()
    assert "taesd" in doctor.diagnose(device="cpu", weights=tmp_path).weights


def test_what_slows_or_stops_it_is_said(monkeypatch, untried):
    monkeypatch.setattr(doctor, "available_bytes", lambda: 2**29)
    monkeypatch.setattr(doctor, "chosen_by_user", lambda: ("MALLOC_MMAP_MAX_",))
    monkeypatch.setattr(doctor, "is_glibc", lambda: True)
    monkeypatch.setattr(doctor, "cores", lambda: 64)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/nvidia-smi")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = doctor.diagnose(device="cpu")
    said = "\n".join(found.changes)
    assert found.allocator == "glibc, left as MALLOC_MMAP_MAX_ set it"
    assert "unset MALLOC_MMAP_MAX_" in said
    assert "of 64 cores" in said
    assert "0.5 GiB of memory are available" in said
    assert "an NVIDIA driver" in said
    assert found.works
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # and the CPU was chosen
    assert "an NVIDIA driver" not in "\n".join(doctor.diagnose(device="cpu").changes)
