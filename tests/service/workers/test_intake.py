"""Uploads: whatever is sent, the service goes on."""

import concurrent.futures
import json
import os
import subprocess
import sys

import pytest

from tests.mutated import mutated
from tests.places import SHARED
from tests.service.asking import held_up, pictures_in, post

CASES = SHARED / "cases/make_cases.py"
MUTATED = int(os.environ.get("PHOTOVAX_MUTATED", "8"))  # each takes a third of a second


def test_mutated_pictures_never_break_it(idle, tmp_path):
    for content in mutated(MUTATED):
        answer = post(idle, content)
        assert answer.status_code in (202, 413, 422), answer.text
        if answer.status_code == 202:
            assert idle.delete(answer.json()["links"]["self"]).status_code == 204
    assert idle.get("/v1/models").status_code == 200
    assert pictures_in(tmp_path) == []


def test_uploads_that_wait_hold_up_nothing_else(idle, photo, monkeypatch):
    begun, may_go = held_up(monkeypatch)
    content = photo.read_bytes()
    with concurrent.futures.ThreadPoolExecutor(61) as pool:
        waiting = [pool.submit(post, idle, content) for _ in range(60)]
        try:
            assert begun.wait(30)
            for _ in range(50):  # the others come in meanwhile
                answer = pool.submit(idle.get, "/v1/models").result(timeout=30)
                assert answer.status_code == 200
        finally:
            may_go.set()
        assert {each.result().status_code for each in waiting} == {422}


def test_the_files_people_feed_such_tools_never_break_it(idle, tmp_path, tmp_path_factory):
    if not CASES.exists():
        pytest.skip(f"needs {CASES} (set PHOTOVAX_SHARED)")
    cases = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, CASES, cases], check=True, capture_output=True)  # noqa: S603
    tried = 0
    for case in json.loads((cases / "manifest.json").read_text("utf-8")):
        file = cases / case["file"]
        if case["expect"] == "error" and file.is_file():
            answer = post(idle, file.read_bytes())
            assert answer.status_code in (413, 422), (case, answer.text)
            assert str(tmp_path) not in answer.text
            tried += 1
    assert tried > 3
    assert pictures_in(tmp_path) == []
