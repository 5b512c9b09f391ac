"""What Apple's GPUs can compute: PyTorch's own list of kernels, without such a machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchgen  # type: ignore[import-untyped]
from torch import Generator
from torch.utils._python_dispatch import TorchDispatchMode
from torchgen.gen import (  # type: ignore[import-untyped]
    ParsedYaml,
    parse_native_yaml,
)
from torchgen.model import DispatchKey  # type: ignore[import-untyped]

from photovax.attack.presets import PRESETS
from photovax.immunizer import Immunizer
from photovax.models.views import VIEWS, resampled, resampling
from photovax.pictures.photo import Photo
from photovax.registry import Part
from tests.models.views.test_contract import OPTIONS
from tests.recipes import each_view_once

# Attention has other kernels on each device, which PyTorch chooses by itself.
CHOSEN = {f"_scaled_dot_product_flash_attention_for_cpu{end}" for end in ("", "_backward")}


@cache
def kernels() -> ParsedYaml:
    folder = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native"
    return parse_native_yaml(str(folder / "native_functions.yaml"), str(folder / "tags.yaml"))


@cache
def computed(name: str) -> bool:
    """Whether an operation has a kernel for Apple's GPUs, or is made of others."""
    functions = {str(each.func.name): each for each in kernels().native_functions}
    found = functions[name]
    if found.structured_delegate is not None:
        found = functions[str(found.structured_delegate)]
    own: bool = kernels().backend_indices[DispatchKey.MPS].has_kernel(found)
    return own or bool(found.has_composite_kernel)


class Used(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "aten":
            self.names.add(str(func._schema.name).removeprefix("aten::") + self._overload(func))
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _overload(func: Any) -> str:
        name = func._schema.overload_name
        return f".{name}" if name else ""


@contextmanager
def only_what_apple_has() -> Iterator[None]:
    used = Used()
    with used:
        yield
    assert used.names
    assert {name for name in used.names - CHOSEN if not computed(name)} == set()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resize as on devices without the kernels that CPUs have."""
    monkeypatch.setattr(resampling, "_KERNELS", ("meta",))


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "area"])
@pytest.mark.parametrize(("height", "width"), [(17, 40), (64, 33), (31, 90), (90, 31)])
def test_matrices_resize_as_pytorch_does(kernel, height, width, monkeypatch):
    images = torch.rand(2, 3, 31, 90, generator=Generator().manual_seed(0), requires_grad=True)
    usual = resampled(images, height, width, kernel)
    weights = torch.rand(usual.shape, generator=Generator().manual_seed(1))
    (expected,) = torch.autograd.grad((usual * weights).sum(), images)
    monkeypatch.setattr(resampling, "_KERNELS", ("meta",))
    made = resampled(images, height, width, kernel)
    (gradient,) = torch.autograd.grad((made * weights).sum(), images)
    torch.testing.assert_close(made, usual, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-5)


def test_what_apple_lacks_is_noticed():
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    lacking = pytest.raises(AssertionError, match="_upsample_bicubic2d_aa_backward")
    with lacking, only_what_apple_has():
        resampled(images, 5, 5, "bicubic").sum().backward()


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_views_have_gradients_on_apples_gpus(name, elsewhere):
    view = VIEWS.create(Part(name, OPTIONS.get(name, {}))).fitted(40)
    images = torch.rand(1, 3, 57, 83, generator=Generator().manual_seed(0), requires_grad=True)
    with only_what_apple_has():
        view(images, Generator().manual_seed(0)).sum().backward()


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "decontext"])
def test_recipes_run_on_apples_gpus(name, elsewhere):
    given = np.random.default_rng(0).integers(0, 256, (72, 104, 3), dtype=np.uint8)
    mask = np.zeros(given.shape[:2], bool)
    mask[20:50, 30:80] = True
    recipe = each_view_once(PRESETS[name])
    steps = replace(recipe, steps=1, size=64, warm=recipe.warm and None, draws=None)
    immunizer = Immunizer(device="cpu", precision="float32")
    with only_what_apple_has():
        made = immunizer.immunize(Photo.from_array(given), steps, mask=mask)
    assert (made.photo.pixels != given).any()
