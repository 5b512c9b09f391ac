"""The example of a platform: what it serves is immunized at the size at which it serves it."""

import io

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

import photovax
from examples.after_resize import platform, resized
from photovax.pictures.sample import SAMPLE
from tests.serving import recipe_file


def test_what_is_served_is_immunized_as_it_is_served(tmp_path):
    recipe = str(recipe_file(tmp_path, steps=16))
    web = TestClient(platform(tmp_path / "photos", side=128, recipe=recipe, device="cpu"))
    data = SAMPLE.read_bytes()
    made = web.post("/photos", files={"photo": ("me.jpg", data)})
    assert made.status_code == 201
    served = web.get(made.headers["location"])
    with Image.open(io.BytesIO(served.content)) as image:
        assert (image.format, max(image.size)) == ("JPEG", 128)
    found = photovax.check(served.content, resized(data, 128), size=64, device="cpu")
    assert found.verdict.value != "FAIL"


def test_a_photo_is_resized_as_it_is_shown():
    wide = np.linspace(0, 65535, 64).round().astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(np.tile(wide, (64, 1))).save(file, "PNG")
    with Image.open(io.BytesIO(resized(file.getvalue(), 64))) as image:
        assert image.mode == "L"
        assert np.abs(np.asarray(image)[0] - wide / 257).max() <= 1
    hidden = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    file = io.BytesIO()
    hidden.save(file, "PNG", icc_profile=b"")
    with Image.open(io.BytesIO(resized(file.getvalue(), 32))) as image:
        assert image.getcolors() == [(32 * 32, (255, 255, 255))]


def test_other_uploads_are_refused(tmp_path):
    web = TestClient(platform(tmp_path / "photos"))
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    assert web.post("/photos", files={"photo": ("x.png", bomb.getvalue())}).status_code == 422
    assert web.post("/photos", files={"photo": ("x", b"no picture")}).status_code == 422
    assert web.post("/photos", files={"other": ("x", b"x")}).status_code == 422
    assert web.get("/photos/00000000-0000-4000-8000-000000000000").status_code == 404
    assert list((tmp_path / "photos").iterdir()) == []
