"""Train the embedded autoencoder: ``python -m training.train_autoencoder OUT [options]``.

Resumes from ``OUT/checkpoint.pt`` if it exists. Every number of the training is an option with a
default, so that the command line in the model card repeats the training.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from photovax.learning.checkpoints import read_checkpoint, write_checkpoint, write_report
from photovax.learning.muon import optimisers
from photovax.metrics.backbones import Lpips
from photovax.metrics.distortion import image_psnr
from training.photos import RandomCrops, centre_crops, load, photo_folder

# (share of all steps, crop side, crops per step). Crops are small and cheap at first, then larger,
# since group statistics and attention must fit the sizes of pictures that will be encoded.
PHASES = ((0.55, 96, 10), (0.33, 128, 8), (0.12, 256, 3))


def build(design: str) -> Any:
    """An untrained autoencoder by its design: widths, blocks per level, groups, as in 16-32x1g4.

    The suffix ``-plain`` omits attention from the middle block.

    Few groups seem to help: with as many groups as channels, the first level is instance
    normalisation, which removes the brightness of each channel. After 3,600 crops 16-32-96-128 with
    16 groups reached 18 dB, and 16-32-96-160 with 4 groups 22 dB. Width and schedule differed, too,
    so the effect of the groups alone is not known.
    """
    attention = not design.endswith("-plain")
    widths, rest = design.removesuffix("-plain").split("x")
    layers, groups = rest.split("g")
    channels = tuple(int(width) for width in widths.split("-"))
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=int(layers),
        norm_num_groups=int(groups),
        mid_block_add_attention=attention,
        sample_size=256,
        force_upcast=False,
    )


def main() -> None:
    """Train, evaluating and saving on the way."""
    Run(arguments(__doc__).parse_args()).train()


class Run:
    """One training run: model, averaged weights, optimisers, data and their state."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        torch.set_num_threads(options.threads)
        options.out.mkdir(parents=True, exist_ok=True)
        self.options = options
        self.device = torch.device(options.device)
        self.model: Any = self._untrained() if options.start is None else trained(options.start)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimisers = optimisers(
            self.model,
            matrix_lr=options.matrix_lr,
            vector_lr=options.vector_lr,
            matrices=lambda p: p.ndim >= 2 and min(p.shape[:2]) > 3,
        )
        self.lpips = Lpips(options.lpips).to(self.device) if options.lpips else None
        self.crops = RandomCrops(load(photo_folder("train")), options.seed)
        self.held_out = centre_crops(load(photo_folder("eval")), 256)
        self.step = 0
        self.seen = 0
        self.seconds = 0.0
        self.loss = float("nan")
        self.started = time.monotonic()
        if (state := read_checkpoint(options.out, self.device)) is not None:
            self._load(state)

    def _untrained(self) -> Any:
        model = build(self.options.design)
        with torch.no_grad():
            # The posterior starts as narrow as it ends; otherwise the first steps see only noise.
            model.quant_conv.bias[4:] = -8.0
        return model

    def train(self) -> None:
        """Run all steps, with reports and checkpoints on the way, then export the weights."""
        while self.step < self.options.steps and not self.out_of_time():
            self.train_step()
            if self.step % self.options.every == 0:
                self.report()
                self.save()
        self.report()
        self.save()
        self.export()

    def out_of_time(self) -> bool:
        """Whether this process has run for ``--minutes``."""
        return time.monotonic() - self.started > self.options.minutes * 60

    def phase(self) -> tuple[int, int]:
        """Current crop side and crops per step."""
        done = self.step / self.options.steps
        for share, side, count in PHASES:
            if done < share:
                return side, count
            done -= share
        return PHASES[-1][1:]

    def train_step(self) -> None:
        """Update the weights and their average once."""
        began = time.monotonic()
        side, count = self.phase()
        images = self.crops.batch(count, side).to(self.device)
        images = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
        warm = min(1.0, (self.step + 1) / self.options.warm_up)
        decay = 0.5 * (1 + math.cos(math.pi * self.step / self.options.steps))
        for optimiser, rate in zip(
            self.optimisers, (self.options.matrix_lr, self.options.vector_lr), strict=True
        ):
            optimiser.param_groups[0]["lr"] = rate * warm * (0.01 + 0.99 * decay)
            optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16):
            posterior = self.model.encode(images).latent_dist
            decoded = self.model.decode(posterior.sample()).sample
        loss = self.losses(images, decoded.float(), posterior.mean, posterior.logvar)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step += 1
        self.seen += count
        self.loss = loss.item() if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss.item()
        self.seconds += time.monotonic() - began

    def losses(self, images: Tensor, decoded: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        """The loss of pictures in [-1, 1], their reconstructions and their posteriors."""
        loss = F.l1_loss(decoded, images)
        for dim in (2, 3):
            loss = loss + 0.5 * F.l1_loss(decoded.diff(dim=dim), images.diff(dim=dim))
        mean, logvar = mean.float(), logvar.float()
        loss = loss + self.options.kl * 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        loss = loss + self.options.magnitude * (mean**2 - 1).clamp_min(0).mean()
        if self.lpips is not None and self.step >= self.options.lpips_from * self.options.steps:
            distance = self.lpips(decoded / 2 + 0.5, images / 2 + 0.5)
            loss = loss + self.options.lpips_weight * distance.mean()
        return loss

    def averaged(self) -> Any:
        """The model with averaged weights, without gradients."""
        model = build(self.options.design)
        model.load_state_dict(self.average)
        return model.to(self.device).eval().requires_grad_(False)

    def report(self) -> None:
        """Print the loss, the PSNR on held-out photos and the scale of latents."""
        model = self.averaged()
        means, psnrs = [], []
        with torch.no_grad():
            for batch in self.held_out[:: self.options.report_stride].split(10):
                images = batch.to(self.device)
                mean = model.encode(images * 2 - 1).latent_dist.mean
                decoded = (model.decode(mean).sample / 2 + 0.5).clamp(0, 1)
                psnrs.append(image_psnr(decoded, images))
                means.append(mean)
        line = {
            "step": self.step,
            "crops": self.seen,
            "seconds": round(self.seconds),
            "loss": round(self.loss, 5),
            "psnr": round(torch.cat(psnrs).mean().item(), 3),
            "latent_std": round(torch.cat(means).std().item(), 4),
        }
        write_report(line, self.options.out)

    def save(self) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [o.state_dict() for o in self.optimisers],
            "random": (torch.get_rng_state(), self.crops.random.bit_generator.state),
            "counts": (self.step, self.seen, self.seconds, self.loss),
        }
        write_checkpoint(state, self.options.out)

    def _load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        torch.set_rng_state(state["random"][0].cpu())
        self.crops.random.bit_generator.state = state["random"][1]
        self.step, self.seen, self.seconds, self.loss = state["counts"]

    def export(self) -> None:
        """Write the diffusers folder in half precision, with the measured scaling factor."""
        model = self.averaged()
        with torch.no_grad():
            images = self.crops.batch(64, 256).to(self.device) * 2 - 1
            deviation = torch.cat([model.encode(i).latent_dist.mean for i in images.split(8)]).std()
        model.register_to_config(scaling_factor=round(1 / deviation.item(), 5))
        model.to(torch.float16).save_pretrained(self.options.out / "vae")


def trained(folder: Path) -> Any:
    """Load a trained model in full precision, to continue its training."""
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser of the options of a training."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", type=Path, help="folder of checkpoint, curve and result")
    parser.add_argument("--design", default="16-32-96-128x1")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after this many minutes"
    )
    parser.add_argument("--matrix-lr", type=float, default=0.02)
    parser.add_argument("--vector-lr", type=float, default=1e-3)
    parser.add_argument(
        "--warm-up", type=int, default=200, help="number of steps with a rising step size"
    )
    parser.add_argument("--kl", type=float, default=1e-6)
    parser.add_argument(
        "--magnitude",
        type=float,
        default=0.0,
        help="weight of a penalty on squared latents above 1",
    )
    parser.add_argument("--start", type=Path, help="diffusers folder to start from")
    parser.add_argument("--lpips", type=Path, help="weights file of training/perceptual.py")
    parser.add_argument("--lpips-weight", type=float, default=0.05)
    parser.add_argument(
        "--lpips-from", type=float, default=0.0, help="share of steps before LPIPS is used"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=500, help="steps between reports")
    parser.add_argument("--report-stride", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
