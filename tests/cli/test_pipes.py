"""Photos from standard input: the type of what is written to standard output."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from photovax.cli.pipes import piped


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("JPEG", ".jpg"), ("MPO", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("GIF", ".png")],
)
def test_a_result_has_the_type_that_it_would_have_as_a_file(kind, suffix, monkeypatch):
    image, data = Image.new("RGB", (8, 8)), io.BytesIO()
    more = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}
    image.save(data, kind, **more)
    data.seek(0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=data))
    with piped(["-"], "-", None, as_json=False) as pipe:
        assert pipe.output is not None
        assert Path(pipe.output).suffix == suffix
        assert pipe.shown(pipe.output) == f"standard output{suffix}"
