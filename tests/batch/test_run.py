"""A run: what is skipped, what is done again, and what is said of failures."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from photovax.batch.manifest import Manifest
from photovax.batch.order import Order
from photovax.batch.plan import make_plan
from photovax.batch.run import Run
from photovax.batch.runner import Local
from photovax.batch.work import Work
from photovax.checks.verdicts import Verdict
from photovax.errors import OutputExists, UnreadablePhoto
from photovax.immunizer import Immunizer
from photovax.pictures.photo import read_photo
from photovax.registry import Part
from tests.batch.conftest import Shoot


@pytest.fixture
def go(tmp_path: Path, order: Order, work: Work):
    """A function that runs over in/ into out/: the run and its outcomes by name."""

    def run(given: Path | None = None, order: Order = order, **options):
        manifest = Manifest(tmp_path / "out")
        plan = make_plan([given or tmp_path / "in"], tmp_path / "out", recursive=True)
        started = Run(plan, order, Local(Work(order, work)), manifest, **options)
        outcomes = {os.path.basename(each.task.source): each for each in started.outcomes()}
        return started, outcomes

    return run


def stamps(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.png*")
    }


def test_a_second_run_has_nothing_to_do(go, shoot: Shoot, tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/b.jpg"):
        shoot(f"in/{name}")
    _, outcomes = go()
    states = {name: each.entry.state for name, each in outcomes.items()}
    assert states == {"a.jpg": "done", "b.jpg": "done"}
    before = stamps(tmp_path / "out")
    assert set(before) == {"a.png", "a.png.json", "sub/b.png", "sub/b.png.json"}
    run, outcomes = go()
    assert (run.done, run.total, outcomes) == (2, 0, {})
    # Without the manifest, the records say the same, and it is written anew.
    (tmp_path / "out/.photovax/manifest.jsonl").unlink()
    assert go()[0].done == 2
    assert len(Manifest(tmp_path / "out")) == 2
    # A photo that was only touched is the same photo.
    os.utime(tmp_path / "in/a.jpg")
    os.utime(tmp_path / "out/a.png")
    assert go()[0].done == 2
    assert set(stamps(tmp_path / "out")) == set(before)


def test_what_changed_is_done_again_if_it_may_be_replaced(
    go, order: Order, shoot: Shoot, tmp_path: Path
) -> None:
    shoot("in/a.jpg")
    shoot("in/b.jpg")
    go()
    first = (tmp_path / "out/a.png").read_bytes()
    shoot("in/a.jpg")
    _, outcomes = go()
    assert isinstance(outcomes["a.jpg"].error, OutputExists)
    assert (tmp_path / "out/a.png").read_bytes() == first
    _, outcomes = go(order=replace(order, overwrite=True))
    assert list(outcomes) == ["a.jpg"]
    assert (tmp_path / "out/a.png").read_bytes() != first
    # Other settings make another result.
    stripped = replace(order, strip_gps=True, overwrite=True)
    assert set(go(order=stripped)[1]) == {"a.jpg", "b.jpg"}
    assert go(order=stripped)[0].done == 2
    # A result that was changed or lost is made again.
    (tmp_path / "out/a.png").write_bytes(b"broken")
    (tmp_path / "out/b.png").unlink()
    _, outcomes = go(order=stripped)
    assert {name: each.error is None for name, each in outcomes.items()} == {
        "a.jpg": True,
        "b.jpg": True,
    }
    assert go(order=stripped)[0].done == 2


def test_a_file_of_somebody_else_is_never_replaced(go, shoot: Shoot, tmp_path: Path) -> None:
    shoot("in/a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_text("mine")
    _, outcomes = go()
    assert isinstance(outcomes["a.jpg"].error, OutputExists)
    assert (tmp_path / "out/a.png").read_text() == "mine"
    run, outcomes = go(existing=True)
    assert (run.done, outcomes) == (1, {})


def test_a_record_without_its_photo_is_of_a_killed_run(go, shoot: Shoot, tmp_path: Path) -> None:
    shoot("in/a.jpg")
    go()
    first = (tmp_path / "out/a.png").read_bytes()
    (tmp_path / "out/a.png").unlink()
    (tmp_path / "out/.photovax/manifest.jsonl").unlink()
    _, outcomes = go()
    assert outcomes["a.jpg"].error is None
    assert (tmp_path / "out/a.png").read_bytes() == first


def test_the_record_of_a_photo_that_was_moved_is_kept(
    go, order: Order, shoot: Shoot, tmp_path: Path
) -> None:
    shoot("in/a.jpg")
    go()
    (tmp_path / "out/a.png").rename(tmp_path / "published.png")
    record = (tmp_path / "out/a.png.json").read_bytes()
    other = replace(order, recipe=replace(order.recipe, seed=7))
    _, outcomes = go(order=other)
    assert isinstance(outcomes["a.jpg"].error, OutputExists)
    assert (tmp_path / "out/a.png.json").read_bytes() == record
    assert not (tmp_path / "out/a.png").exists()


def test_photos_that_another_run_did_meanwhile_are_done(
    go, order: Order, work: Work, shoot: Shoot, tmp_path: Path
) -> None:
    for name in "abc":
        shoot(f"in/{name}.jpg")

    class Overtaken(Local):
        def run(self, tasks, show):
            for task in tasks:
                if not started.done:
                    go()  # all three
                yield from super().run([task], show)

    plan = make_plan([tmp_path / "in"], tmp_path / "out")
    started = Run(plan, order, Overtaken(Work(order, work)), Manifest(tmp_path / "out"))
    assert list(started.left) == [task.source for task in started.todo]
    assert list(started.outcomes()) == []
    assert (started.done, started.total, started.left) == (3, 0, {})


def test_results_stay_where_they_are_when_names_come_that_collide(
    go, shoot: Shoot, tmp_path: Path
) -> None:
    shoot("in/a.jpg")
    go()
    shoot("in/a.png")
    run, outcomes = go()
    assert (run.done, list(outcomes)) == (1, ["a.png"])
    assert set(stamps(tmp_path / "out")) >= {"a.png", "a.png.png"}
    assert go()[0].done == 2
    shutil.rmtree(tmp_path / "out/.photovax")
    assert go()[0].done == 2
    assert not (tmp_path / "out/a.jpg.png").exists()


def test_two_photos_never_have_one_result(go, order: Order, shoot: Shoot, tmp_path: Path) -> None:
    again = replace(order, overwrite=True)
    first = shoot("in/a.jpg")
    go(order=again)
    away = first.rename(tmp_path / "a.jpg")
    shoot("in/a.png")
    go(order=again)  # replaces a.png, as asked
    away.rename(first)
    run, outcomes = go(order=again)
    assert (run.done, list(outcomes)) == (1, ["a.jpg"])
    places = {
        each.output
        for each in map(Manifest(tmp_path / "out").get, ("../in/a.jpg", "../in/a.png"))
        if each
    }
    assert places == {"a.jpg.png", "a.png"}
    assert go(order=again)[0].done == 2


def test_a_copy_of_a_photo_has_a_result_of_its_own(go, shoot: Shoot, tmp_path: Path) -> None:
    first = shoot("in/a.jpg")
    go()
    shutil.copy(first, first.with_suffix(".jpeg"))
    run, outcomes = go()
    assert (run.done, list(outcomes)) == (1, ["a.jpeg"])
    assert set(stamps(tmp_path / "out")) >= {"a.png", "a.jpeg.png"}
    assert go()[0].done == 2


def test_results_that_do_nothing_are_told_by_every_run(
    go, shoot: Shoot, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("photovax.checks.verdicts.ModelCheck.verdict", Verdict.FAIL)
    shoot("in/a.jpg")
    assert go()[0].unprotected == []  # the outcome says it
    assert go()[0].unprotected == [str(tmp_path / "out/a.png")]
    shutil.rmtree(tmp_path / "out/.photovax")
    assert go()[0].unprotected == [str(tmp_path / "out/a.png")]


def test_a_run_goes_on_past_bad_files(go, shoot: Shoot, tmp_path: Path) -> None:
    for name in ("a.jpg", "z.jpg"):
        shoot(f"in/{name}")
    (tmp_path / "in/bad.jpg").write_text("no picture")
    whole = (tmp_path / "in/a.jpg").read_bytes()
    (tmp_path / "in/cut.jpg").write_bytes(whole[: len(whole) // 2])
    long = tmp_path / f"in/{'n' * 249}.jpg"
    long.write_bytes(whole)
    run, outcomes = go()
    assert run.total == len(outcomes) == 5
    failed = {name for name, each in outcomes.items() if each.error is not None}
    assert failed == {"bad.jpg", "cut.jpg", long.name}
    assert "File name too long" in outcomes[long.name].failure
    for name in ("bad.jpg", "cut.jpg"):
        assert name in outcomes[name].failure
        assert "\n" not in outcomes[name].failure
    assert set(stamps(tmp_path / "out")) == {"a.png", "a.png.json", "z.png", "z.png.json"}
    run, outcomes = go()  # tried again, since the reason may be gone
    assert (run.done, set(outcomes)) == (2, failed)
    entries = [Manifest(tmp_path / "out").get(f"../in/{name}") for name in ("a.jpg", "bad.jpg")]
    assert [each.state for each in entries if each] == ["done", "failed"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_with_a_pictures_name_does_not_keep_a_run_waiting(
    go, shoot: Shoot, tmp_path: Path
) -> None:
    shoot("in/a.jpg")
    os.mkfifo(tmp_path / "in/b.jpg")
    _, outcomes = go()
    assert outcomes["a.jpg"].error is None
    assert "b.jpg: not a regular file" in outcomes["b.jpg"].failure


def test_unexpected_errors_cost_one_photo(
    go, shoot: Shoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg"):
        shoot(f"in/{name}")
    read = read_photo

    def reading(source, **options):
        if str(source).endswith("a.jpg"):
            raise MemoryError("no room")
        return read(source, **options)

    monkeypatch.setattr("photovax.batch.work.read_photo", reading)
    _, outcomes = go()
    assert "a.jpg: too little memory: no room" in outcomes["a.jpg"].failure
    assert outcomes["b.jpg"].error is None


def test_times_are_kept(go, order: Order, shoot: Shoot, tmp_path: Path) -> None:
    photo = shoot("in/a.jpg")
    os.utime(photo, ns=(1_500_000_000_123_456_789, 1_400_000_000_123_456_789))
    go()
    result = tmp_path / "out/a.png"
    assert result.stat().st_mtime_ns != photo.stat().st_mtime_ns
    # Also for results that are there, without doing them again.
    before = result.read_bytes()
    kept = replace(order, keep_times=True)
    assert go(order=kept)[0].done == 1
    assert result.stat().st_mtime_ns == 1_400_000_000_123_456_789
    assert result.read_bytes() == before
    result.unlink()
    go(order=kept)
    assert result.stat().st_mtime_ns == 1_400_000_000_123_456_789
    assert go(order=kept)[0].done == 1


def test_an_interrupted_photo_is_kept_only_if_asked(
    go, order: Order, shoot: Shoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg"):
        shoot(f"in/{name}")
    immunize = Immunizer.immunize

    def interrupting(self, photo, recipe, **options):
        result = immunize(self, photo, recipe, **options)
        return replace(result, stopped="interrupted")

    with monkeypatch.context() as patched:
        patched.setattr(Immunizer, "immunize", interrupting)
        with pytest.raises(KeyboardInterrupt):
            go()
        assert not stamps(tmp_path / "out")
        with pytest.raises(KeyboardInterrupt):
            go(order=replace(order, keep_partial=True))
        assert set(stamps(tmp_path / "out")) == {"a.png", "a.png.json"}
    record = json.loads((tmp_path / "out/a.png.json").read_text())
    assert record["stopped"] == "interrupted"
    # It counts as not done, and is replaced by the finished one.
    run, outcomes = go()
    assert (run.done, set(outcomes)) == (0, {"a.jpg", "b.jpg"})
    assert all(each.error is None for each in outcomes.values())
    assert go()[0].done == 2


def test_files_that_killed_runs_left_are_removed(go, shoot: Shoot, tmp_path: Path) -> None:
    shoot("in/a.jpg")
    out = tmp_path / "out"
    out.mkdir()
    old, new = out / ".photovax-0.png", out / ".photovax-1.png"
    for file in (old, new):
        file.write_text("x")
    os.utime(old, (time.time() - 7200,) * 2)
    go()
    assert (old.exists(), new.exists()) == (False, True)


def test_the_record_of_a_lost_worker_is_no_obstacle(
    go, order: Order, work: Work, shoot: Shoot, tmp_path: Path
) -> None:
    shoot("in/a.jpg")
    go()
    result, record = tmp_path / "out/a.png", tmp_path / "out/a.png.json"
    first, said = result.read_bytes(), record.read_bytes()
    shutil.rmtree(tmp_path / "out")

    class LosesWorkers(Local):
        def run(self, tasks, show):
            for task in tasks:
                if not task.replace:  # one ended here, and another one is given the photo
                    record.write_bytes(said)
                yield from super().run([task], show)

    plan = make_plan([tmp_path / "in"], tmp_path / "out")
    runner = LosesWorkers(Work(order, work))
    (outcome,) = Run(plan, order, runner, Manifest(tmp_path / "out")).outcomes()
    assert outcome.failure == ""
    assert result.read_bytes() == first


def test_a_folder_that_cannot_be_made_costs_its_photos_only(go, shoot: Shoot, tmp_path: Path):
    for name in ("a.jpg", "sub/b.jpg", "sub/c.jpg", "z/d.jpg"):
        shoot(f"in/{name}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").write_text("a file")
    run, outcomes = go()
    assert run.total == 4
    assert {name for name, each in outcomes.items() if each.error is None} == {"a.jpg", "d.jpg"}
    assert all("out/sub" in outcomes[name].failure for name in ("b.jpg", "c.jpg"))
    (tmp_path / "out/sub").unlink()
    assert set(go()[1]) == {"b.jpg", "c.jpg"}


def test_what_changes_a_result_is_another_order(order: Order, tmp_path: Path) -> None:
    picture = tmp_path / "target.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    target = replace(order.recipe, objective=Part("latent_target", {"target": str(picture)}))
    term = {"name": "latent_target", "options": {"target": str(picture)}, "weight": 1}
    both = replace(order.recipe, objective=Part("sum", {"terms": [term]}))
    aimed = [replace(order, recipe=recipe) for recipe in (target, both)]
    before = [each.digest([]) for each in aimed]
    Image.new("RGB", (8, 8), "blue").save(picture)
    assert not set(before) & {each.digest([]) for each in aimed}
    assert replace(order, precision="float32").digest([]) != order.digest([])
    picture.unlink()
    with pytest.raises(UnreadablePhoto, match=r"target\.png: cannot be read"):
        aimed[0].digest([])
