"""What tests of models share."""

import shutil

import pytest


@pytest.fixture
def sd(tmp_path, editor_folder):
    """An untrained pipeline of Stable Diffusion's form, with its scaling factor."""
    folder = tmp_path / "pipeline"
    shutil.copytree(editor_folder, folder)
    config = folder / "vae" / "config.json"
    config.write_text(
        config.read_text().replace('"scaling_factor": 0.5', '"scaling_factor": 0.18215')
    )
    for other in ("unet_inpaint", "unet_instruct"):
        shutil.rmtree(folder / other)
    return folder
