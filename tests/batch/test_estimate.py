"""What a dry run says, and that it writes nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from photovax.batch.estimate import estimate
from photovax.batch.manifest import Manifest
from photovax.batch.order import Order
from photovax.batch.outcome import duration
from photovax.batch.plan import make_plan
from photovax.batch.run import Run
from photovax.batch.runner import Local
from photovax.batch.work import Work
from tests.batch.conftest import Shoot


def test_a_dry_run_counts_and_measures(
    tmp_path: Path, shoot: Shoot, order: Order, work: Work
) -> None:
    out = tmp_path / "out"
    shoot("in/a.jpg")
    run = Run(make_plan([tmp_path / "in"], out), order, Local(work), Manifest(out))
    assert len(list(run.outcomes())) == 1
    (out / ".photovax/manifest.jsonl").unlink()
    for name in ("b.jpg", "c.jpg", "d.jpg", "e.jpg"):
        shoot(f"in/{name}")
    (tmp_path / "in/bad.jpg").write_text("no picture")
    before = sorted(tmp_path.rglob("*"))
    plan = make_plan([tmp_path / "in"], out)
    asked = replace(order, keep_times=True)
    photos, seconds, memory, disk = estimate(plan, asked, Manifest(out, writes=False))
    assert photos == "photos  5 to immunize, 1 done before"
    assert re.fullmatch(r"time    \d+ (s|min) with one worker, \d+ s a photo \(\d tried\)", seconds)
    assert re.fullmatch(r"memory  [\d.]+ [GM]iB a worker; [\d.]+ [GM]iB are available", memory)
    assert re.fullmatch(r"disk    [\d.]+ [GM]iB; [\d.]+ [GM]iB are free", disk)
    assert sorted(tmp_path.rglob("*")) == before
    timed = estimate(plan, replace(order, seconds=600.0), Manifest(out, writes=False))
    assert timed[1].startswith("time    60 min with one worker, 10 min a photo")
    alone = make_plan([tmp_path / "in/bad.jpg"], out)
    assert estimate(alone, order, Manifest(out)) == ["photos  1 to immunize, 0 done before"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.2, "1 s"), (89, "89 s"), (150, "2 min"), (7200, "2.0 h"), (400_000, "4.6 days")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
