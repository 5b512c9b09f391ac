"""``photovax evaluate --suite``: what is said, asked and refused, and the whole path."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from photovax.models import load
from photovax.pictures.sample import SAMPLE, SAMPLE_MASK
from tests.models.transformer.pipelines import take_small_pictures

pytestmark = pytest.mark.usefixtures("cache")
SUITE = """
[mine]
source = "a paper"
metrics = ["psnr", "ssim"]

[[mine.part]]
name = "{mode}"
model = "{model}"
recipes = ["quick.toml"]
levels = [16]

[[mine.part.edit]]
name = "night"
mode = "{mode}"
prompt = "make it night"
steps = 2
"""
QUICK = """
preset = "photoguard-demo"
steps = 2
size = 64
"""


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for source, name in ((SAMPLE, "one.png"), (SAMPLE_MASK, "one.mask.png")):
        with Image.open(source) as picture:
            picture.crop((100, 40, 228, 136)).save(folder / name)
    (tmp_path / "quick.toml").write_text(QUICK)
    return folder


@pytest.fixture
def pulled(monkeypatch):
    """Names of the models that were downloaded, which none is here."""
    names = []

    def pull(name, *, whole):
        names.append((name, whole))
        raise InterruptedError  # before anything is loaded

    monkeypatch.setattr(load, "pull", pull)
    return names


def suite(tmp_path, mode, model):
    (tmp_path / "mine.toml").write_text(SUITE.format(mode=mode, model=model))
    return "mine.toml"


def test_nothing_is_downloaded_without_a_yes(photovax, photos, tmp_path, pulled):
    code, out, err = photovax("evaluate", photos, "-o", "out", "--suite", "photoguard")
    assert code == 2
    assert err == (
        "photovax: sd15-inpaint and sd15 must be downloaded first, and nobody said yes; "
        "give --yes, or --weights FOLDER if they are on this machine\n"
    )
    assert out.startswith("suite photoguard, arXiv 2302.06588\ninpaint: sd15-inpaint attacked")
    assert len(re.findall(r"^  (?:download|memory|time) ", out, re.MULTILINE)) == 6
    assert not pulled
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("answer", "count"), [("y\n", 1), ("n\n", 0)])
def test_a_terminal_is_asked(answer, count, photovax, photos, pulled, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda text: answer.startswith("y"))
    if count:
        with pytest.raises(InterruptedError):
            photovax("evaluate", photos, "-o", "out", "--suite", "kontext")
        assert pulled == [("flux1-kontext", True)]
    else:
        assert photovax("evaluate", photos, "-o", "out", "--suite", "kontext")[0] == 2
        assert not pulled


def test_yes_downloads_what_is_missing(photovax, photos, pulled):
    with pytest.raises(InterruptedError):
        photovax("evaluate", photos, "-o", "out", "--suite", "photoguard", "--yes")
    assert pulled == [("sd15-inpaint", True)]


def test_a_part_without_anything_to_run_downloads_nothing(photovax, photos, pulled, tmp_path):
    (photos / "one.mask.png").unlink()
    command = ("evaluate", photos, "-o", "out", "--yes", "--suite")
    code, out, err = photovax(*command, suite(tmp_path, "inpaint", "sd15-inpaint"))
    assert (code, pulled) == (2, [])
    assert "  photos    1, 0 with a mask\n  nothing to run: no photo has a mask\n" in out
    assert err == (
        "photovax: there is nothing to run in suite mine; "
        "NAME.mask.png next to a photo marks its subject for inpainting\n"
    )
    with pytest.raises(InterruptedError):
        photovax(*command, "photoguard")
    assert pulled == [("sd15", True)]


def test_a_shard_says_what_its_own_photos_take(photovax, photos, pulled, tmp_path):
    for name in ("a", "b", "c"):
        (photos / f"{name}.png").write_bytes((photos / "one.png").read_bytes())
    command = ("evaluate", photos, "-o", "out", "--suite", suite(tmp_path, "inpaint", "embedded"))
    code, out, err = photovax(*command, "--shard", "1/2")  # a and c have no mask, one does
    assert (code, err) == (0, "")
    assert "  photos    2, 0 with a mask\n  nothing to run: no photo has a mask\n" in out
    assert not (tmp_path / "out").exists()


def test_only_the_autoencoder_of_a_model_that_does_not_edit_is_downloaded(
    photovax, photos, pulled, tmp_path
):
    mine = suite(tmp_path, "inpaint", "sd15-inpaint")
    options = ("--suite", mine, "--model", "taesd", "--editor", "embedded", "--yes")
    with pytest.raises(InterruptedError):
        photovax("evaluate", photos, "-o", "out", *options)
    assert pulled == [("taesd", False)]


def test_what_a_suite_sets_cannot_be_given(photovax, photos):
    given = ("--suite", "photoguard", "--recipes", "fast", "--budget", "8")
    code, out, err = photovax("evaluate", photos, "-o", "out", *given)
    assert (code, out) == (2, "")
    assert err == "photovax: --suite sets --recipes, --budget itself: leave it out\n"


def test_yes_is_an_answer_to_a_suite(photovax, photos):
    code, out, err = photovax("evaluate", photos, "-o", "out", "--yes")
    assert (code, out, err) == (2, "", "photovax: --yes is for --suite: leave it out\n")


def figures(folder: Path) -> list[str]:
    return sorted(
        line for file in folder.rglob("figures.jsonl") for line in file.read_text().splitlines()
    )


@pytest.mark.parametrize(
    ("mode", "model"), [("inpaint", "sd15-inpaint"), ("instruct", "flux1-kontext")]
)
def test_a_suite_runs_on_another_model_and_goes_on(
    mode, model, photovax, photos, tmp_path, folders, monkeypatch
):
    """The model of the suite is in no cache; a small one of its kind takes its place."""
    take_small_pictures(monkeypatch)
    place = folders["kontext"] if mode == "instruct" else "embedded"
    command = ("evaluate", photos, "-o", "out", "--suite", suite(tmp_path, mode, model))
    code, _, err = photovax(*command)
    assert (code, f"{model} must be downloaded first" in err) == (2, True)
    options = ("--model", place, "--size", "64", "--device", "cpu")
    code, out, err = photovax(*command, *options, "--seeds", "1")
    assert code == 0, err
    assert out.startswith(f"suite mine, a paper\n{mode}: {place} attacked, edits by {place}\n")
    assert "  download  nothing: the weights are here\n" in out
    part = tmp_path / "out" / mode
    assert out.rstrip().endswith(str(Path("out") / mode / "report.html"))
    results = json.loads((part / "results.json").read_text())
    assert "(1): a single draw can mislead" in err
    assert all(f"warning: {caution['text']}\n" in err for caution in results["cautions"])
    assert "quick 16/255" in json.dumps(results)
    assert "noise 16/255" in json.dumps(results)
    once = figures(part)
    assert photovax(*command, *options, "--seeds", "1")[0] == 0
    assert figures(part) == once  # nothing was computed again
    assert photovax(*command, *options, "--seeds", "2")[0] == 0
    assert set(once) < set(figures(part))
