"""The example of a platform: what it serves is immunized at the size at which it serves it."""

import io

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


def test_other_uploads_are_refused(tmp_path):
    web = TestClient(platform(tmp_path / "photos"))
    assert web.post("/photos", files={"photo": ("x", b"no picture")}).status_code == 422
    assert web.post("/photos", files={"other": ("x", b"x")}).status_code == 422
    assert web.get("/photos/00000000-0000-4000-8000-000000000000").status_code == 404
    assert list((tmp_path / "photos").iterdir()) == []
