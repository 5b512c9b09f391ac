"""Train the adaptive denoiser: ``python -m training.train_denoiser OUT [options]``.

The first stage immunizes training photos by several recipes (``OUT/pairs``). The second stage
trains on crops of these pairs and of untouched photos. Both stages resume where they stopped.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from photovax.adversary.purify.denoiser import network
from photovax.attack.presets import PRESETS
from photovax.attack.recipe import Recipe
from photovax.immunizer import Immunizer
from photovax.learning.checkpoints import read_checkpoint, write_checkpoint, write_report
from photovax.metrics.distortion import image_psnr
from photovax.pictures.photo import read_photo
from training.photos import MIDDLE, centre_crops, photo_files, photo_folder
from training.u_net import UNet

SHAPES: dict[str, Callable[[], nn.Module]] = {"dilated": network, "u-net": UNet}
"""Networks by name; the first is what ships."""

HELD_OUT = 12  # one pair in twelve is used only for validation
CROP = 64


def recipes() -> list[Recipe]:
    """Recipes that make the pairs in turn, with different objectives and budgets."""
    fast, demo = PRESETS["fast"], PRESETS["photoguard-demo"]
    # Fewer, longer steps, which come close to the published recipe at a quarter of its cost.
    short = replace(demo, steps=48, step_size=demo.radius / 3, schedule="cosine")
    return [fast.with_levels(8), fast.with_levels(16), short, fast.with_levels(12)]


def make_pairs(
    folder: Path, count: int, chosen: list[Recipe], networks: Sequence[Path] = ()
) -> list[tuple[Path, Path]]:
    """Files of originals and photos immunized by recipes in turn, created if they do not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    files = photo_files(photo_folder("train"))
    immunizer, pairs = Immunizer(networks=networks), []
    for index, file in enumerate(files[:: max(1, len(files) // count)][:count]):
        clean, immunized = (folder / f"{index:04}.{kind}.png" for kind in ("clean", "immunized"))
        if not immunized.exists():
            Image.open(file).convert("RGB").save(clean)
            recipe = replace(chosen[index % len(chosen)], seed=index)
            result = immunizer.immunize(read_photo(clean), recipe)
            immunizer.save(result, immunized)
        pairs.append((clean, immunized))
    return pairs


def load(pairs: list[tuple[Path, Path]]) -> list[Tensor]:
    """Pairs as uint8 tensors (2, 3, H, W), the original first."""
    stacked = (np.stack([np.array(Image.open(file)) for file in pair]) for pair in pairs)
    return [torch.from_numpy(planes).permute(0, 3, 1, 2).contiguous() for planes in stacked]


def crops(pairs: list[Tensor], count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Clean and changed crops (count, 3, side, side) in [0, 1]; one in ten is not changed."""
    found = []
    for _ in range(count):
        pair = pairs[int(random.integers(len(pairs)))]
        top, left = (int(random.integers(side - CROP)) for side in pair.shape[-2:])
        crop = pair[..., top : top + CROP, left : left + CROP]
        crop = crop[[0, 0]] if random.random() < 0.1 else crop
        crop = crop.flip(-1) if random.random() < 0.5 else crop
        found.append(crop.transpose(-1, -2) if random.random() < 0.5 else crop)
    clean, changed = torch.stack(found).float().div(255).unbind(1)
    return clean, changed


def main() -> None:
    """Make pairs, train, and write the weights in half precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of pairs, checkpoint, curve and result")
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument(
        "--recipe", action="append", help="preset that makes pairs, instead of the usual ones"
    )
    parser.add_argument(
        "--network", action="append", type=Path, default=[], help="perturbation network they use"
    )
    parser.add_argument("--shape", choices=SHAPES, default="dilated")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    chosen = [PRESETS[name] for name in options.recipe] if options.recipe else recipes()
    pairs = make_pairs(options.out / "pairs", options.pairs, chosen, options.network)
    kept = load([pair for index, pair in enumerate(pairs) if index % HELD_OUT])
    # Both pictures of a pair as one with six channels, to crop them equally.
    held_out = centre_crops([pair.flatten(0, 1) for pair in load(pairs[::HELD_OUT])], MIDDLE)
    model, random = SHAPES[options.shape](), np.random.default_rng(options.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step, seconds = 0, 0.0
    if (state := read_checkpoint(options.out)) is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        random.bit_generator.state = state["random"]
        step, seconds = state["counts"]
    while step < options.steps:
        began = time.monotonic()
        clean, changed = crops(kept, options.batch, random)
        loss = (changed - model(changed) - clean).square().mean()
        rate = 0.5 * (1 + math.cos(math.pi * step / options.steps))
        optimiser.param_groups[0]["lr"] = 1e-5 + 1e-3 * rate
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        step += 1
        seconds += time.monotonic() - began
        if step % 250 == 0 or step == options.steps:
            with torch.no_grad():
                clean, changed = held_out.chunk(2, dim=1)
                line: dict[str, Any] = {
                    "step": step,
                    "minutes": round(seconds / 60, 1),
                    "loss": round(loss.item(), 6),
                    "immunized": round(image_psnr(changed, clean).mean().item(), 2),
                    "denoised": round(
                        image_psnr((changed - model(changed)).clamp(0, 1), clean).mean().item(), 2
                    ),
                    "clean_denoised": round(
                        image_psnr((clean - model(clean)).clamp(0, 1), clean).mean().item(), 2
                    ),
                }
            write_report(line, options.out)
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "random": random.bit_generator.state,
                "counts": (step, seconds),
            }
            write_checkpoint(state, options.out)
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, options.out / "denoiser.safetensors")


if __name__ == "__main__":
    main()
