"""Which photos are found, and where their results go."""

import os
from pathlib import Path

import pytest
from PIL import Image

from photovax.batch.plan import make_plan
from photovax.errors import UsageError
from tests.batch.conftest import Shoot


def planned(plan) -> dict[str, str]:
    return {os.path.basename(task.source): task.output for task in plan.tasks}


def test_a_folder_is_mirrored_without_collisions(tmp_path: Path, shoot: Shoot) -> None:
    names = ("a.b.png", "a.c.png", "x.jpg", "x.png", "day/IMG_0.JPG", "night/IMG_0.JPG")
    for name in names:
        shoot(f"in/{name}")
    out = tmp_path / "out"
    plan = make_plan([tmp_path / "in"], out, recursive=True)
    found = [os.path.relpath(task.output, out) for task in plan.tasks]
    assert sorted(found) == [
        *("a.b.png", "a.c.png", "day/IMG_0.png", "night/IMG_0.png", "x.jpg.png", "x.png.png"),
    ]
    assert plan.folder == str(out)
    same = make_plan([tmp_path / "in"], out, recursive=True, suffix=None, addition=".safe")
    assert planned(same)["x.jpg"] == str(out / "x.safe.jpg")


def test_what_is_no_photo_is_left_out_and_counted(tmp_path: Path, shoot: Shoot) -> None:
    shoot("in/a.jpg")
    shoot("in/done.png")
    folder = tmp_path / "in"
    for name in (".DS_Store", "._a.jpg", "Thumbs.db", "a.xmp", "b.xmp", "notes.json"):
        (folder / name).write_text("x")
    (folder / "done.png.json").write_text('{\n "photovax": "1"}')
    shoot("in/@eaDir/a.jpg")
    shoot("in/more/c.jpg")
    plan = make_plan([folder], tmp_path / "out")
    assert list(planned(plan)) == ["a.jpg"]
    assert (plan.results, plan.folders) == (1, 1)
    assert plan.left_out == {".db": 1, ".xmp": 2, ".json": 1}
    # Results may lie in the folder itself, and are not found again.
    shoot("in/out/a.png")
    assert set(planned(make_plan([folder], folder / "out", recursive=True))) == {"a.jpg", "c.jpg"}
    # Names given by the shell include results; one alone was meant.
    several = make_plan([folder / "a.jpg", folder / "done.png"], None)
    assert list(planned(several)) == ["a.jpg"]
    assert list(planned(make_plan([folder / "done.png"], None))) == ["done.png"]
    assert set(planned(make_plan([folder], tmp_path / "out", results=True))) == {
        *("a.jpg", "done.png"),
    }


def test_photos_of_several_folders_keep_their_places(tmp_path: Path, shoot: Shoot) -> None:
    first, second = shoot("a/IMG_0.JPG"), shoot("b/IMG_0.JPG")
    out = tmp_path / "out"
    for given in ([first, second], [first.parent, second.parent]):
        plan = make_plan(given, out)
        assert [task.output for task in plan.tasks] == [
            *(str(out / "a/IMG_0.png"), str(out / "b/IMG_0.png")),
        ]
        assert [task.key for task in plan.tasks] == ["../a/IMG_0.JPG", "../b/IMG_0.JPG"]
    alone = make_plan([first.parent], out)
    assert [task.key for task in alone.tasks] == ["../a/IMG_0.JPG"]
    assert make_plan([first, first], out).tasks == make_plan([first], out).tasks


def test_shards_are_disjoint_and_stay_as_photos_come(tmp_path: Path, shoot: Shoot) -> None:
    for number in range(12):
        shoot(f"in/{number}.jpg")

    def parts():
        shards = [(index, 3) for index in (1, 2, 3)]
        folder = tmp_path / "in"
        return [set(planned(make_plan([folder], tmp_path / "o", shard=s))) for s in shards]

    before = parts()
    assert sum(map(len, before)) == len(set().union(*before)) == 12
    assert all(before)
    shoot("in/0a.jpg")
    assert all(old <= new for old, new in zip(before, parts(), strict=True))
    with pytest.raises(UsageError, match="shard must be from 1/3 to 3/3, got 4/3"):
        make_plan([tmp_path / "in"], tmp_path / "o", shard=(4, 3))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_names_that_count_up_are_spread_over_the_shards(tmp_path: Path, count: int) -> None:
    for number in range(100):
        Image.new("L", (2, 2)).save(tmp_path / f"IMG_{number:04}.png")
    parts = [
        make_plan([tmp_path], tmp_path / "o", shard=(index, count)).tasks
        for index in range(1, count + 1)
    ]
    assert sum(map(len, parts)) == 100
    assert all(0.4 < len(part) * count / 100 < 1.8 for part in parts)


def test_shards_are_the_same_wherever_results_and_photos_lie(tmp_path: Path, shoot: Shoot) -> None:
    for number in range(20):
        shoot(f"in/a/{number}.jpg")
        shoot(f"far/away/in/a/{number}.jpg")

    def part(index: int, folder: Path, out: Path | None) -> set[str]:
        given = [folder] if out is not None else sorted(folder.rglob("*.jpg"))
        plan = make_plan(given, out, recursive=True, shard=(index, 2))
        return {os.path.basename(task.source) for task in plan.tasks}

    first = part(1, tmp_path / "in", tmp_path / "o")
    assert 0 < len(first) < 20
    for folder in (tmp_path / "in", tmp_path / "far/away/in"):
        for out in (tmp_path / "o", tmp_path / "some/where/else", Path("o")):
            assert part(1, folder, out) == first
            assert first | part(2, folder, out) == {f"{number}.jpg" for number in range(20)}
    beside = [part(index, tmp_path / "far/away/in", None) for index in (1, 2)]
    assert not beside[0] & beside[1]
    assert part(1, tmp_path / "in", None) == beside[0]


def test_what_cannot_be_is_refused(tmp_path: Path, shoot: Shoot) -> None:
    photo = shoot("in/a.jpg")
    (tmp_path / "file.png").write_text("mine")
    with pytest.raises(UsageError, match="in: is a folder") as caught:
        make_plan([photo.parent], None)
    assert "-o FOLDER" in (caught.value.hint or "")
    with pytest.raises(UsageError, match=r"file\.png is a file, and there are several") as caught:
        make_plan([photo.parent], tmp_path / "file.png")
    assert "-o FOLDER" in (caught.value.hint or "")
    plan = make_plan([photo, tmp_path / "gone.jpg"], None)
    assert list(planned(plan)) == ["a.jpg"]
    ((_, error),) = plan.failed
    assert "gone.jpg: cannot be read: No such file" in str(error)


def test_a_link_that_leads_nowhere_does_not_end_the_search(tmp_path: Path, shoot: Shoot) -> None:
    shoot("in/a.jpg")
    (tmp_path / "in/circle").symlink_to("circle")
    (tmp_path / "in/below").symlink_to("a.jpg/below")
    plan = make_plan([tmp_path / "in"], tmp_path / "out", recursive=True)
    assert list(planned(plan)) == ["a.jpg"]


def test_a_slash_at_the_end_makes_a_folder_of_any_name(tmp_path: Path, shoot: Shoot) -> None:
    photo = shoot("in/a.jpg")
    plan = make_plan([photo], f"{tmp_path}/album.2024/")
    assert planned(plan) == {"a.jpg": str(tmp_path / "album.2024/a.png")}


@pytest.mark.parametrize(("given", "output"), [("", "out"), ("a.jpg", "")])
def test_an_empty_path_is_not_the_current_folder(given: str, output: str) -> None:
    with pytest.raises(UsageError, match=r"an empty path; give \. for the current folder"):
        make_plan([given], output)


def test_two_dots_behind_a_link_lead_where_the_system_leads(tmp_path: Path, shoot: Shoot) -> None:
    photo, link = shoot("real/a.jpg"), tmp_path / "link"
    shoot("a.jpg")
    (tmp_path / "real/sub").mkdir()
    link.symlink_to("real/sub")
    (task,) = make_plan([f"{link}/../a.jpg"], f"{link}/../b.png").tasks
    assert (task.source, task.output) == (str(photo), str(photo.parent / "b.png"))
    (task,) = make_plan([f"{tmp_path}/real/sub/../a.jpg"], None).tasks
    assert task.source == str(photo)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, shoot: Shoot) -> None:
    shoot("in/a.jpg")
    closed = tmp_path / "in/closed"
    closed.mkdir(mode=0)
    plan = make_plan([tmp_path / "in"], tmp_path / "out", recursive=True)
    assert [source for source, _ in plan.failed] == [str(closed)]
    assert len(plan.tasks) == 1
