"""The figures that are kept of one photo."""

from pathlib import Path

from photovax.evaluation.store import PhotoStore


def test_a_store_keeps_what_it_is_given(tmp_path: Path):
    PhotoStore(tmp_path).add("a", {"x": 1})
    again = PhotoStore(tmp_path)
    again.add("b", {"x": 2})
    third = PhotoStore(tmp_path)
    assert (third.get("a"), third.get("b"), third.get("c")) == ({"x": 1}, {"x": 2}, None)
