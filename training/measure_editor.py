"""Measure an editor: ``python -m training.measure_editor FOLDER [--photos 60] [--part ...]``.

Everything is measured on 256 x 256 centre crops of held-out photos. ``instruct``: PSNR to the exact
edit, compared with that of the autoencoder and of the unchanged photo, also for other wordings.
``inpaint``: whether regions get the colour that the prompt names, and the step across the border
of the mask. ``img2img``: similarity to the photo and to the request.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from photovax.evaluation.colours import COLOURS, name_colour
from photovax.evaluation.true_edits import TRUE_EDITS
from photovax.metrics.distortion import image_psnr
from photovax.models.catalog.places import model_folder
from photovax.models.contracts import Autoencoder
from photovax.models.edit import Edit
from photovax.models.load import usual_edit
from photovax.models.unet.editor import LatentEditor
from photovax.tensors import tensor
from training.photos import MIDDLE, middle_square, photo_files, photo_folder

BATCH = 10


def similarity(made: Tensor, photos: Tensor) -> float:
    """Mean SSIM of two batches of images in [0, 1]."""
    value = structural_similarity_index_measure(made, photos, data_range=1.0)
    return float(value if isinstance(value, Tensor) else value[0])


def reconstructed(model: Autoencoder, images: Tensor) -> Tensor:
    """Reconstructions of many images by an autoencoder, a few at a time."""
    with torch.no_grad():
        return torch.cat([model.decode(model.encode(part)) for part in images.split(BATCH)])


def edited(
    editor: LatentEditor, photos: Tensor, edit: Edit, seed: int, repaint: Tensor | None = None
) -> Tensor:
    """Edits of many photos, a few at a time."""
    with torch.no_grad():
        return torch.cat(
            [
                editor.edit(
                    photos[at : at + BATCH],
                    edit,
                    Generator().manual_seed(seed),
                    repaint=None if repaint is None else repaint[at : at + BATCH],
                ).clamp(0, 1)
                for at in range(0, len(photos), BATCH)
            ]
        )


def measure_instruct(editor: LatentEditor, photos: Tensor, edit: Edit, few: int) -> None:
    """Print a row for each exact edit, and the means of the rows."""
    print(f"instruct, {len(photos)} photos (other wordings: {few}), {edit}")
    rows = []
    for true in TRUE_EDITS.values():
        wanted = true.filter(photos)
        decoded = reconstructed(editor.autoencoder, wanted)
        made = image_psnr(edited(editor, photos, edit.asking(true.orders[0]), 1), wanted)
        others = [
            image_psnr(edited(editor, photos[:few], edit.asking(words), 1), wanted[:few])
            .mean()
            .item()
            - made[:few].mean().item()
            for words in (true.orders[1], true.unseen[0])
        ]
        rows.append(
            (
                made.mean().item(),
                image_psnr(decoded, wanted).mean().item(),
                image_psnr(photos, wanted).mean().item(),
                *others,
            )
        )
        print(f"  {true.name:<20}" + " ".join(f"{value:7.2f}" for value in rows[-1]), flush=True)
    means = np.mean(rows, axis=0)
    names = ("edit", "ceiling", "unchanged", "another wording", "unseen wording")
    print("  mean: " + ", ".join(f"{n} {v:.2f}" for n, v in zip(names, means, strict=True)))


def measure_inpaint(
    editor: LatentEditor, photos: Tensor, subjects: Tensor, edit: Edit, wordings: tuple[str, ...]
) -> None:
    """Print the share of right colours in boxes outside the subject, and the border's step."""
    random = np.random.default_rng(5)
    boxes = torch.stack([_box(subject[0] > 0.5, random) for subject in subjects])
    right: dict[str, list[bool]] = {}
    jumps, before = [], []
    for index, colour in enumerate(COLOURS):
        words = wordings[index % len(wordings)].format(colour)
        made = edited(editor, photos, edit.asking(words), 1, boxes)
        for picture, box in zip(made, boxes, strict=True):
            mean = picture[:, box[0]].mean(1)
            right.setdefault(colour, []).append(name_colour(mean) == colour)
        jumps.append(_jump(made, boxes))
        before.append(_jump(photos, boxes))
    plain = edited(editor, photos, edit.asking(""), 1, boxes)
    print(f"inpaint, {len(photos)} photos, one box each, {edit}")
    for colour, hits in right.items():
        print(f"  {colour:<20} {np.mean(hits):.2f}")
    print(f"  right colour: {np.mean([hit for hits in right.values() for hit in hits]):.3f}")
    print(
        f"  jump across the border, of the original's: no prompt "
        f"{_jump(plain, boxes) / _jump(photos, boxes):.2f}, colour prompts "
        f"{np.mean(jumps) / np.mean(before):.2f}",
        flush=True,
    )


def _box(subject: Tensor, random: np.random.Generator) -> Tensor:
    """A random box (1, H, W) of 80 to 128 pixels a side that covers little of the subject."""
    best, least = torch.zeros_like(subject), 2.0
    for _ in range(200):
        height, width = random.integers(80, 129, 2)
        top, left = random.integers(8, MIDDLE - 8 - height), random.integers(8, MIDDLE - 8 - width)
        box = torch.zeros_like(subject)
        box[top : top + height, left : left + width] = True
        covered = (subject & box).sum().item() / box.sum().item()
        if covered < least:
            best, least = box, covered
    return best[None]


def _jump(pictures: Tensor, masks: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels across the border of the mask."""
    total, count = 0.0, 0
    for dim in (-1, -2):
        length = pictures.shape[dim] - 1
        steps = (pictures.narrow(dim, 1, length) - pictures.narrow(dim, 0, length)).abs().mean(1)
        crossing = (masks.narrow(dim, 1, length) ^ masks.narrow(dim, 0, length))[:, 0]
        total += steps[crossing].sum().item()
        count += int(crossing.sum())
    return total / count


def measure_img2img(editor: LatentEditor, photos: Tensor, edit: Edit) -> None:
    """Print the similarity of edits to the photo and to the request."""
    print(f"img2img, {len(photos)} photos, {edit}")
    plain = edited(editor, photos, edit.asking("a photo"), 1)
    print(f"  'a photo': SSIM {similarity(plain, photos):.3f}")
    rows = []
    for true in TRUE_EDITS.values():
        wanted = true.filter(photos)
        made = edited(editor, photos, edit.asking(true.looks[0]), 1)
        rows.append(
            (
                similarity(made, photos),
                image_psnr(made, wanted).mean().item(),
                image_psnr(plain, wanted).mean().item(),
                (made - plain).abs().mean().item(),
            )
        )
        print(f"  {true.looks[0]:<36}" + " ".join(f"{v:7.3f}" for v in rows[-1]), flush=True)
    means = np.mean(rows, axis=0)
    print(
        f"  mean: SSIM to the photo {means[0]:.3f}, PSNR to what was asked {means[1]:.2f} "
        f"(without the prompt {means[2]:.2f}), mean change by the prompt {means[3]:.3f}"
    )


def main() -> None:
    """Measure the chosen ways of editing, and the duration of an edit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--few", type=int, default=20, help="photos for other wordings")
    parser.add_argument("--split", default="eval")
    parser.add_argument("--part", nargs="+", default=["instruct", "inpaint", "img2img"])
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--image-guidance", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--wording", nargs="+", default=["{}", "something {}", "{} background"])
    options = parser.parse_args()
    editor = LatentEditor.from_folder(
        model_folder(options.model), name=options.model, device=torch.device("cpu")
    )
    files = photo_files(photo_folder(options.split))
    files = files[:: max(1, len(files) // options.photos)][: options.photos]
    photos = torch.cat(
        [tensor(np.array(middle_square(Image.open(file).convert("RGB")))) for file in files]
    )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.model}")

    def asked(mode: str) -> Edit:
        usual = vars(usual_edit("embedded", mode))
        given = {name: getattr(options, name) for name in ("guidance", "image_guidance", "steps")}
        return Edit(**{**usual, **{k: v for k, v in given.items() if v is not None}})

    for mode in options.part:
        began = time.perf_counter()
        edited(editor, photos[:1], asked(mode), 1, torch.ones(1, 1, MIDDLE, MIDDLE) > 0)
        print(f"one {mode} edit: {time.perf_counter() - began:.2f} s")
        if mode == "instruct":
            measure_instruct(editor, photos, asked(mode), min(options.few, len(photos)))
        elif mode == "inpaint":
            masks = [file.with_suffix(".mask.png") for file in files]
            subjects = torch.cat(
                [
                    tensor(np.array(middle_square(Image.open(mask).convert("L")))[..., None])
                    for mask in masks
                ]
            )
            measure_inpaint(editor, photos, subjects, asked(mode), tuple(options.wording))
        else:
            measure_img2img(editor, photos, asked(mode))


if __name__ == "__main__":
    main()
