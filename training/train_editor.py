"""Train the embedded editor: ``python -m training.train_editor OUT [options]``.

One denoiser for each way of editing (instruct, inpaint, img2img) over one text encoder, on
latents of the frozen embedded autoencoder. Resumes from ``OUT/checkpoint.pt``. A step trains
one denoiser, drawn by ``SHARES``. The schedule follows whichever budget is nearer its end,
steps or minutes of training. ``--start FOLDER --modes instruct`` trains one denoiser of a ready
editor further; the text encoder, which the others need as it is, then stays.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from torch import Generator, Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from photovax.evaluation.true_edits import TRUE_EDITS, TrueEdit
from training.captions import (
    class_word,
    corpus,
    instruction,
    picture_caption,
    recoloured,
    region_caption,
)
from training.checkpoints import read_checkpoint, write_checkpoint, write_report
from training.holes import random_hole
from training.muon import optimisers
from training.photos import RandomCrops, load, photo_files, photo_folder
from training.pixel_loss import linear_decoder, pixel_error
from training.text import text_encoder, tokenizer

CHANNELS = {"instruct": 8, "inpaint": 9, "img2img": 4}
SHARES = {"instruct": 0.4, "inpaint": 0.3, "img2img": 0.3}
# (crop side, crops per step) of the first share of a training, ``--small``, and of the rest
SMALL, LARGE = (128, 16), (256, 10)
# img2img: share of the filtered samples that start from the photo's own look instead of the
# prompt's, as a user's photo does, or on the way from it; and the earliest timestep of these.
OTHER_START, EARLIEST_OTHER = 0.6, 150
OFTEN = 3
FITTED = 38  # crops, and as many with another look, that the linear decoder is fitted to
HELD_OUT = 50  # every so many photos of the training folder are only validated on


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, with v-prediction and from the very last timestep."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def img2img_steps() -> EulerDiscreteScheduler:
    """DDIM's steps, evenly spaced in the noise's logarithm, for latents as small as these.

    With Stable Diffusion's own spacing half the steps start from 1.6 times the latent's deviation
    in noise. On 64 x 64 latents that leaves a photo; on 32 x 32, in which every value counts,
    hardly more than colours.
    """
    ends = scheduler().alphas_cumprod[[0, -1]]
    least, most = ((1 - ends) / ends).sqrt().tolist()
    return EulerDiscreteScheduler.from_config(
        scheduler().config, use_exponential_sigmas=True, sigma_min=least, sigma_max=most
    )


def denoiser(channels: int, widths: tuple[int, ...], groups: int, text: int) -> Any:
    """An untrained UNet in Stable Diffusion's form."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=widths,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text,
        attention_head_dim=4,
        norm_num_groups=groups,
    )


class Editor(nn.Module):
    """The parts that are trained."""

    def __init__(self, vocabulary: Any, options: argparse.Namespace) -> None:
        super().__init__()
        unets: dict[str, Any]
        if options.start is None:
            widths = tuple(int(width) for width in options.widths.split("-"))
            self.text = text_encoder(vocabulary, options.text_width, options.text_layers)
            unets = {
                mode: denoiser(channels, widths, options.groups, options.text_width)
                for mode, channels in CHANNELS.items()
            }
        else:
            self.text = CLIPTextModel.from_pretrained(
                options.start / "text_encoder", dtype=torch.float32
            )
            unets = {
                mode: UNet2DConditionModel.from_pretrained(
                    options.start / _folder(mode), torch_dtype=torch.float32
                )
                for mode in CHANNELS
            }
        self.unets = nn.ModuleDict(unets)


def _folder(mode: str) -> str:
    """Where a denoiser lies. Pipelines look for ``unet``; the other two are handed to them."""
    return "unet" if mode == "img2img" else f"unet_{mode}"


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        target: Scaled latents to make (N, 4, h, w).
        start: Scaled latents that noise is added to; mostly the target itself.
        shown: Extra input channels, or None.
        prompts: N of them.
    """

    target: Tensor
    start: Tensor
    shown: Tensor | None
    prompts: list[str]


class Data:
    """Batches: what the denoiser is to make, what it is shown, and the words."""

    def __init__(
        self,
        vae: Any,
        photos: list[Tensor],
        names: list[str],
        seed: int,
        often: Sequence[str] = (),
        pool: int = 0,
    ) -> None:
        """How to draw.

        Args:
            vae: The autoencoder.
            photos: Each (3, H, W) uint8.
            names: Of their files.
            seed: Of all draws.
            often: Names of true edits that instruct draws ``OFTEN`` times as often.
            pool: Pairs of each size that instruct makes before it draws from these only: making
                one costs as much as training on it does. Without bound when 0.
        """
        self.vae = vae
        self.pool = pool
        self.pairs: dict[int, list[tuple[Tensor, Tensor, TrueEdit]]] = {}
        weights = np.array([OFTEN if e.name in often else 1.0 for e in TRUE_EDITS.values()])
        self.chances = weights / weights.sum()
        self.words = [class_word(name) for name in names]
        self.crops = RandomCrops(photos, seed)
        self.random = np.random.default_rng(seed + 1)

    def batch(self, mode: str, count: int, side: int) -> Batch:
        """Samples for one way of editing."""
        if mode == "instruct":
            return self._instruct(self._pairs(count, side))
        crops, chosen = self.crops.draw(count, side)
        return self._inpaint(crops, chosen) if mode == "inpaint" else self._img2img(crops, chosen)

    def _encode(self, images: Tensor) -> Tensor:
        # Pictures are made on the CPU, and latents, which are small, go back there to be mixed.
        device = self.vae.device
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            x = (images.to(device) * 2 - 1).contiguous(memory_format=torch.channels_last)
            return self.vae.encode(x).latent_dist.mean.float().cpu()

    def _pairs(self, count: int, side: int) -> list[tuple[Tensor, Tensor, TrueEdit]]:
        """Latents before and after an edit, and which edit it was."""
        made = self.pairs.setdefault(side, [])
        if self.pool and len(made) >= self.pool:
            return [made[i] for i in self.random.integers(len(made), size=count)]
        crops, _ = self.crops.draw(count, side)
        numbers = self.random.choice(len(TRUE_EDITS), size=count, p=self.chances)
        edits = [list(TRUE_EDITS.values())[number] for number in numbers]
        edited = torch.cat(
            [edit.filter(crop[None]) for edit, crop in zip(edits, crops, strict=True)]
        )
        before, after = self._encode(torch.cat((crops, edited))).chunk(2)
        pairs = list(zip(before, after, edits, strict=True))
        if self.pool:
            made.extend(pairs)
        return pairs

    def _instruct(self, pairs: list[tuple[Tensor, Tensor, TrueEdit]]) -> Batch:
        befores, afters, edits = zip(*pairs, strict=True)
        before, after = torch.stack(befores), torch.stack(afters)
        # InstructPix2Pix (arXiv 2211.09800): 5 % no words, 5 % no picture, 5 % neither. The
        # picture's latent is not scaled, as the pipeline has it.
        draw = self.random.random(len(pairs))
        before[torch.from_numpy((draw >= 0.05) & (draw < 0.15))] = 0
        prompts = [
            "" if d < 0.10 else instruction(edit, self.random)
            for edit, d in zip(edits, draw, strict=True)
        ]
        target = after * self._scale
        return Batch(target, target, before, prompts)

    def _inpaint(self, crops: Tensor, chosen: list[int]) -> Batch:
        pictures, holes, prompts = [], [], []
        for crop, index in zip(crops, chosen, strict=True):
            hole = random_hole(crop.shape[-1], self.random)
            picture = crop
            if hole.mean() < 0.9 and self.random.random() < 0.35:
                picture = recoloured(crop, hole, self.random)
            caption = region_caption(picture, hole, self.random, self.words[index])
            pictures.append(picture)
            holes.append(hole)
            prompts.append("" if self.random.random() < 0.1 else caption)
        whole, mask = torch.stack(pictures), torch.stack(holes)
        kept = torch.where(mask > 0.5, 0.5, whole)  # the pipeline greys out what it repaints
        target, context = (self._encode(torch.cat((whole, kept))) * self._scale).chunk(2)
        small = F.interpolate(mask, size=target.shape[-2:])
        return Batch(target, target, torch.cat((small, context), dim=1), prompts)

    def _img2img(self, crops: Tensor, chosen: list[int]) -> Batch:
        pictures, prompts, others = [], [], []
        for crop, index in zip(crops, chosen, strict=True):
            edit = None
            if self.random.random() < 0.6:
                edit = list(TRUE_EDITS.values())[self.random.integers(len(TRUE_EDITS))]
            picture = crop if edit is None else edit.filter(crop[None])[0]
            caption = picture_caption(picture, self.random, self.words[index], edit)
            elsewhere = edit is not None and self.random.random() < OTHER_START
            pictures.append(picture)
            others.append(elsewhere)
            prompts.append("" if not elsewhere and self.random.random() < 0.1 else caption)
        other = torch.tensor(others)
        latents = self._encode(torch.cat((torch.stack(pictures), crops[other]))) * self._scale
        target = latents[: len(crops)]
        start = target.clone()
        # On their way to the look that was asked for, edits are somewhere between the two.
        way = torch.from_numpy(self.random.random((int(other.sum()), 1, 1, 1)) ** 0.5).float()
        start[other] = torch.lerp(target[other], latents[len(crops) :], way)
        return Batch(target, start, None, prompts)

    @property
    def _scale(self) -> float:
        return float(self.vae.config.scaling_factor)


class Run:
    """One training run: model, average, optimisers, data and where they stand."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        self.vae: Any = AutoencoderKL.from_pretrained(options.vae, torch_dtype=torch.float32)
        self.vae.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        # Merges that are as frequent as others come in any order: a resumed run keeps its own.
        kept = (options.start or options.out / "editor") / "tokenizer"
        self.vocabulary: Any = (
            CLIPTokenizer.from_pretrained(kept)
            if kept.exists()
            else tokenizer(corpus(options.sentences, options.seed), 1000)
        )
        self.editor = Editor(self.vocabulary, options).to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.editor.state_dict().items()}
        self.optimisers = {
            name: optimisers(
                part,
                matrix_lr=options.matrix_lr,
                vector_lr=options.vector_lr,
                matrices=lambda p: p.ndim >= 2 and min(p.shape[:2]) > 9 and p.shape[0] < 600,
            )
            for name, part in {"text": self.editor.text, **self.editor.unets}.items()
        }
        self.scheduler = scheduler()
        photos, files = load(photo_folder("train")), photo_files(photo_folder("train"))
        names = [file.name for file in files]
        kept = [i for i in range(len(photos)) if i % HELD_OUT]
        self.data = Data(
            self.vae,
            [photos[i] for i in kept],
            [names[i] for i in kept],
            options.seed,
            options.often,
            options.pool,
        )
        shares = {mode: SHARES[mode] for mode in options.modes}
        self.shares = {mode: share / sum(shares.values()) for mode, share in shares.items()}
        self.text_stays = len(shares) < len(SHARES)
        self.editor.text.requires_grad_(not self.text_stays)
        self.held_out = (photos[::HELD_OUT], names[::HELD_OUT])
        self.decoder = self._linear_decoder(options.seed) if options.pixels else None
        self.generator = Generator().manual_seed(options.seed)
        self.step = self.seen = 0
        self.seconds = 0.0
        self.losses = dict.fromkeys(CHANNELS, float("nan"))
        if (state := read_checkpoint(options.out, self.device)) is not None:
            self._load(state)

    @property
    def progress(self) -> float:
        """Share of the training that is done."""
        return max(self.step / self.options.steps, self.seconds / 60 / self.options.minutes)

    def train_step(self) -> None:
        """One update of one denoiser, the text encoder, and their averages."""
        began = time.monotonic()
        done = self.progress
        mode = str(self.data.random.choice(list(self.shares), p=list(self.shares.values())))
        side, count = SMALL if done < self.options.small else LARGE
        loss = self._loss(self.editor, self.data, mode, side, count, self.generator)
        rate = min(1.0, (self.step + 1) / 300) * (
            0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        )
        moved = [*self.optimisers[mode], *([] if self.text_stays else self.optimisers["text"])]
        peaks = [self.options.matrix_lr, self.options.vector_lr] * 2
        for optimiser, peak in zip(moved, peaks[: len(moved)], strict=True):
            optimiser.param_groups[0]["lr"] = peak * rate
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.editor.unets[mode].parameters(), 1.0)
        nn.utils.clip_grad_norm_(self.editor.text.parameters(), 1.0)
        for optimiser in moved:
            optimiser.step()
        keep = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            trained = (f"unets.{mode}.", *(() if self.text_stays else ("text.",)))
            for name, value in self.editor.state_dict().items():
                if name.startswith(trained) and value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
        self.step += 1
        self.seen += count
        old = self.losses[mode]
        self.losses[mode] = loss.item() if math.isnan(old) else 0.98 * old + 0.02 * loss.item()
        self.seconds += time.monotonic() - began

    def _loss(
        self, editor: Editor, data: Data, mode: str, side: int, count: int, generator: Generator
    ) -> Tensor:
        batch = data.batch(mode, count, side)
        target, start = batch.target, batch.start
        tokens = self.vocabulary(
            batch.prompts, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        noise = torch.randn(target.shape, generator=generator)
        times = torch.randint(0, 1000, (count,), generator=generator)
        other = (start != target).flatten(1).any(1)
        late = EARLIEST_OTHER + times * (1000 - EARLIEST_OTHER) // 1000
        times = torch.where(other, late, times)
        noisy = self.scheduler.add_noise(start, noise, times)
        # The noise that would have made this of the target: the start's own look is noise, too.
        kept = self.scheduler.alphas_cumprod[times].view(-1, 1, 1, 1)
        noise = (noisy - kept.sqrt() * target) / (1 - kept).sqrt()
        wanted = self.scheduler.get_velocity(target, noise, times)
        fed = noisy if batch.shown is None else torch.cat((noisy, batch.shown), dim=1)
        with torch.autocast(self.device.type, torch.bfloat16):
            words = editor.text(tokens.to(self.device)).last_hidden_state
            made = editor.unets[mode](fed.to(self.device), times.to(self.device), words).sample
        error = made.float() - wanted.to(self.device)
        loss = error.square().mean()
        if self.decoder is None:
            return loss
        share = self.options.pixels
        return (1 - share) * loss + share * pixel_error(error, self.decoder)

    def _linear_decoder(self, seed: int) -> Tensor:
        crops, _ = RandomCrops(self.data.crops.photos, seed + 2).draw(FITTED, LARGE[0])
        edits = [*TRUE_EDITS.values()]
        looks = [edits[i % len(edits)].filter(crop[None])[0] for i, crop in enumerate(crops)]
        return linear_decoder(self.vae, [*crops, *looks])

    def averaged(self) -> Editor:
        """The parts with averaged weights."""
        editor = copy.deepcopy(self.editor)
        editor.load_state_dict(self.average)
        return editor.eval().requires_grad_(False)

    def report(self) -> None:
        """Print training losses, and losses on held-out photos with fixed noise."""
        editor, held_out = self.averaged(), {}
        for mode in CHANNELS:
            data = Data(self.vae, *self.held_out, seed=7)
            generator = Generator().manual_seed(7)
            with torch.no_grad():
                losses = [self._loss(editor, data, mode, 128, 16, generator) for _ in range(6)]
            held_out[mode] = round(torch.stack(losses).mean().item(), 4)
        line = {
            "step": self.step,
            "samples": self.seen,
            "minutes": round(self.seconds / 60, 1),
            "losses": {mode: round(loss, 4) for mode, loss in self.losses.items()},
            "held_out": held_out,
        }
        write_report(line, self.options.out)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state: dict[str, Any] = {
            "editor": self.editor.state_dict(),
            "average": self.average,
            "optimisers": {
                name: [o.state_dict() for o in pair] for name, pair in self.optimisers.items()
            },
            "random": (
                self.generator.get_state(),
                self.data.crops.random.bit_generator.state,
                self.data.random.bit_generator.state,
            ),
            "counts": (self.step, self.seen, self.seconds, self.losses),
        }
        write_checkpoint(state, self.options.out)

    def _load(self, state: dict[str, Any]) -> None:
        self.editor.load_state_dict(state["editor"])
        self.average = state["average"]
        for name, pair in self.optimisers.items():
            for optimiser, saved in zip(pair, state["optimisers"][name], strict=True):
                optimiser.load_state_dict(saved)
        self.generator.set_state(state["random"][0].cpu())
        self.data.crops.random.bit_generator.state = state["random"][1]
        self.data.random.bit_generator.state = state["random"][2]
        self.step, self.seen, self.seconds, self.losses = state["counts"]

    def export(self) -> None:
        """Write the diffusers folders, in half precision."""
        editor, folder = self.averaged().half(), self.options.out / "editor"
        self.scheduler.save_pretrained(folder / "scheduler")
        img2img_steps().save_pretrained(folder / "scheduler_img2img")
        self.vocabulary.save_pretrained(folder / "tokenizer")
        editor.text.save_pretrained(folder / "text_encoder")
        for mode, unet in editor.unets.items():
            unet.save_pretrained(folder / _folder(mode))
        index = json.dumps(_index(), indent=2) + "\n"
        (folder / "model_index.json").write_text(index, encoding="utf-8")


def _index() -> dict[str, Any]:
    """What diffusers' pipelines look up: which class loads which folder."""
    parts: list[tuple[str, Any]] = [
        ("scheduler", DDIMScheduler),
        ("text_encoder", CLIPTextModel),
        ("tokenizer", CLIPTokenizer),
        ("unet", UNet2DConditionModel),
        ("vae", AutoencoderKL),
    ]
    unused = ("feature_extractor", "image_encoder", "safety_checker")
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "requires_safety_checker": False,
        **{name: [None, None] for name in unused},
        **{name: [kind.__module__.split(".")[0], kind.__name__] for name, kind in parts},
    }


def main() -> None:
    """Train, reporting and saving on the way."""
    options = _arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options)
    saved = time.monotonic()
    while run.progress < 1:
        run.train_step()
        if time.monotonic() - saved > 60 * options.every:
            run.report()
            run.save()
            run.export()
            saved = time.monotonic()
    run.report()
    run.save()
    run.export()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of checkpoint, curve and result")
    parser.add_argument("--vae", type=Path, default=Path("src/photovax/models/embedded/vae"))
    parser.add_argument("--start", type=Path, help="a ready editor to train further")
    parser.add_argument("--modes", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument(
        "--often",
        nargs="+",
        default=[],
        choices=[edit.name for edit in TRUE_EDITS.values()],
        help=f"true edits drawn {OFTEN} times as often",
    )
    parser.add_argument(
        "--pool", type=int, default=0, help="pairs that instruct makes before it reuses them"
    )
    parser.add_argument(
        "--small", type=float, default=0.6, help="share trained on 128 pixels, not 256"
    )
    parser.add_argument(
        "--pixels",
        type=float,
        default=0.0,
        help="share of the loss that counts pixels as a linear decoder makes them, from 0 to 1",
    )
    parser.add_argument("--widths", default="80-112-128")
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--text-width", type=int, default=128)
    parser.add_argument("--text-layers", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=3000, help="thrice, for the vocabulary")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--matrix-lr", type=float, default=0.01)
    parser.add_argument("--vector-lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=float, default=8, help="minutes between reports")
    return parser.parse_args()


if __name__ == "__main__":
    main()
