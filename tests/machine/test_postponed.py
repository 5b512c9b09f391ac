"""Each test runs in a process of its own, since imports are of a whole process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

POSTPONED = (
    "matplotlib",
    "requests",
    "scipy.io",
    "scipy.signal",
    "scipy.stats",
    "torch._dynamo",
    "torch.utils.benchmark",
    "transformers",
)


def ran(script: str) -> str:
    done = subprocess.run(  # noqa: S603 - a script of this file
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_immunization_imports_none_of_what_is_postponed(tmp_path):
    ran(
        f"""
        import sys

        import numpy as np
        from PIL import Image

        from photovax.cli import app

        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save({str(tmp_path / "photo.png")!r})
        given = ["immunize", {str(tmp_path / "photo.png")!r}, "--overwrite", "--recipe"]
        for recipe in ("instant", "fast"):
            try:
                app([*given, recipe])
            except SystemExit as ended:
                assert ended.code in (0, 10, 11), ended.code  # the verdict
        assert "diffusers" in sys.modules
        assert not {{*{POSTPONED}}} & {{*sys.modules}}
        """
    )
    assert (tmp_path / "photo.immunized.png").exists()


def test_what_is_postponed_works_when_it_is_used():
    ran(
        """
        import sys

        from photovax.batch.libraries import import_libraries

        import_libraries()
        import diffusers
        import numpy as np
        import torch
        from diffusers.loaders import single_file_utils
        from diffusers.models.autoencoders import autoencoder_rae
        from diffusers.quantizers import pipe_quant_config
        from diffusers.schedulers import scheduling_lms_discrete

        import photovax

        held = single_file_utils.AutoImageProcessor
        assert "transformers" not in sys.modules

        # A pipeline with text encoders of transformers.
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        edited = photovax.edit(pixels, "a cat", mode="img2img", steps=2, size=64)
        assert edited.shape == pixels.shape

        import scipy.integrate
        import scipy.stats
        import transformers

        assert held.from_pretrained.__func__ is (
            transformers.AutoImageProcessor.from_pretrained.__func__
        )
        model = autoencoder_rae.Dinov2WithRegistersModel
        assert issubclass(transformers.Dinov2WithRegistersModel, model)
        assert type(model(transformers.Dinov2WithRegistersConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2
        ))) is transformers.Dinov2WithRegistersModel

        class Kind(model):
            pass

        assert issubclass(Kind, transformers.Dinov2WithRegistersModel)
        assert scheduling_lms_discrete.integrate.quad is scipy.integrate.quad
        beta = diffusers.EulerDiscreteScheduler(use_beta_sigmas=True)
        beta.set_timesteps(3)
        assert len(beta.timesteps) == 3
        diffusers.LMSDiscreteScheduler().set_timesteps(3)
        assert isinstance(
            transformers.BitsAndBytesConfig(), pipe_quant_config.TransformersQuantConfigMixin
        )

        # The compiler is torch's own, and compiles models of diffusers.
        import torch._dynamo

        model = diffusers.UNet2DConditionModel(
            sample_size=8, block_out_channels=(32,), layers_per_block=1, cross_attention_dim=8,
            down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
            attention_head_dim=4,
        )
        given = torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 2, 8)
        compiled = torch.compile(model, backend="eager")
        assert isinstance(compiled, torch._dynamo.eval_frame.OptimizedModule)
        assert torch.equal(compiled(*given).sample, model(*given).sample)
        """
    )


def test_a_failure_leaves_the_ordinary_import():
    ran(
        """
        import sys

        from photovax.batch.libraries import import_libraries
        from photovax.machine import postponed

        def disable(*given, **named):
            raise TypeError("another version of diffusers")

        postponed._Compiler.disable = disable
        import_libraries()
        assert "torch._dynamo" not in sys.modules
        from diffusers import AutoencoderKL

        AutoencoderKL(block_out_channels=(32,), norm_num_groups=8)
        assert "torch._dynamo" in sys.modules
        """
    )
