"""``photovax immunize`` as people start it: killed, piped, interrupted and given wrong paths."""

import csv
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from photovax.attack.presets import load_recipe
from photovax.batch.watch import Watch
from photovax.checks.verdicts import Verdict
from photovax.cli.pipes import piped
from photovax.digests import file_digest
from photovax.errors import BudgetExceeded, SaveError
from photovax.machine.cores import cores
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE

SERVER = """
import io, json, os, sys
import torch, photovax.batch.work, photovax.cli
torch.set_num_threads(1)
for line in sys.stdin:
    place, files, encoding, sys.argv = json.loads(line)
    if (child := os.fork()) == 0:
        os.chdir(place)
        for number, name in enumerate(("in", "out", "err")):
            flags = os.O_RDONLY if name == "in" else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(f"{files}/{name}", flags), number)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(open(number, "wb" if number else "rb"), encoding=encoding)
            for number in range(3)
        )
        code = 1
        try:
            photovax.cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
RECIPE = """
preset = "fast-linf"
steps = 2
views = [{name = "short_side", options = {pixels = 64}}]
size = 64
"""


Coming = Callable[[Callable[[], None]], None]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "quick.toml").write_text(RECIPE)
    (tmp_path / "in/sub").mkdir(parents=True)
    return tmp_path


def shoot(folder: Path, count: int) -> None:
    with Image.open(SAMPLE) as sample:
        for number in range(count):
            left = 100 + number
            piece = sample.crop((left, 20, left + 72, 84))
            piece.save(folder / ("sub" if number % 2 else "") / f"{number:02d}.jpg", quality=92)


class Command:
    """A command that runs, in a process of its own."""

    def __init__(self, server: Any, files: Path, place: Path, arguments, given, code):
        self._server, self._files = server, files
        (files / "in").write_bytes(given)
        asked = [str(place), str(files), code, ["photovax", "immunize", *map(str, arguments)]]
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def end(self) -> tuple[int, bytes, str]:
        """Exit code, standard output and standard error."""
        code = int(self._server.stdout.readline())
        return code, (self._files / "out").read_bytes(), (self._files / "err").read_text()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function that starts a command: a copy of a process that has imported everything."""
    files = tmp_path_factory.mktemp("files")
    command = [sys.executable, "-c", SERVER]
    pipe = subprocess.PIPE
    server: Any
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:  # noqa: S603

        def begin(place, *arguments, given=b"", encoding="utf-8") -> Command:
            return Command(server, files, place, arguments, given, encoding)

        yield begin
        server.stdin.close()


def lines_of(place: Path) -> list[dict[str, Any]]:
    file = place / "out/.photovax/manifest.jsonl"
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def test_killed_twice_and_resumed_is_as_never_killed(place, start, immunizer) -> None:
    # With a worker for each core each has one thread, as this process: others may round otherwise.
    workers = max(2, cores())
    count = 6 * workers  # so many that it is killed before all are done
    shoot(place / "in", count)
    asked = (
        "in",
        "--recursive",
        "--recipe",
        "quick.toml",
        "--device",
        "cpu",
        "-o",
        "out",
        "--workers",
        str(workers),
    )
    kept: dict[Path, int] = {}
    for least in (workers, 3 * workers):
        command, end = start(place, *asked), time.monotonic() + 300
        while len(lines_of(place)) < least:
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(command.pid, signal.SIGKILL)
        assert command.end()[0] == -signal.SIGKILL
        # What was done before is left alone.
        assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
        kept = {place / "out" / line["output"]: line["output_stamp"][1] for line in lines_of(place)}
        assert least <= len(kept) < count
    code, _, err = start(place, *asked).end()
    assert code == 0, err
    told = re.search(r"(\d+) of (\d+) photos immunized, (\d+) done before", err)
    assert told is not None, err
    made, asked_for, before = map(int, told.groups())
    assert made == asked_for == count - before
    # A worker may have put a photo in place of which its parent, killed, wrote no line.
    assert len(kept) <= before <= len(kept) + workers
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    done = [line["photo"] for line in lines_of(place)]
    assert len(done) == len(set(done)) == count
    recipe = load_recipe(str(place / "quick.toml"))
    for number in range(count):
        name = Path("sub" if number % 2 else "") / f"{number:02d}"
        photo = read_photo(place / "in" / name.with_suffix(".jpg"))
        saved = immunizer.save(immunizer.immunize(photo, recipe), place / f"{number}.png")
        made = place / "out" / name.with_suffix(".png")
        assert made.read_bytes() == saved.path.read_bytes()
        records = [json.loads(Path(f"{path}.json").read_text()) for path in (made, saved.path)]
        for record in records:
            del record["seconds"], record["photo"]
        assert records[0].pop("source")["sha256"] == file_digest(
            place / "in" / name.with_suffix(".jpg")
        )
        # Only the command checks the file, too.
        assert records[0].pop("verdict") in {each.value for each in Verdict}
        assert records[0] == records[1]


def test_a_photo_through_a_pipe(place, start) -> None:
    shoot(place / "in", 1)
    photo = (place / "in/00.jpg").read_bytes()
    asked = ("--recipe", "quick.toml", "--device", "cpu")
    code, out, err = start(place, "-", "-o", "-", *asked, "--lossless", given=photo).end()
    assert code == 0, err
    original, made = read_photo(photo), read_photo(out)
    assert made.format == "JPEG"
    change = abs(made.pixels.astype(int) - original.pixels)
    assert 4 <= change.max() <= 8
    assert "  verdict     " in err
    code, out, err = start(place, "-", "-o", "-", *asked, given=b"no picture").end()
    assert (code, out) == (3, b"")
    assert err.startswith("photovax: standard input: not a picture")
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in place.iterdir()) == ["in", "quick.toml"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.jpg"], 3, "gone.jpg: cannot be read: No such file"),
        (["in"], 2, "in: is a folder; name one for the results: -o FOLDER"),
        (["in", "-o", "quick.toml"], 2, "quick.toml is a file"),
        (["in/00.jpg", "-o", "no/x.png"], 4, "there is no folder no; make it first"),
        (["in", "-o", "out", "--dry-run", "--json"], 2, "leave out --json"),
        (["in", "-o", "out", "--dry-run", "--report", "r.csv"], 2, "leave out --report"),
        (["in/00.jpg", "--mask", "gone.png"], 3, "gone.png: cannot be read"),
        (["in/00.jpg", "--model", "embeded"], 2, "did you mean 'embedded'"),
        (["in/00.jpg", "--report", "x.pdf"], 2, "a report is a .csv or .html file, got x.pdf"),
        (["in/00.jpg", "--workers", "0"], 2, "--workers must be"),
        (["in", "-o", "out", "--shard", "3"], 2, "--shard takes I/N, such as 2/8, got '3'"),
        (["in", "-o", "nostore://x"], 2, "nostore://x: Protocol not known"),
        (["s3://b/a.jpg", "-o", "out", "--watch"], 2, "--watch works on folders"),
        (["in", "-o", "s3://b/out", "--keep-times"], 2, "--keep-times works on folders"),
        (["in", "-o", "s3://b", "--report", "r.html"], 2, "give a .csv file"),
        (["in", "-o", "out", "--cluster", "local", "--keep-partial"], 2, "leave out --cluster"),
        (["-"], 2, "needs a place; add -o FILE or -o -"),
        (["-", "in/00.jpg", "-o", "out"], 2, "- is one photo, and 2 are given"),
        (["-", "-o", "-", "--json"], 2, "cannot hold both a photo and JSON"),
        (["in", "-o", "-"], 2, "in: standard output takes the result of one file"),
    ],
)
def test_wrong_arguments_are_told_before_pytorch_is_imported(place, arguments, code, message):
    shoot(place / "in", 1)
    check = (
        "import sys, photovax.cli\ntry: photovax.cli.main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", check, "immunize", *arguments]
    done = subprocess.run(command, cwd=place, input="", capture_output=True, text=True, check=False)  # noqa: S603
    line, heavy = done.stderr.splitlines()
    assert message in line
    assert (done.returncode, done.stdout, heavy) == (code, "", "False")
    assert sorted(path.name for path in place.iterdir()) == ["in", "quick.toml"]


def test_names_that_a_console_cannot_print(place, start) -> None:
    shoot(place / "in", 1)
    names = ["ż写🙂.jpg", "bad ż.jpg"]
    (place / "in/00.jpg").rename(place / "in" / names[0])
    (place / "in" / names[1]).write_text("no picture")
    asked = ("--recipe", "quick.toml", "--device", "cpu", "--report", "r.csv")
    code, out, err = start(place, "in", "-o", "out", *asked, encoding="cp1252").end()
    assert code == 3, err
    assert rb"out/\u017c\u5199\U0001f642.png" in out
    assert r"not done: in/bad \u017c.jpg: not a picture" in err
    assert (place / "out/ż写🙂.png").exists()
    assert "ż写🙂" in (place / "r.csv").read_text("utf-8")


def test_survival_of_a_result_that_is_there_has_a_command_of_its_own(place, start) -> None:
    shoot(place / "in", 1)
    asked = ("in", "-o", "out", "--recipe", "quick.toml", "--device", "cpu")
    check = "photovax check RESULT --original PHOTO --survival"
    for options, said in (((), False), ((), False), (("--survival",), True)):
        code, _, err = start(place, *asked, *options).end()
        assert code == 0, err
        assert (check in err) is said


def test_a_result_that_does_nothing_is_no_success(place, photo_file, monkeypatch, capsys):
    from photovax.cli import main

    monkeypatch.chdir(place)
    monkeypatch.setattr("photovax.checks.verdicts.ModelCheck.verdict", Verdict.FAIL)
    given = ["immunize", str(photo_file), "-o", "o.png", "--recipe", "quick.toml"]
    monkeypatch.setattr("sys.argv", ["photovax", *given, "--device", "cpu"])
    for code, line in ((11, "verdict     FAIL: "), (11, "nothing to do: the result is")):
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == code
        printed = capsys.readouterr()
        assert line in printed.out + printed.err
    assert "not protected: o.png: verdict FAIL" in printed.err


def test_a_limit_that_cannot_be_met_is_said_before_and_after(
    place, photo_file, monkeypatch, capsys
):
    from photovax.cli import main

    monkeypatch.chdir(place)
    given = ["immunize", str(photo_file), "-o", "o.png", "--recipe", "quick.toml"]
    timed = [*given, "--device", "cpu", "--time", "0.001"]
    monkeypatch.setattr("sys.argv", ["photovax", *timed])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr()
    before = f"photovax: {photo_file}: 0.001 s are too few: the least is about "
    assert printed.err.startswith(before)
    assert printed.err.count("too few") == 1
    assert "  note        this took longer than the 0.001 s asked for\n" in printed.out
    assert "  seen        not measured: no time left; photovax check measures it\n" in printed.out
    assert printed.out.count("  verdict") == 1


def test_loading_takes_no_packages_that_are_not_used():
    script = "import sys, photovax.batch.work; print(*sys.modules)"
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in found.stdout.split()}
    assert "torch" in loaded
    assert not loaded & {"torchmetrics", "transformers", "diffusers", "scipy", "pandas"}


def test_what_treatments_leave_is_in_the_summary_and_the_record(
    place, photo_file, monkeypatch, capsys
):
    from photovax.cli import main

    monkeypatch.chdir(place)
    few = {"resize50": "halving the size", "jpeg75": "JPEG at quality 75"}
    monkeypatch.setattr("photovax.checks.survival.TREATMENTS", few)
    given = ["immunize", str(photo_file), "-o", "o.png", "--recipe", "quick.toml", "--survival"]
    monkeypatch.setattr("sys.argv", ["photovax", *given, "--device", "cpu"])
    with pytest.raises(SystemExit):
        main()
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("  left of the latent shift after (worst first; edits can lose more):")
    record = json.loads(next(place.glob("o*.json")).read_text())
    assert {each["label"] for each in record["survival"]["after"]} == set(few.values())
    for line, each in zip(lines[start + 1 : start + 3], record["survival"]["after"], strict=True):
        assert line.startswith(f"    {each['label']}")
        assert f"{each['share']:.0%}" in line
    assert lines[-1].startswith("  verdict")


def test_without_measuring_a_file_is_verified_all_the_same(place, photo_file, monkeypatch, capsys):
    from photovax.cli import main

    monkeypatch.chdir(place)

    def told(*options: str) -> tuple[str, Any]:
        given = ["immunize", str(photo_file), "--recipe", "quick.toml", "--device", "cpu", *options]
        monkeypatch.setattr("sys.argv", ["photovax", *given])
        try:
            main()
        except SystemExit as ended:
            return capsys.readouterr().out, ended.code
        return capsys.readouterr().out, 0

    whole, _ = told("-o", "whole.png")
    few, code = told("-o", "few.png", "--no-measure", "--report", "r.csv")
    assert (place / "few.png").read_bytes() == (place / "whole.png").read_bytes()
    assert code == 0
    measured = json.loads((place / "whole.png.json").read_text())
    record = json.loads((place / "few.png.json").read_text())
    assert record["realised"]["linf"] == measured["realised"]["linf"] == 8
    assert [record["realised"][each] for each in ("ssim", "jod_fhd", "flip")] == [None] * 3
    assert "verdict" in measured
    assert "verdict" not in record
    assert record["effects"] == {}
    assert "  verdict" in whole
    assert "  verdict" not in few
    assert "  seen        not measured: not asked for" in few
    (row,) = csv.DictReader((place / "r.csv").read_text().splitlines())
    assert (row["state"], row["verdict"], row["linf"]) == ("done", "", "8")
    as_json, _ = told("-o", "json.png", "--no-measure", "--json")
    assert json.loads(as_json)[0]["verdict"] is None

    def refused(*_: Any) -> None:
        raise BudgetExceeded("the saved file would have 1.2 of the budget")

    monkeypatch.setattr("photovax.saving.check_promises", refused)
    _, code = told("-o", "too-much.png", "--no-measure")
    assert code == BudgetExceeded.exit_code
    assert not (place / "too-much.png").exists()


def test_reasons_name_the_photo(place, start) -> None:
    Image.new("RGBA", (40, 30), (200, 80, 10, 0)).save(place / "in/clear.png")
    Image.new("L", (10, 10), 255).save(place / "mask.png")
    shoot(place / "in", 1)
    asked = ("in", "-o", "out", "--recipe", "quick.toml", "--device", "cpu")
    code, _, err = start(place, *asked).end()
    assert code == 2
    assert "not done: in/clear.png: no visible pixel may change" in err
    _, _, err = start(place, *asked[:2], "masked", *asked[3:], "--mask", "mask.png").end()
    assert "not done: in/00.jpg: mask mask.png is 10 x 10 pixels, the photo 72 x 64" in err


def test_a_report_that_cannot_be_written_costs_nothing_else(
    place, photo_file, monkeypatch, capsys
) -> None:
    from photovax.cli import main

    def full(path: Path, *_: Any) -> None:
        raise SaveError(f"{path}: cannot be written: No space left on device")

    monkeypatch.chdir(place)
    monkeypatch.setattr("photovax.cli.batch.write_report", full)
    given = ["immunize", str(photo_file), "-o", "o.png", "--recipe", "quick.toml", "--json"]
    monkeypatch.setattr("sys.argv", ["photovax", *given, "--device", "cpu", "--report", "r.csv"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 4
    printed = capsys.readouterr()
    assert json.loads(printed.out)[0]["photo"] == "o.png"
    assert printed.err == "photovax: r.csv: cannot be written: No space left on device\n"


def test_a_pipe_that_is_ended_leaves_no_photo(monkeypatch) -> None:
    given = io.TextIOWrapper(io.BytesIO(SAMPLE.read_bytes()))
    monkeypatch.setattr("sys.stdin", given)
    former = signal.getsignal(signal.SIGTERM)
    photos: list[Path] = []

    def ended_meanwhile() -> None:
        with piped(["-"], "out.png", None, as_json=False) as pipe:
            photos.append(Path(pipe.photos[0]))
            assert photos[0].exists()
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        ended_meanwhile()
    assert ended.value.code == 143
    assert not photos[0].parent.exists()
    assert signal.getsignal(signal.SIGTERM) == former


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_output_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from photovax.cli import main; main()", "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (4, "photovax: No space left on device\n")


def test_what_treatments_leave_is_not_measured_alone(place, start) -> None:
    shoot(place / "in", 1)
    code, _, err = start(place, "in", "-o", "out", "--survival", "--no-measure").end()
    assert code == 2
    assert "--survival is measured with the rest: leave out --no-measure" in err


@pytest.fixture
def coming(monkeypatch: pytest.MonkeyPatch) -> Coming:
    """A photo comes, is complete when it is looked at again, and then the watching ends."""
    pytest.importorskip("watchfiles")

    def watched(come: Callable[[], None]) -> None:
        looks = itertools.count()

        def come_and_go(_self: Watch) -> None:
            match next(looks):
                case 0:
                    come()
                case 3:
                    raise KeyboardInterrupt

        monkeypatch.setattr(Watch, "wait", come_and_go)
        monkeypatch.setattr("photovax.batch.watch._QUIET", 0.0)

    return watched


def test_a_quality_for_some_types_waits_for_them_while_folders_are_watched(
    photovax, place: Path, coming: Coming
) -> None:
    coming(lambda: Image.new("RGB", (96, 80), "teal").save(place / "in" / "flat.png"))
    asked = ("immunize", "in", "-o", "out", "--recipe", "quick.toml", "--device", "cpu")
    code, _, said = photovax(*asked, "--watch", "--type", "same", "--quality", "80")
    assert (code, (place / "out/flat.png").exists()) == (0, True), said
    assert "--quality 80" in photovax(*asked, "--type", "same", "--quality", "80")[2]


def test_json_and_a_report_and_verdicts_without_a_manifest(photovax, place: Path) -> None:
    shoot(place / "in", 1)
    asked = ("immunize", "in", "-o", "out", "--recipe", "quick.toml", "--device", "cpu")
    _, printed, said = photovax(*asked, "--json", "--report", "first.csv")
    (made,) = json.loads(printed)
    assert "first.csv" in said
    shutil.rmtree(place / "out/.photovax")
    photovax(*asked, "--report", "again.csv")
    (first,), (again,) = (
        csv.DictReader((place / name).read_text().splitlines())
        for name in ("first.csv", "again.csv")
    )
    assert first["verdict"] == again["verdict"] == made["verdict"] != ""


def test_a_report_has_the_photos_that_came_while_folders_were_watched(
    photovax, place: Path, coming: Coming
) -> None:
    coming(lambda: shoot(place / "in", 1))
    asked = ("immunize", "in", "-o", "out", "--recipe", "quick.toml", "--device", "cpu")
    code, _, said = photovax(*asked, "--watch", "--report", "report.csv")
    assert (code, (place / "out/00.png").exists()) == (0, True), said
    rows = (place / "report.csv").read_text().splitlines()
    assert len(rows) == 2
    assert "00.jpg" in rows[1]
    assert "done" in rows[1]
