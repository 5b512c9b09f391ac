"""Train the embedded editor: ``python -m training.train_editor OUT [options]``.

The editor has one denoiser for each way of editing (instruct, inpaint, img2img) and one text
encoder, and works on latents of a frozen autoencoder, the embedded one unless ``--autoencoder``
names another. Training resumes from ``OUT/checkpoint.pt``. A step trains one denoiser, drawn by
``SHARES``. The schedule follows steps or minutes, whichever limit is nearer. ``--start FOLDER
--modes instruct`` continues the training of one denoiser of an existing editor. The text encoder is
then frozen, since the other denoisers depend on it. For another autoencoder the denoiser starts
from that of the existing editor, with new first and last layers, or with ``--anew`` untrained: the
text encoder alone is taken then.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from transformers import CLIPTokenizer

from photovax.learning.checkpoints import read_checkpoint, write_checkpoint, write_report
from photovax.learning.muon import optimisers
from photovax.models.autoencoders.tiny import TinyAutoencoder
from photovax.models.catalog.entries import CATALOG, DEFAULT_MODEL
from photovax.models.catalog.places import autoencoder_place, weight_files
from photovax.models.contracts import EditorAutoencoder
from photovax.models.load import load_autoencoder
from training.captions import (
    corpus,
)
from training.editor_data import EARLIEST_OTHER, EDITS, OFTEN, Data
from training.editor_parts import (
    MODES,
    Editor,
    img2img_steps,
    model_index,
    scheduler,
    unet_folder,
)
from training.other_latents import moved
from training.photos import RandomCrops, load, photo_files, photo_folder
from training.pixel_loss import linear_decoder, pixel_error
from training.text import tokenizer

SHARES = {"instruct": 0.4, "inpaint": 0.3, "img2img": 0.3}
# (crop side, crops per step) of the first share of a training, ``--small``, and of the rest
SMALL, LARGE = (128, 16), (256, 10)
FITTED = 38  # number of crops, and of filtered crops, that the linear decoder is fitted to
HELD_OUT = 50  # one training photo in fifty is used only for validation


class Run:
    """One training run: model, averaged weights, optimisers, data and their state."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        self.autoencoder = self._autoencoder(options.autoencoder)
        # The order of equally frequent merges varies, so a resumed run keeps its tokenizer.
        own = (options.start or options.out / "editor") / "tokenizer"
        self.vocabulary: Any = (
            CLIPTokenizer.from_pretrained(own)
            if own.exists()
            else tokenizer(corpus(options.sentences, options.seed), 1000)
        )
        photos, files = load(photo_folder("train")), photo_files(photo_folder("train"))
        names = [file.name for file in files]
        kept = [i for i in range(len(photos)) if i % HELD_OUT]
        self.data = Data(
            self.autoencoder,
            [photos[i] for i in kept],
            [names[i] for i in kept],
            options.seed,
            options.often,
            options.pool,
            self.device,
            guided=not options.unguided,
            folder=options.out,
        )
        self.held_out = (photos[::HELD_OUT], names[::HELD_OUT])
        self.editor = self._editor().to(self.device)
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
        shares = {mode: SHARES[mode] for mode in options.modes}
        self.shares = {mode: share / sum(shares.values()) for mode, share in shares.items()}
        self.text_stays = len(shares) < len(SHARES)
        self.editor.text.requires_grad_(not self.text_stays)
        self.decoder = self._linear_decoder(options.seed) if options.pixels else None
        self.generator = Generator().manual_seed(options.seed)
        self.step = self.seen = 0
        self.seconds = 0.0
        self.losses = dict.fromkeys(self.editor.unets, float("nan"))
        if (state := read_checkpoint(options.out, self.device)) is not None:
            self._load(state)

    @property
    def progress(self) -> float:
        """Share of the training that is done, from 0 to 1."""
        return max(self.step / self.options.steps, self.seconds / 60 / self.options.minutes)

    def train_step(self) -> None:
        """Update one denoiser, the text encoder and their averages once."""
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
        times = self._times(count, generator)
        other = (start != target).flatten(1).any(1)
        late = EARLIEST_OTHER + times * (1000 - EARLIEST_OTHER) // 1000
        times = torch.where(other, late, times)
        noisy = self.scheduler.add_noise(start, noise, times)
        # The noise relative to the target, which includes the difference between the two.
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

    def _times(self, count: int, generator: Generator) -> Tensor:
        if not self.options.noisy:
            return torch.randint(0, 1000, (count,), generator=generator)
        # What an edit of few steps does wrong at its start it does not mend later.
        times = (999 - 850 * torch.rand(count, generator=generator) ** 1.5).long()
        times[torch.rand(count, generator=generator) < 0.25] = 999
        return times

    def _linear_decoder(self, seed: int) -> Tensor:
        return linear_decoder(self.autoencoder, self._looks(seed + 2))

    def _looks(self, seed: int) -> list[Tensor]:
        """Crops (3, H, W) of photos on the device, and as many that exact edits have changed."""
        crops, _ = RandomCrops(self.data.crops.photos, seed).draw(FITTED, LARGE[0])
        looks = [EDITS[i % len(EDITS)].filter(crop[None])[0] for i, crop in enumerate(crops)]
        return [each.to(self.device) for each in (*crops, *looks)]

    def _autoencoder(self, name: str) -> EditorAutoencoder:
        loaded = load_autoencoder(name, device=self.device, weights=self.options.weights)
        return cast(EditorAutoencoder, loaded)

    def _editor(self) -> Editor:
        """The parts to train; of an editor of another autoencoder only the chosen denoisers."""
        editor = Editor(self.vocabulary, self.options, self.autoencoder.channels)
        if editor.latent_channels != self.autoencoder.channels:
            old = self._autoencoder(str(self.options.start))
            photos = torch.stack(self._looks(self.options.seed + 3))
            editor.unets = nn.ModuleDict(
                {
                    mode: moved(editor.unets[mode], mode, old, self.autoencoder, photos)
                    for mode in self.options.modes
                }
            )
        return editor

    def averaged(self) -> Editor:
        """The parts with averaged weights, without gradients."""
        editor = copy.deepcopy(self.editor)
        editor.load_state_dict(self.average)
        return editor.eval().requires_grad_(False)

    def report(self) -> None:
        """Print training losses, and losses on held-out photos with fixed noise."""
        editor, held_out = self.averaged(), {}
        for mode in self.editor.unets:
            data = Data(self.autoencoder, *self.held_out, seed=7, device=self.device)
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
        """Write the checkpoint."""
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
        if "img2img" in editor.unets:
            img2img_steps().save_pretrained(folder / "scheduler_img2img")
        self.vocabulary.save_pretrained(folder / "tokenizer")
        editor.text.save_pretrained(folder / "text_encoder")
        for mode, unet in editor.unets.items():
            unet.save_pretrained(folder / unet_folder(mode))
        tiny = isinstance(self.autoencoder, TinyAutoencoder)
        (folder / "vae").mkdir(exist_ok=True)
        for file in self._autoencoder_files():
            shutil.copy(file, folder / "vae")
        index = json.dumps(model_index(tiny=tiny), indent=2) + "\n"
        (folder / "model_index.json").write_text(index, encoding="utf-8")

    def _autoencoder_files(self) -> list[Path]:
        """The files that the autoencoder was loaded from."""
        name = self.options.autoencoder
        place = autoencoder_place(name, self.options.weights)
        loose = [place / file for file in CATALOG[name].files]
        if loose and all(file.is_file() for file in loose):
            return loose
        if place.is_file():
            return [place]
        return [place / "config.json", *weight_files(place, name=name)[0]]


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
    parser.add_argument(
        "--autoencoder", default=DEFAULT_MODEL, choices=CATALOG, help="autoencoder of the latents"
    )
    parser.add_argument("--weights", type=Path, help="folder of its weights")
    parser.add_argument("--start", type=Path, help="folder of an existing editor to train further")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument(
        "--often",
        nargs="+",
        default=[],
        choices=[edit.name for edit in EDITS],
        help=f"exact edits that are drawn {OFTEN} times as often",
    )
    parser.add_argument(
        "--pool", type=int, default=0, help="number of pairs that instruct makes and reuses"
    )
    parser.add_argument(
        "--small",
        type=float,
        default=0.6,
        help="share of the training on 128 pixels instead of 256",
    )
    parser.add_argument(
        "--pixels",
        type=float,
        default=0.0,
        help="share of the loss in pixels of a linear decoder, from 0 to 1",
    )
    parser.add_argument("--widths", default="80-112-128")
    parser.add_argument("--anew", action="store_true", help="take only the text encoder of --start")
    parser.add_argument(
        "--film", action="store_true", help="let the prompt scale and shift every block"
    )
    parser.add_argument("--noisy", action="store_true", help="draw mostly times near pure noise")
    parser.add_argument(
        "--unguided", action="store_true", help="leave out no prompt and no picture"
    )
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--text-width", type=int, default=128)
    parser.add_argument("--text-layers", type=int, default=3)
    parser.add_argument(
        "--sentences", type=int, default=3000, help="a third of the sentences for the vocabulary"
    )
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
