import json
import sys

import pytest
from PIL import Image, ImageEnhance

from photovax.checks.noise import noisy
from photovax.pictures.photo import read_photo


@pytest.fixture
def served(photo_file, tmp_path):
    """A noisy photo as a platform serves it: cropped, resized, as JPEG."""
    photo = read_photo(photo_file)
    noise = Image.fromarray(noisy(photo.pixels, 8, 7))
    noise.resize((100, 80), box=(11, 7, 136, 107)).save(tmp_path / "served.jpg", quality=80)
    return tmp_path / "served.jpg"


def test_what_was_done_to_a_copy_is_printed(served, photovax):
    pytest.importorskip("cv2")
    code, out, err = photovax("check", served, "--original", "photo.jpg", "--device", "cpu")
    assert (code, err) == (11, "")
    first, *_, verdict, advice = out.splitlines()
    assert first == (
        "step: cropped to columns 11 to 136 and rows 7 to 107, resized to 80.0% (bicubic), "
        "JPEG, quality 80, 4:2:0; the original likewise"
    )
    assert verdict.startswith("FAIL: these models see hardly more than noise")
    assert advice == (
        "next: crop and resize the original to 100 x 80 as here, then immunize the original with "
        "--visibility high"
    )


def test_what_was_done_to_a_copy_is_in_the_json(served, photovax):
    pytest.importorskip("cv2")
    code, out, _ = photovax("check", served, "--original", "photo.jpg", "--json")
    found = json.loads(out)
    assert code == 11
    assert found["step"]["box"] == [11, 7, 136, 107]
    assert found["step"]["scale"] == [0.8, 0.8]
    assert found["step"]["jpeg"]["quality"] == 80
    assert found["meaning"].startswith("these models see")
    assert "--visibility high" in found["next"]


def test_nothing_was_done_to_the_saved_photo(photo_file, tmp_path, photovax):
    photo = read_photo(photo_file)
    Image.fromarray(noisy(photo.pixels, 8, 7)).save(tmp_path / "noise.png")
    code, out, _ = photovax("check", "noise.png", "--original", "photo.jpg")
    assert code == 11
    assert out.startswith("change: 8 of 255 levels at most")
    assert out.splitlines()[-1] == "next: immunize the original with --visibility high"


def test_a_resized_copy_without_opencv_says_what_to_install(served, monkeypatch, photovax):
    monkeypatch.setitem(sys.modules, "cv2", None)
    code, out, err = photovax("check", served, "--original", "photo.jpg")
    assert (code, out) == (8, "")
    assert err == (
        "photovax: a copy that was resized or cropped needs the package cv2; type: pip install "
        '"photovax[evaluate]"\n'
    )


def test_a_filter_is_noted(photo_file, tmp_path, photovax):
    pytest.importorskip("cv2")
    bright = ImageEnhance.Brightness(Image.open(photo_file)).enhance(0.7)
    bright.save(tmp_path / "dark.jpg", quality=85)
    code, out, _ = photovax("check", "dark.jpg", "--original", "photo.jpg", "--device", "cpu")
    assert code == 11  # it is a clean photo
    lines = out.splitlines()
    assert lines[0].startswith("step: filtered in all colours, JPEG, quality 85")
    assert lines[-3].startswith("note: most of the change was one of all colours")
    assert lines[-3].endswith("does not count")


def test_what_treatments_leave_is_printed_and_in_the_json(
    photo_file, tmp_path, monkeypatch, photovax
):
    few = {"none": "nothing", "resize50": "halving the size"}
    monkeypatch.setattr("photovax.checks.survival.TREATMENTS", few)
    photo = read_photo(photo_file)
    Image.fromarray(noisy(photo.pixels, 8, 7)).save(tmp_path / "noise.png")
    given = ("check", "noise.png", "--original", "photo.jpg", "--device", "cpu", "--survival")
    code, out, _ = photovax(*given)
    assert code == 11
    lines = out.splitlines()
    start = lines.index("left of the latent shift after (worst first; edits can lose more):")
    # Noise is judged as noise is, whatever is left of it.
    assert lines[start + 1].startswith("  halving the size")
    assert lines[start + 2].startswith("  nothing            100% left: FAIL (")
    code, out, _ = photovax(*given, "--json")
    found = json.loads(out)["survival"]
    assert [each["label"] for each in found["after"]] == ["halving the size", "nothing"]
    assert found["after"][0]["models"]["embedded"].keys() == {"shift", "noise", "verdict"}
    assert found["left_out"] == {}
