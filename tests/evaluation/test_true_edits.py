"""Exact edits and their wordings."""

import pytest
import torch

from photovax.evaluation.true_edits import TRUE_EDITS, find_true_edit


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
