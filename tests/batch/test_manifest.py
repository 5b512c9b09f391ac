"""The manifest: appended to by several, and read whatever happened to it."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from photovax.batch.manifest import Entry, Manifest
from photovax.errors import SaveError

NAMES = ("../in/a.jpg", '../in/quo"te.jpg', "../in/back\\slash\\", "../in/żółw 写 🙂.jpg", "\udcff")


def entry(photo: str, **fields) -> Entry:
    return Entry(photo, "done", order="o", stamp=(3, 4), figures={"jod": 9.5}, **fields)


def test_the_last_line_of_a_photo_counts(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    for name in NAMES:
        manifest.add(Entry(name, "failed", error="first"))
    for name in NAMES:
        manifest.add(entry(name, output="x.png"))
    for found in (manifest, Manifest(tmp_path)):
        assert len(found) == len(NAMES)
        assert [found.get(name) for name in NAMES] == [entry(n, output="x.png") for n in NAMES]
        assert found.get("../in/other.jpg") is None
    assert len((tmp_path / ".photovax/manifest.jsonl").read_text().splitlines()) == 2 * len(NAMES)


def test_lines_that_were_cut_short_cost_only_themselves(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    for name in "abc":
        manifest.add(entry(name))
    file = tmp_path / ".photovax/manifest.jsonl"
    whole = file.read_bytes()
    for cut in range(2, len(whole) // 3):
        file.write_bytes(whole[:-cut])
        manifest = Manifest(tmp_path)
        assert [manifest.get(name) for name in "abc"] == [entry("a"), entry("b"), None]
        manifest.add(entry("d"))
        again = Manifest(tmp_path)
        assert [again.get(name) for name in "abcd"] == [entry("a"), entry("b"), None, entry("d")]
    file.write_bytes(b"\0" * 50 + b'\n{"photo": "x"}\n[1]\n{"photo": 1}\n' + whole)
    assert [Manifest(tmp_path).get(name) for name in "abcx"] == [*map(entry, "abc"), None]


def test_a_line_of_a_later_version_is_read(tmp_path: Path) -> None:
    Manifest(tmp_path).add(entry("a"))
    file = tmp_path / ".photovax/manifest.jsonl"
    line = json.loads(file.read_text()) | {"more": 1}
    file.write_text(json.dumps(line) + "\n")
    assert Manifest(tmp_path).get("a") == entry("a")


def write_many(folder: Path, name: str) -> None:
    manifest = Manifest(folder)
    for number in range(300):
        manifest.add(entry(f"{name}{number}", error="x" * 700))


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(tmp_path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    manifest = Manifest(tmp_path)
    assert len(manifest) == 600
    assert all(manifest.get(f"{name}{number}") for name in "ab" for number in range(300))


def test_parts_write_files_of_their_own_and_read_all(tmp_path: Path) -> None:
    Manifest(tmp_path, (1, 2)).add(entry("a"))
    Manifest(tmp_path, (2, 2)).add(entry("b"))
    assert len(list((tmp_path / ".photovax").iterdir())) == 2
    assert Manifest(tmp_path).get("a") == Manifest(tmp_path, (2, 2)).get("a") == entry("a")


def test_without_a_folder_it_is_kept_in_memory(tmp_path: Path) -> None:
    for manifest in (Manifest(None), Manifest(tmp_path, writes=False)):
        manifest.add(entry("a"))
        manifest.note("n.json", {"x": 1})
        assert manifest.get("a") == replace(entry("a"))
    assert not list(tmp_path.iterdir())


def test_a_manifest_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".photovax").write_text("a file")
    with pytest.raises(SaveError, match=r"manifest\.jsonl: cannot be written"):
        Manifest(tmp_path).add(entry("a"))


def test_notes_are_kept(tmp_path: Path) -> None:
    Manifest(tmp_path).note("n.json", {"workers": 2})
    assert Manifest(tmp_path).noted("n.json") == {"workers": 2}
    (tmp_path / ".photovax/n.json").write_text("{")
    assert Manifest(tmp_path).noted("n.json") == {}
