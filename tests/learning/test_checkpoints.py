"""The state that a training leaves behind."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from photovax.learning.checkpoints import read_checkpoint, write_checkpoint


class Harmful:
    """What a pickle can make of a file: a call of any function."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_training_goes_on_from_the_state_it_left(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    draws = np.random.default_rng(3)
    draws.integers(7, dtype=np.uint32)
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": (torch.get_rng_state(), draws.bit_generator.state),
        "counts": (3, 4.5, {"instruct": float("nan")}),
    }
    assert read_checkpoint(tmp_path) is None
    write_checkpoint(state, tmp_path)
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert torch.equal(found["model"]["weight"], model.weight)
    torch.optim.AdamW(model.parameters()).load_state_dict(found["optimiser"])
    assert found["random"][1] == draws.bit_generator.state
    again = np.random.default_rng(0)
    again.bit_generator.state = found["random"][1]
    assert again.random() == draws.random()


def test_a_checkpoint_runs_no_code(tmp_path):
    write_checkpoint({"model": Harmful(tmp_path / "mark")}, tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        read_checkpoint(tmp_path)
    assert not (tmp_path / "mark").exists()
