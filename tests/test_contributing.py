"""The worked examples of CONTRIBUTING.md run, as a package of its own that plugs in."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.places import ROOT

USED = """
import sys, tomllib
from dataclasses import replace
import numpy as np
import torch
from PIL import Image
import photovax
from photovax.adversary.purify import load_purifier
from photovax.attack.presets import recipe_from
from photovax.metrics import load_metrics
torch.set_num_threads(1)
picture = Image.open(sys.argv[1])
given = np.asarray(picture)
mask = np.zeros(given.shape[:2], bool)
mask[20:70, 30:90] = True
for text in sys.argv[2:]:
    recipe = replace(recipe_from(tomllib.loads(text)), steps=2, size=64)
    safe = np.asarray(photovax.immunize(picture, recipe=recipe, device="cpu"))
    assert (safe != given).any()
    masked = photovax.immunize(picture, recipe=recipe, mask=mask, device="cpu")
    assert not (np.asarray(masked) != given)[~mask].any()
metrics, missing = load_metrics(["mean_difference"], weights=None)
assert not missing
assert metrics["mean_difference"](given, safe) > 0
purified = load_purifier("sharpen", device="cpu")(given, 0)
assert purified.shape == given.shape
assert (purified != given).any()
"""


def test_the_examples_of_plug_ins_run(photo_file: Path, tmp_path: Path):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    project, *recipes = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(code) == 4
    assert recipes
    (tmp_path / "my_parts.py").write_text("\n\n".join(code))
    groups = tomllib.loads(project)["project"]["entry-points"]
    installed = tmp_path / "my_parts-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-parts\nVersion: 1\n")
    lines = [
        line
        for group, parts in groups.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in parts.items()))
    ]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    paths = [str(tmp_path), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", USED, str(photo_file), *recipes],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
