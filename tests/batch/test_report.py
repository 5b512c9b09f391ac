"""Reports: a table and a page of what became of each photo."""

import csv
from pathlib import Path

import pytest

from photovax.batch.manifest import Entry, Manifest
from photovax.batch.plan import Plan, Task
from photovax.batch.report import check_report, write_report
from photovax.errors import UnreadablePhoto, UsageError
from tests.batch.conftest import Shoot


@pytest.fixture
def plan(tmp_path: Path, shoot: Shoot) -> tuple[Plan, Manifest]:
    manifest = Manifest(tmp_path / "out")
    shoot("out/a.png")
    figures: dict[str, float | None] = {"shift": 0.4321, "jod_fhd": 9.25, "ssim": None}
    entry = Entry("../a.jpg", "done", output="a.png", verdict="PASS", figures=figures, seconds=2.5)
    manifest.add(entry)
    manifest.add(Entry("../<b>.jpg", "failed", error="<b>.jpg: broken"))
    tasks = [
        Task(str(shoot("a.jpg")), str(tmp_path / "out/a.png"), "../a.jpg"),
        Task("<b>.jpg", "b.png", "../<b>.jpg"),
        Task("not yet\udcff.jpg", "c.png", "../c.jpg"),
    ]
    gone = UnreadablePhoto("gone.jpg: missing", hint="look")
    return Plan(tuple(tasks), str(tmp_path / "out"), failed=(("gone.jpg", gone),)), manifest


def test_a_table_has_a_row_for_each_photo(plan, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("an older one")
    assert write_report(path, *plan) == path
    with path.open(encoding="utf-8", newline="") as file:
        done, failed, left, gone = csv.DictReader(file)
    assert done["photo"].endswith("a.jpg")
    assert done["result"].endswith("out/a.png")
    assert (done["state"], done["verdict"], done["shift"]) == ("done", "PASS", "0.4321")
    assert (done["jod_fhd"], done["ssim"], done["seconds"]) == ("9.25", "", "2.5")
    assert (failed["state"], failed["error"], failed["result"]) == ("failed", "<b>.jpg: broken", "")
    assert (left["state"], left["photo"]) == ("open", "not yet\\udcff.jpg")
    assert (gone["state"], gone["error"]) == ("failed", "gone.jpg: missing; look")


def test_a_page_shows_each_pair(plan, tmp_path: Path) -> None:
    text = write_report(tmp_path / "r.html", *plan).read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    for part in ("1 PASS, 2 failed, 1 open", "&lt;b&gt;.jpg: broken", "0.4321", "9.25"):
        assert part in text
    assert "<b>" not in text
    assert "SSIM" not in text
    assert "http" not in text


def test_a_report_that_cannot_be_written_is_refused_before(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv or \.html file, got .*r\.pdf"):
        check_report(tmp_path / "r.pdf")
    with pytest.raises(UsageError, match="there is no folder"):
        check_report(tmp_path / "none/r.csv")
    with pytest.raises(UsageError, match="there is no folder"):
        check_report(tmp_path / "none/r.csv", str(tmp_path / "out"))
    check_report(tmp_path / "out/r.csv", str(tmp_path / "out"))  # which the run makes
    (tmp_path / "r.csv").mkdir()
    with pytest.raises(UsageError, match=r"r\.csv: a report is a file, and this is a folder"):
        check_report(tmp_path / "r.csv")
    check_report(Path("r.CSV"))
    assert not Path("r.CSV").exists()
