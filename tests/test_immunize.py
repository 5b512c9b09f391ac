import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from photovax.attack.strength import Aim
from photovax.batch.order import MaskOptions, Order
from photovax.batch.work import immunize_file
from photovax.checks.check import check
from photovax.checks.noise import noisy
from photovax.checks.verdicts import Verdict
from photovax.errors import (
    BudgetExceeded,
    MetricUnavailable,
    OutputExists,
    PhotoError,
    SaveError,
    UsageError,
    ZeroGradient,
)
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_effect
from photovax.pictures.compression import Compression
from photovax.pictures.masks import load_mask
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import read_photo
from photovax.registry import Part
from photovax.saving import check_promises
from tests.places import SHARED


def immunized(immunizer, recipe, source, output, *, overwrite=False, show=None, **options):
    destination = Destination(output, overwrite, source)
    return immunize_file(immunizer, source, destination, Order(recipe, **options), show=show)


def test_the_saved_file_keeps_the_budget_and_moves_the_model(
    immunizer, quick, photo_file, tmp_path
):
    before = photo_file.read_bytes()
    recipe = dataclasses.replace(quick, size=None)  # as check feeds the model
    outcome = immunized(immunizer, recipe, photo_file, tmp_path / "out.png")
    original, saved = read_photo(photo_file), read_photo(tmp_path / "out.png")
    change = np.abs(saved.pixels.astype(int) - original.pixels)
    assert saved.pixels.shape == original.pixels.shape
    assert change.max() == 8 == outcome.saved.visible.linf
    assert photo_file.read_bytes() == before
    found = check(saved, original, device="cpu").models["embedded"]
    assert found.effect.shift == pytest.approx(outcome.saved.effects["embedded"].shift)
    assert found.effect.shift > 2 * found.floor.shift
    assert (found.effect.damage or 0) > (found.floor.damage or 0)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "HEIF"])
@pytest.mark.parametrize("grey", [False, True])
def test_a_file_keeps_the_budget_as_it_is_decoded(
    immunizer, quick, photo_file, tmp_path, grey, kind
):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    name = f"out.{kind.lower()}"
    source = tmp_path / "in.jpg"
    exif = Image.Exif()
    exif[0x010E] = "a beach"
    with Image.open(photo_file) as picture:
        picture.convert("L" if grey else "RGB").save(source, dpi=(300, 300), exif=exif)
    outcome = immunized(immunizer, quick, source, tmp_path / name, quality="lossless")
    original, saved = read_photo(source), read_photo(tmp_path / name)
    change = np.abs(saved.pixels.astype(int) - original.pixels)
    assert change.max() == outcome.saved.visible.linf <= 8
    assert change.mean() > 4
    assert (saved.format, saved.grey) == (kind, grey)
    if kind == "JPEG":  # the others have no place for it
        assert saved.metadata.dpi == pytest.approx((300, 300))
    assert saved.metadata.exif == original.metadata.exif
    found = check(saved, original, device="cpu").models["embedded"]
    assert found.effect.shift > 1.5 * found.floor.shift


def shift_of(immunizer, original, pixels):
    return latent_effect(immunizer.models[0], original, pixels, immunizer.device, size=64).shift


@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_is_compressed_like_the_photo_and_stronger_than_a_copy(
    immunizer, quick, photo_file, tmp_path, grey
):
    source, out = tmp_path / "in.jpg", tmp_path / "out.jpg"
    with Image.open(photo_file) as picture:
        picture.convert("L" if grey else "RGB").save(source, quality=35)
    recipe = dataclasses.replace(quick, steps=16)
    outcome = immunized(immunizer, recipe, source, out)
    immunized(immunizer, recipe, source, tmp_path / "out.png")
    with JpegImageFile(source) as before, JpegImageFile(out) as after:
        assert after.quantization[0] == before.quantization[0]
        assert after.quantization.keys() == before.quantization.keys()
    assert out.stat().st_size < 1.5 * source.stat().st_size
    record = json.loads(outcome.saved.record.read_text())["compressed"]
    assert record["asked"]["linf"] == outcome.result.largest == 8
    assert record["settings"].startswith(
        "JPEG, quality 35, 4:4:4" if grey else "JPEG, quality about 35, 4:4:4"
    )
    assert record["alone"]["psnr"] > outcome.saved.visible.psnr
    original, png = read_photo(source), read_photo(tmp_path / "out.png")
    assert original.compression is not None
    copy = png.compressed(outcome.result.compression).visible()
    left = shift_of(immunizer, original.visible(), read_photo(out).visible())
    assert left > 1.03 * shift_of(immunizer, original.visible(), copy)


def test_a_webp_of_some_quality_keeps_transparency(immunizer, quick, pixels, tmp_path):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :20] = 90
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "in.png")
    outcome = immunized(immunizer, quick, tmp_path / "in.png", tmp_path / "out.webp", quality=80)
    kept = read_photo(tmp_path / "out.webp").alpha
    assert kept is not None
    assert np.array_equal(kept, alpha)
    assert outcome.saved.compressed.asked.linf == 8
    assert outcome.saved.effects["embedded"].shift > 0.1
    lossless = immunized(immunizer, quick, tmp_path / "in.png", tmp_path / "full.webp")
    assert lossless.saved.compressed is None
    size = (tmp_path / "out.webp").stat().st_size
    assert size < (tmp_path / "full.webp").stat().st_size / 2


def test_a_transparent_avif_keeps_budget_and_transparency(immunizer, quick, pixels, tmp_path):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :20] = 90
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "in.png")
    place = tmp_path / "out.avif"
    outcome = immunized(immunizer, quick, tmp_path / "in.png", place, quality="lossless")
    assert 4 < outcome.saved.visible.linf <= 8
    kept = read_photo(place).alpha
    assert kept is not None
    assert np.array_equal(kept, alpha)
    with pytest.raises(SaveError, match="lossy AVIF would change"):
        immunized(immunizer, quick, tmp_path / "in.png", tmp_path / "lossy.avif")


def test_hidden_colours_of_an_avif_may_change(immunizer, quick, pixels, tmp_path):
    hidden = pixels.copy()
    hidden[:, :40] = np.random.default_rng(0).integers(0, 256, hidden[:, :40].shape)
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :40] = 0
    Image.fromarray(np.dstack([hidden, alpha])).save(tmp_path / "in.png")
    outcome = immunized(
        immunizer, quick, tmp_path / "in.png", tmp_path / "out.avif", quality="lossless"
    )
    assert not outcome.result.masked
    again = outcome.result.save(tmp_path / "again.avif")
    for place in (tmp_path / "out.avif", again.path):
        saved, original = read_photo(place), read_photo(tmp_path / "in.png")
        assert saved.alpha is not None
        assert np.array_equal(saved.alpha, alpha)
        change = saved.visible().astype(int) - original.visible()
        assert 4 < np.abs(change).max() <= 8


def test_an_avif_states_both_changes_and_is_small(immunizer, quick, photo_file, tmp_path):
    recipe = dataclasses.replace(quick, steps=16)
    outcome = immunized(immunizer, recipe, photo_file, tmp_path / "out.avif")
    record = json.loads(outcome.saved.record.read_text())["compressed"]
    assert record["settings"] == "AVIF, quality 85, 4:2:0"
    assert record["asked"]["linf"] == outcome.result.largest == 8
    assert record["alone"]["psnr"] > outcome.saved.visible.psnr
    immunized(immunizer, recipe, photo_file, tmp_path / "out.jpg", quality=90)
    sizes = [(tmp_path / f"out.{kind}").stat().st_size for kind in ("avif", "jpg")]
    assert sizes[0] < 1.1 * sizes[1]
    original = read_photo(photo_file)
    png = immunized(immunizer, recipe, photo_file, tmp_path / "out.png").result.photo
    afterwards = png.compressed(outcome.result.compression).visible()
    left = shift_of(immunizer, original.visible(), read_photo(tmp_path / "out.avif").visible())
    assert left > 1.03 * shift_of(immunizer, original.visible(), afterwards)


@pytest.mark.parametrize(
    "compression", [Compression("JPEG", 50), Compression("WEBP", 60), Compression("AVIF", 60)]
)
def test_the_verdict_that_is_aimed_at_is_that_of_the_file(
    immunizer, quick, photo_file, tmp_path, compression
):
    photo, suffix = read_photo(photo_file), f".{compression.kind.lower()}"
    recipe = dataclasses.replace(quick, steps=8, size=64).with_levels(24)
    result = immunizer.immunize(photo, recipe, aim=Aim(passing=True), compression=compression)
    assert result.reached
    saved = immunizer.save(result, tmp_path / f"out{suffix}")
    assert check(read_photo(saved.path), photo, size=64).verdict is Verdict.PASS


def test_a_compression_that_leaves_nothing_of_the_change_saves_nothing(immunizer, quick, tmp_path):
    flat = tmp_path / "flat.png"
    Image.new("RGB", (64, 64), (120, 130, 140)).save(flat)
    with pytest.raises(BudgetExceeded, match="quality 1, 4:2:0: nothing of the change") as it:
        immunized(immunizer, quick.with_levels(4), flat, tmp_path / "out.jpg", quality=1)
    assert "--quality" in it.value.line
    assert not (tmp_path / "out.jpg").exists()


def test_a_compression_without_a_gradient_is_named(immunizer, quick, tmp_path):
    rough = tmp_path / "rough.jpg"
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(rough, quality=1)
    with pytest.raises(
        ZeroGradient, match="or nothing of a change is left after JPEG, quality 1"
    ) as found:
        immunized(immunizer, quick.with_levels(1), rough, tmp_path / "out.jpg")
    assert "--quality" in found.value.line


def test_what_jpeg_cannot_hold_is_said_before_the_work(immunizer, quick, photo_file, tmp_path):
    def never(progress):
        assert progress.stage == "reading", "work began"

    options = MaskOptions(tmp_path / "mask.png")
    original = read_photo(photo_file)
    half = np.zeros((original.height, original.width), bool)
    half[: original.height // 2] = True
    Image.fromarray(half).save(options.path)
    Image.fromarray(np.dstack([original.pixels, half * np.uint8(255)])).save(tmp_path / "rgba.png")
    with pytest.raises(SaveError, match=r"JPEG would change pixels outside the mask, too; use"):
        immunized(immunizer, quick, photo_file, tmp_path / "out.jpg", mask=options, show=never)
    with pytest.raises(SaveError, match="transparent, which JPEG cannot hold"):
        immunized(immunizer, quick, tmp_path / "rgba.png", tmp_path / "out.jpg", show=never)
    with pytest.raises(
        BudgetExceeded, match=r"no JPEG file was found .* 1 of 255 levels; use .png"
    ):
        immunized(
            immunizer, quick.with_levels(1), photo_file, tmp_path / "out.jpg", quality="lossless"
        )
    assert not list(tmp_path.glob("*out*"))


def test_the_record_tells_how_and_what(immunizer, quick, photo_file, tmp_path):
    outcome = immunized(immunizer, quick, photo_file, tmp_path / "out.png")
    record = json.loads(outcome.saved.record.read_text())
    assert record["recipe_digest"] == quick.digest()
    assert record["models"][0]["name"] == "embedded"
    assert len(record["models"][0]["sha256"]) == 64
    assert record["realised"]["linf"] <= 255 * record["budget"]["options"]["radius"]


def test_the_same_seed_gives_the_same_file(immunizer, quick, photo_file, tmp_path):
    for name in ("a.png", "b.png"):
        immunized(immunizer, quick, photo_file, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("edit_region", [False, True])
def test_a_mask_confines_the_change(immunizer, quick, photo_file, tmp_path, edit_region):
    original = read_photo(photo_file)
    white = np.zeros((original.height, original.width), bool)
    white[30:90, 40:110] = True
    Image.fromarray(white).save(tmp_path / "mask.png")
    options = MaskOptions(tmp_path / "mask.png", edit_region)
    kept_only = dataclasses.replace(quick, kept_region_only=True)
    immunized(immunizer, kept_only, photo_file, tmp_path / "out.png", mask=options)
    changed = (read_photo(tmp_path / "out.png").pixels != original.pixels).any(2)
    may_change = ~white if edit_region else white
    assert not changed[~may_change].any()
    assert changed[may_change].mean() > 0.5


def test_hidden_colour_has_no_influence_and_stays(immunizer, quick, pixels, tmp_path):
    alpha = np.zeros(pixels.shape[:2], np.uint8)
    alpha[:, 20:] = 200
    results = []
    for value in (0, 255):
        rgba = np.dstack([np.where(alpha[..., None] == 0, value, pixels), alpha]).astype(np.uint8)
        source = tmp_path / f"{value}.png"
        Image.fromarray(rgba).save(source)
        immunized(immunizer, quick, source, tmp_path / f"{value}.out.png")
        saved = read_photo(tmp_path / f"{value}.out.png")
        assert saved.alpha is not None
        assert np.array_equal(saved.alpha, alpha)
        assert (saved.pixels[:, :20] == value).all()
        results.append(saved.pixels[:, 20:])
    assert np.array_equal(results[0], results[1])


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 300)])
def test_tiny_and_narrow_photos_keep_their_size(immunizer, quick, tmp_path, size):
    Image.effect_noise(size, 60).convert("RGB").save(tmp_path / "in.png")
    immunized(immunizer, quick, tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as saved:
        assert saved.size == size


def test_a_file_that_is_there_is_not_replaced(immunizer, quick, photo_file, tmp_path):
    (tmp_path / "out.png").write_text("mine")
    with pytest.raises(OutputExists, match=r"out\.png: "):
        immunized(immunizer, quick, photo_file, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_text() == "mine"


def test_no_photo_comes_beside_the_record_of_another(immunizer, quick, photo_file, tmp_path):
    (tmp_path / "out.png.json").write_text("mine")
    with pytest.raises(OutputExists, match=r"out\.png\.json: "):
        immunized(immunizer, quick, photo_file, tmp_path / "out.png")
    result = immunizer.immunize(read_photo(photo_file), quick)
    with pytest.raises(OutputExists, match=r"out\.png\.json: "):
        immunizer.save(result, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
    assert (tmp_path / "out.png.json").read_text() == "mine"


def test_a_photo_that_cannot_be_replaced_keeps_its_record(
    immunizer, quick, photo_file, tmp_path, monkeypatch
):
    out = tmp_path / "out.png"
    kept = immunized(immunizer, quick, photo_file, out).saved.record
    before = kept.read_bytes(), out.read_bytes()
    put = Path.replace

    def locked(self, target):  # as Windows has files that a viewer shows
        if Path(target) == out:
            raise PermissionError(13, "Permission denied")
        return put(self, target)

    monkeypatch.setattr(Path, "replace", locked)
    with pytest.raises(SaveError, match=r"out\.png: cannot be written: Permission denied"):
        immunized(immunizer, dataclasses.replace(quick, seed=1), photo_file, out, overwrite=True)
    assert (kept.read_bytes(), out.read_bytes()) == before


def test_the_photo_itself_is_never_replaced(immunizer, quick, photo_file):
    with pytest.raises(UsageError, match="never replaced"):
        immunized(immunizer, quick, photo_file, photo_file, overwrite=True)


def test_a_broken_promise_leaves_nothing(immunizer, quick, photo_file, tmp_path):
    photo = read_photo(photo_file)
    result = immunizer.immunize(photo, quick)
    too_much = result.photo.with_pixels(noisy(photo.pixels, 30, 0))
    broken = dataclasses.replace(result, photo=too_much)
    with pytest.raises(BudgetExceeded, match=r"would have [\d.]+ of the budget"):
        immunizer.save(broken, tmp_path / "out.png")
    assert {p.name for p in tmp_path.iterdir()} == {"photo.jpg"}
    with pytest.raises(BudgetExceeded, match="other than those that were written"):
        check_promises(result, photo)


def test_a_mask_may_be_as_large_as_the_photo(photo_file, tmp_path, monkeypatch):
    photo = read_photo(photo_file)
    white = np.ones((photo.height, photo.width), bool)
    Image.fromarray(white).save(tmp_path / "mask.png")
    monkeypatch.setattr("photovax.pictures.masks.MAX_PIXELS", 100)
    assert load_mask(tmp_path / "mask.png", photo).all()


def test_a_mask_of_another_size_is_refused(immunizer, quick, photo_file, tmp_path):
    Image.new("L", (9, 9), 255).save(tmp_path / "mask.png")
    with pytest.raises(UsageError, match="9 x 9 pixels, the photo 151 x 127"):
        immunized(
            immunizer,
            quick,
            photo_file,
            tmp_path / "o.png",
            mask=MaskOptions(tmp_path / "mask.png"),
        )


def test_webp_that_cannot_hold_a_photo_is_refused(immunizer, quick, photo_file, tmp_path):
    with Image.open(photo_file) as photo:
        photo.convert("L").save(tmp_path / "grey.png")
        photo.putalpha(255)
        photo.save(tmp_path / "opaque.png")
    with pytest.raises(SaveError, match=r"grey, which WebP cannot hold; use \.png or \.tif"):
        immunized(immunizer, quick, tmp_path / "grey.png", tmp_path / "out.webp")
    assert not (tmp_path / "out.webp").exists()
    immunized(immunizer, quick, tmp_path / "opaque.png", tmp_path / "out.webp")
    assert read_photo(tmp_path / "out.webp").alpha is None


def test_a_model_with_large_losses_does_not_drown_another(
    quick, photo_file, editor_folder, monkeypatch
):
    both = Immunizer(["embedded", str(editor_folder)], device="cpu")
    photo = read_photo(photo_file)
    recipe = dataclasses.replace(quick, objective=Part("posterior_shift"), steps=6, draws=None)
    loud: Any = both.models[1]
    quiet = loud.posterior
    # The loss is the square of this, so it is a million times larger.
    monkeypatch.setattr(loud, "posterior", lambda x: [1000 * part for part in quiet(x)])

    def shifts(names):
        some = both.only(names)
        changed = some.immunize(photo, recipe).photo.visible()
        return [
            latent_effect(model, photo.visible(), changed, both.device, size=96).shift
            for model in some.models
        ]

    names = ["embedded", str(editor_folder)]
    for name, shift in zip(names, shifts(names), strict=True):
        (alone,) = shifts([name])
        assert shift > 0.5 * alone


def test_noise_and_no_change_fail_the_check(photo_file):
    photo = read_photo(photo_file)
    noise = photo.with_pixels(noisy(photo.pixels, 8, 7))
    assert check(noise, photo, device="cpu").verdict is Verdict.FAIL
    assert check(photo, photo, device="cpu").verdict is Verdict.FAIL


@pytest.mark.parametrize("target", ["grey", "zero", "photo"])
def test_every_target_is_approached(immunizer, quick, photo_file, target):
    recipe = dataclasses.replace(
        quick, objective=Part("latent_target", {"target": target}), draws=None
    )
    first: list[float] = []
    result = immunizer.immunize(
        read_photo(photo_file), recipe, callback=lambda step: first.append(step.losses.item())
    )
    assert result.loss < first[0]


def test_random_views_reach_the_model(immunizer, quick, photo_file):
    recipe = dataclasses.replace(quick, views=(Part("crop", {"share": 0.6}),))
    assert immunizer.immunize(read_photo(photo_file), recipe).loss < 0


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="needs PHOTOVAX_SHARED's cases")
def test_every_awkward_file_through_the_whole_path(immunizer, quick, tmp_path):
    script = SHARED / "cases" / "make_cases.py"
    subprocess.run([sys.executable, script, tmp_path / "in"], check=True, capture_output=True)  # noqa: S603
    (tmp_path / "out").mkdir()
    recipe = dataclasses.replace(quick, steps=1)
    cases = json.loads((tmp_path / "in" / "manifest.json").read_text())
    for index, case in enumerate(cases):
        source, output = tmp_path / "in" / case["file"], tmp_path / "out" / f"{index}.png"
        if case["expect"] == "error":
            with pytest.raises(PhotoError) as refused:
                immunized(immunizer, recipe, source, output)
            assert "\n" not in str(refused.value), case["file"]
            assert not output.exists()
            continue
        immunized(immunizer, recipe, source, output)
        saved = read_photo(output)
        if "shown_size" in case:
            assert [saved.width, saved.height] == case["shown_size"], case["file"]
        assert saved.grey or "grey" not in case.get("keeps", [])


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt()])
def test_the_photo_is_safe_when_it_cannot_be_measured(
    immunizer, quick, photo_file, tmp_path, monkeypatch, error
):
    result = immunizer.immunize(read_photo(photo_file), quick)
    immunizer.save(result, tmp_path / "old.png")

    def failing(*_args, **_options):
        raise error

    monkeypatch.setattr("photovax.saving.visible_difference", failing)
    stopped = isinstance(error, KeyboardInterrupt)
    kind = KeyboardInterrupt if stopped else MetricUnavailable
    with pytest.raises(kind, match=None if stopped else "written and verified"):
        immunizer.save(result, tmp_path / "new.png")
    # Photo and record are there, or neither is.
    assert (tmp_path / "new.png").exists() is (tmp_path / "new.png.json").exists() is not stopped
    before = (tmp_path / "old.png.json").read_text()
    with pytest.raises(kind):
        immunizer.save(result, tmp_path / "old.png", overwrite=True)
    assert (tmp_path / "old.png").exists()
    record = (tmp_path / "old.png.json").read_text()
    assert record == before if stopped else json.loads(record)["realised"] is None
