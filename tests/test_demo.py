"""``photovax demo``: what it writes and says, at a few steps of each attack."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from photovax import demo
from photovax.attack.presets import DEFAULT, DIFFUSION, PRESETS
from photovax.cli import app
from photovax.errors import SaveError
from photovax.models.catalog.entries import CATALOG
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE, SAMPLE_MASK


@pytest.fixture
def short(monkeypatch):
    """The demo's own recipes and edits, cut short."""
    recipes = {name: replace(PRESETS[name], steps=1, size=128) for name in (DEFAULT, DIFFUSION)}
    monkeypatch.setitem(CATALOG, "embedded", replace(CATALOG["embedded"], size=128))
    monkeypatch.setattr(demo, "PRESETS", recipes)
    monkeypatch.setattr(demo, "EDITS", tuple(replace(edit, steps=2) for edit in demo.EDITS))


def test_a_folder_that_cannot_be_made_is_one_line(short, tmp_path):
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "file"), "--device", "cpu"])
    assert isinstance(refused.exception, SaveError)


def test_it_writes_immunized_photos_and_a_sheet_and_says_what_was_measured(short, tmp_path):
    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    original = read_photo(SAMPLE).pixels
    loudest = PRESETS[DEFAULT].with_visibility(demo.VISIBILITY)
    names = ["encoder", *(f"diffusion-{edit.mode}" for edit in demo.EDITS)]
    for name in names:
        pixels = read_photo(tmp_path / f"sample.{name}.png").pixels
        change = np.abs(pixels.astype(int) - original)
        assert 0 < change.max() <= (loudest.levels or 0), name
        assert (tmp_path / f"sample.{name}.png.json").exists()
        assert f"sample.{name}.png, PSNR" in result.output
    kept = np.asarray(Image.open(SAMPLE_MASK).convert("L")) > 127
    inpaint = read_photo(tmp_path / "sample.diffusion-inpaint.png").pixels
    assert np.array_equal(
        inpaint[~kept], original[~kept]
    )  # what is repainted is not worth changing
    with Image.open(tmp_path / "demo.png") as sheet:
        assert sheet.width > 5 * 256 * original.shape[1] / original.shape[0]
        assert sheet.height > len(demo.EDITS) * 256
    for edit in demo.EDITS:
        for attack in ("encoder", "diffusion"):
            assert f"{edit.mode:<8} {attack:<9} attack: PSNR" in result.output
    assert result.output.count("further from the true edit") == 2  # only instruct has a true edit
