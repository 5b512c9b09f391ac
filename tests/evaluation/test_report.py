"""The report: one page, and the same figures as data."""

import csv
import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from photovax.evaluation.report import write_report
from photovax.evaluation.run import Evaluation
from tests.evaluation.samples import case, made_up


def test_the_report_says_what_was_found(
    done: tuple[Evaluation, Path], photos: list[Path], tmp_path: Path
):
    results = done[0].results(photos)
    report = write_report(results, tmp_path, device="cpu")
    page = report.html.read_text(encoding="utf-8")
    assert "quick 16/255" in page
    assert "fewer than 20 photos (2)" in page
    seen = find_spec("flip_evaluator") is not None
    assert page.count("data:image/webp") == (5 + seen) * 2
    assert page.count("visible difference (FLIP)") == 4 * seen  # caption and alternative text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results.cases)
    data = json.loads((tmp_path / "results.json").read_text())

    def mean(label: str) -> float:
        chosen = [r for r in rows if (r["recipe"], r["purification"]) == (label, "none")]
        return float(np.mean([float(row["ssim"]) for row in chosen]))

    (shown,) = [
        r
        for r in data["displacement"]
        if (r["label"], r["mode"], r["metric"]) == ("quick 16/255", "all", "ssim")
    ]
    assert shown["value"]["mean"] == pytest.approx(mean("quick 16/255"))
    assert shown["above"]["mean"] == pytest.approx(mean("noise 16/255") - mean("quick 16/255"))
    assert data["facts"]["recipes"]["quick 16/255"]["steps"] == 6
    assert "quick 16/255" in (tmp_path / "table.md").read_text(encoding="utf-8")
    # Wide tables: what lies beyond noise is a row, and an interval is broken nowhere inside.
    moved = page[page.index("<h2>(a)") : page.index("<h2>(b)")]
    (head,) = set(re.findall("<thead>.*?</thead>", moved, re.DOTALL))
    assert head.count("<th>") == 1 + len(results.between)
    beyond = re.findall(r"<td>beyond noise</td>((?:\s*<td>[^<]*</td>)+)</tr>", moved)
    assert beyond
    assert all(row.count("<td>") == len(results.between) for row in beyond)
    assert len(re.findall(r"\[[-+.\d]+,\xa0[-+.\d]+\]", page)) > len(beyond)
    assert not re.search(r"\[[-+.\d]+, ", page.partition("<pre>")[0])


def test_a_report_of_one_photo_is_json_that_any_reader_takes(
    done: tuple[Evaluation, Path], photos: list[Path], tmp_path: Path
):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    write_report(done[0].results(photos[:1]), tmp_path, device="cpu")
    data = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert data["displacement"][0]["value"]["low"] is None
    assert "nan" not in re.findall(r"[a-z]+", (tmp_path / "report.html").read_text("utf-8"))


@pytest.mark.parametrize(("held", "shown"), [(3 * 2**29, 1.5), (0, None)])
def test_the_peak_of_memory_is_this_process_own(
    held: int,
    shown: float | None,
    done: tuple[Evaluation, Path],
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("photovax.evaluation.report.peak_resident_bytes", lambda: held)
    write_report(done[0].results(photos[:1]), tmp_path, device="cpu")
    facts = json.loads((tmp_path / "results.json").read_text())["facts"]
    assert facts["peak_memory_gib"] == shown


def test_rows_stand_without_the_first_metric(tmp_path: Path):
    cases = [
        replace(case(label, photo, 0.5, 18.0), between={"face": None, "ssim": 0.5})
        for label in ("noise", "recipe")
        for photo in range(3)
    ]
    closer = {"face": True, "ssim": True}
    labels = {"face": "faces", "ssim": "SSIM"}
    results = made_up(
        cases, between=("face", "ssim"), higher_is_closer=closer, metric_labels=labels
    )
    page = write_report(results, tmp_path, device="cpu").html.read_text(encoding="utf-8")
    moved = page.split("(a) How far")[1].split("(b) Did")[0]
    assert moved.count("<td>recipe</td>") == 2  # instruct, and all together
    assert moved.count("beyond noise") == 2


def test_a_report_without_any_photo_is_written(tmp_path: Path):
    results = made_up([case("noise", 0, 0.9, 18.0)], failures={"broken.jpg": "no picture"})
    results = replace(results, cases=[])
    report = write_report(results, tmp_path / "new", device="cpu")
    assert "broken.jpg failed: no picture" in "\n".join(report.warnings)
