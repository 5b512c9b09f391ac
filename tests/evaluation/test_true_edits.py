import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from photovax.evaluation.colours import COLOURS, lab, name_colour
from photovax.evaluation.true_edits import TRUE_EDITS, find_true_edit


def test_lab_agrees_with_scikit_image():
    rgb = np.random.default_rng(0).random((200, 3))
    np.testing.assert_allclose(lab(torch.from_numpy(rgb)).numpy(), rgb2lab(rgb[None])[0], atol=0.02)


@pytest.mark.parametrize("name", COLOURS)
def test_every_example_has_its_own_name(name):
    for example in COLOURS[name]:
        assert name_colour(torch.tensor(example) / 255) == name


@pytest.mark.parametrize("edit", TRUE_EDITS.values(), ids=lambda edit: edit.name)
def test_filters_keep_shape_and_range_and_change_the_picture(edit):
    picture = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    edited = edit.filter(picture)
    assert edited.shape == picture.shape
    assert edited.min() >= 0
    assert edited.max() <= 1
    assert (edited - picture).abs().mean() > 0.02


@pytest.mark.parametrize("edit", TRUE_EDITS.values(), ids=lambda edit: edit.name)
def test_a_picture_of_a_batch_is_filtered_as_it_is_alone(edit):
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(edit.filter(pictures)[1:], edit.filter(pictures[1:]))


def test_no_wording_means_two_edits():
    wordings = [w for e in TRUE_EDITS.values() for w in (*e.orders, *e.looks, *e.unseen)]
    assert len(wordings) == len(set(wordings))


def test_edits_are_found_by_their_wordings():
    found = find_true_edit(" Make it NIGHT ")
    assert found is not None
    assert found.name == "night"
    assert find_true_edit("add a dragon") is None
