"""Settings of a program that calls photovax, which its results must not depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread

import numpy as np
import pytest
import torch
from PIL import Image

import photovax
from photovax.attack.presets import PRESETS
from photovax.attack.recipe import Recipe
from photovax.machine.host import own_settings


@contextmanager
def precision(name: str) -> Iterator[None]:
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(former)


HOSTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "coarse products": lambda: precision("medium"),
    "another device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("recipe", ["instant", "fast", "quick"])
def test_results_are_those_of_a_plain_program(
    name: str, recipe: str, quick: Recipe, pixels: np.ndarray
) -> None:
    picture = Image.fromarray(pixels)
    chosen = quick if recipe == "quick" else PRESETS[recipe]

    def made() -> np.ndarray:
        safe = photovax.immunize(picture, recipe=chosen, size=64, device="cpu")
        photovax.check(safe, picture, size=64, device="cpu")
        return np.asarray(safe)

    plain = made()
    with HOSTS[name]():
        inside = made()
    assert np.array_equal(inside, plain)
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_last_thread_restores_what_the_first_one_found() -> None:
    first, second = Event(), Event()

    def brief() -> None:
        with own_settings():
            first.set()
            second.wait(60)

    torch.set_default_dtype(torch.float64)
    try:
        thread = Thread(target=brief)
        thread.start()
        assert first.wait(60)
        with own_settings():
            second.set()
            thread.join()
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64
        with precision("medium"), own_settings():
            assert torch.randn(3, 3).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
