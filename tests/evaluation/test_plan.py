"""The plan of an evaluation: recipes, edits and photos."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from photovax.attack.presets import PRESETS
from photovax.errors import UnknownName, UsageError
from photovax.evaluation.following import following
from photovax.evaluation.plan import Variant, find_photos, load_edits, variants
from photovax.models.edit import MODES


def test_recipes_stand_at_every_budget_and_their_own():
    names = ["fast-linf", "fast", "photoguard-diffusion-l2"]
    labels = [v.label for v in variants(names, (8, 16), ("low", "high"))]
    assert labels == [
        *("fast-linf 8/255", "fast-linf 16/255"),
        *("fast low", "fast high"),
        "photoguard-diffusion-l2 l2 8",
    ]
    assert [v.label for v in variants(["fast"], (8,))] == ["fast medium"]
    assert [v.label for v in variants(["photoguard-img2img"])] == ["photoguard-img2img 7.65/255"]
    through = Variant("x", PRESETS["fast-diffusion"]).against("inpaint")
    assert through.kept_region_only
    assert through.needs_mask
    assert [v.recipe.size for v in variants(["fast"], size=512)] == [512]
    with pytest.raises(UsageError, match="no recipe was named"):
        variants(["noise", "none"])
    assert not Variant("x", PRESETS["diffusionguard"]).applies("img2img")


def test_recipes_of_one_label_are_refused(tmp_path: Path):
    (tmp_path / "fast.toml").write_text('preset = "fast"\nsize = 384\n')
    with pytest.raises(UsageError, match="two recipes would be called 'fast medium'"):
        variants(["fast", str(tmp_path / "fast.toml")], (8,))
    (own,) = variants([str(tmp_path / "fast.toml")], (8, 8), size=512)
    assert own.recipe.size == 384


def test_a_recipe_file_cannot_pass_for_noise(tmp_path: Path):
    (tmp_path / "noise.toml").write_text('preset = "fast-linf"\n')
    with pytest.raises(UsageError, match=r"noise.toml: in tables 'noise' is random noise"):
        variants([str(tmp_path / "noise.toml")])


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", UsageError, r"expected one \[\[edit\]\] table or more"),
        ('[[edit]]\nprompt = "x"', UsageError, "has no mode"),
        ('[[edit]]\nmode = "paint"', UnknownName, "no mode named 'paint'"),
        ('[[edit]]\nmode = "instruct"\nstep = 3', UnknownName, "did you mean 'steps'"),
        ('[[edit]]\nmode = "inpaint"\nmask = "boxes"', UnknownName, "did you mean 'box'"),
        ('[[edit]]\nmode = "instruct"\nprompts = []', UsageError, "prompts must be a list"),
        ('[[edit]]\nmode = "instruct"\nsteps = 0', UsageError, "steps must be from 1 to 1000"),
        ('[[edit]]\nmode = "instruct"\n' * 2, UsageError, "two edits are called"),
        ("[[edit]", UsageError, "edits .*: "),
    ],
)
def test_bad_edits_are_refused(text: str, error: type[Exception], match: str, tmp_path: Path):
    file = tmp_path / "edits.toml"
    file.write_text(text)
    with pytest.raises(error, match=match):
        load_edits(file, "embedded")


def test_the_shipped_edits_ask_for_what_can_be_scored():
    found = load_edits(None, "embedded", masks=["box"])
    assert {asked.edit.mode for asked in found} == {"instruct", "inpaint", "img2img"}
    assert {asked.mask for asked in found if asked.edit.mode == "inpaint"} == {"box"}
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    for asked in found:
        if asked.edit.mode != "inpaint":
            for prompt in asked.prompts:
                assert following(asked.edit.asking(prompt), grey, grey), prompt


def test_several_masks_ask_for_inpainting_with_each():
    one = load_edits(None, "embedded", masks=["box"])
    several = load_edits(None, "embedded", masks=["subject", "inverse"])
    assert [asked.name for asked in one] == [asked.name for asked in load_edits(None, "embedded")]
    painted = [asked for asked in several if asked.edit.mode == "inpaint"]
    assert [(asked.name, asked.mask) for asked in painted] == [
        (f"inpaint: {name}, {mask}", mask)
        for name in ("colours", "places")
        for mask in ("subject", "inverse")
    ]
    assert len(several) == len(one) + 2
    with pytest.raises(UnknownName, match="no mask named 'boxes'; did you mean 'box'"):
        load_edits(None, "embedded", masks=["subject", "boxes"])


def test_photos_are_shared_out(photos: list[Path], tmp_path: Path):
    folder = photos[0].parent
    shards = [find_photos([folder], shard=(i, 2)) for i in (1, 2)]
    assert [file.name for shard in shards for file in shard] == ["one.png", "two.png"]
    with pytest.raises(UsageError, match="shard must be from 1/2 to 2/2, got 3/2"):
        find_photos([folder], shard=(3, 2))
    named = find_photos(sorted(folder.iterdir()))
    assert [file.name for file in named] == ["one.png", "two.png"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.png").write_bytes(photos[0].read_bytes())
    with pytest.raises(UsageError, match=r"two photos are called 'one\.png', in .* and .*other"):
        find_photos([folder, other])
    with pytest.raises(UsageError, match="no photo to evaluate"):
        find_photos([tmp_path])


def test_usual_edits_are_those_that_a_folder_has_denoisers_for(editor_folder: Path, tmp_path: Path):
    folder = tmp_path / "editor"
    shutil.copytree(editor_folder, folder)
    assert {asked.edit.mode for asked in load_edits(None, str(folder))} == set(MODES)
    shutil.rmtree(folder / "unet_instruct")
    shutil.rmtree(folder / "unet_inpaint")
    assert {asked.edit.mode for asked in load_edits(None, str(folder))} == {"img2img"}
