"""Captions derived from the contents of a picture, and recoloured regions to caption."""

from __future__ import annotations

import bisect

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.evaluation.colours import COLOURS, name_colour
from photovax.evaluation.true_edits import TRUE_EDITS, TrueEdit

# First number of each range of WordNet ids, which ImageNet's file names contain, and its word.
# None marks a range whose classes have no common everyday word.
_CLASSES: tuple[tuple[int, str | None], ...] = (
    (1440764, "fish"),
    (1514668, "bird"),
    (1629819, "frog"),
    (1664065, "turtle"),
    (1669191, None),
    (1675722, "lizard"),
    (1728572, "snake"),
    (1768244, None),
    (1773157, "spider"),
    (1776313, None),
    (1795545, "bird"),
    (1871265, None),
    (2002556, "bird"),
    (2066245, None),
    (2085620, "dog"),
    (2114367, "wild dog"),
    (2123045, "cat"),
    (2128385, "big cat"),
    (2132136, "bear"),
    (2137549, None),
    (2165105, "insect"),
    (2317335, None),
    (2480495, "monkey"),
    (2504013, "elephant"),
    (2509815, None),
    (2514041, "fish"),
    (2666196, None),
    (7565083, "food"),
    (9193705, "landscape"),
    (9835506, "person"),
    (11879895, "plant"),
    (12985857, "mushroom"),
    (13044778, None),
)
_STARTS = [start for start, _ in _CLASSES]


def class_word(name: str) -> str | None:
    """An everyday word for the subject of a photo whose file name contains an ImageNet id."""
    if not name.startswith("in_n"):
        return None
    number = int(name.removeprefix("in_n").split(".")[0].split("_")[0])
    return _CLASSES[bisect.bisect_right(_STARTS, number) - 1][1]


def region_caption(
    picture: Tensor, mask: Tensor, random: np.random.Generator, word: str | None = None
) -> str:
    """A short caption of a region.

    Args:
        picture: Picture (3, H, W) in [0, 1].
        mask: Mask (1, H, W), one inside the region.
        random: Source of the choice between possible captions.
        word: Word for the subject of the photo.
    """
    inside = mask[0] > 0.5
    pixels = picture[:, inside].T
    mean = pixels.mean(0)
    colour = name_colour(mean)
    luma = picture.mean(0, keepdim=True)
    detail = (luma - F.avg_pool2d(luma[None], 7, 1, 3)[0]).abs()[0][inside].mean().item()
    middle = torch.nonzero(inside).float().mean(0)[0].item() / picture.shape[1]
    stuff = _stuff(colour, mean, detail, middle)
    texture = "smooth" if detail < 0.012 else "textured" if detail > 0.05 else ""
    shade = "dark" if mean.mean() < 0.22 else "light" if mean.mean() > 0.72 else ""
    if colour in ("black", "white", "grey"):
        shade = ""
    options = [colour, colour, f"something {colour}", f"{colour} background", f"make it {colour}"]
    if shade:
        options += [f"{shade} {colour}", f"{shade} {colour} background"]
    if texture:
        options += [f"{texture} {colour}", f"{texture} {colour} surface"]
    if stuff:
        options += [f"{colour} {stuff}", stuff, f"{stuff} in the background"]
    if word and inside.float().mean() > 0.5:
        options += [word, f"a {word} and {colour}", f"a photo of a {word}"]
    return str(random.choice(options))


def picture_caption(
    picture: Tensor, random: np.random.Generator, word: str | None, edit: TrueEdit | None
) -> str:
    """A caption of a whole picture, including the look that an edit gave it."""
    if edit is not None:
        look = str(random.choice(edit.looks))
        if random.random() < 0.3 and word:
            return f"{look} of a {word}"
        return look if random.random() < 0.85 else str(random.choice(edit.orders))
    whole = torch.ones_like(picture[:1])
    caption = region_caption(picture, whole, random, word)
    return caption if random.random() < 0.7 else f"a photo, {caption}"


def recoloured(picture: Tensor, mask: Tensor, random: np.random.Generator) -> Tensor:
    """The picture with the region in another colour and its brightness pattern softened.

    Natural regions are mostly grey, brown, green and blue, while prompts name all colours.
    """
    name = str(random.choice(list(COLOURS)))
    example = COLOURS[name][random.integers(len(COLOURS[name]))]
    colour = torch.tensor(example).view(3, 1, 1) / 255
    luma = picture.mean(0, keepdim=True)
    average = (luma * mask).sum() / mask.sum()
    contrast = float(random.uniform(0.2, 0.8))
    painted = (colour + contrast * (luma - average)).clamp(0, 1)
    return torch.where(mask > 0.5, painted, picture)


def instruction(edit: TrueEdit, random: np.random.Generator) -> str:
    """A random wording of an instruction."""
    if random.random() < 0.75:
        wording = str(random.choice(edit.orders))
    else:
        lead = random.choice(("turn it into", "make it", "change it to", "give me", "show it as"))
        wording = f"{lead} {random.choice(edit.looks)}"
    words = wording.split()
    if "it" in words and random.random() < 0.25:
        others = ("the photo", "the picture", "this", "the image")
        words[words.index("it")] = str(random.choice(others))
        wording = " ".join(words)
    if random.random() < 0.1:
        wording = f"please {wording}" if random.random() < 0.5 else f"{wording} please"
    return wording


def _stuff(colour: str, mean: Tensor, detail: float, middle: float) -> str | None:
    """A word for the material that colour, texture and height in the picture suggest."""
    brightness = mean.mean().item()
    if middle < 0.45 and detail < 0.012 and (colour == "blue" or brightness > 0.6):
        return "sky"
    if colour == "green":
        return "leaves" if detail > 0.03 else "grass"
    if colour in ("blue", "turquoise") and middle > 0.45:
        return "water"
    if colour == "brown":
        return "sand" if brightness > 0.5 and detail < 0.03 else "earth"
    if colour == "white" and middle > 0.5:
        return "snow"
    if colour == "grey" and detail > 0.03:
        return "rocks"
    return None


def corpus(count: int, seed: int) -> list[str]:
    """Sentences of all kinds, for building the vocabulary."""
    random = np.random.default_rng(seed)
    edits = list(TRUE_EDITS.values())
    words = sorted({word for _, word in _CLASSES if word})
    sentences = []
    for index in range(count):
        edit = edits[index % len(edits)]
        colour = torch.tensor(random.uniform(0, 1, 3), dtype=torch.float32)
        noise = torch.tensor(random.normal(0, random.uniform(0, 0.1), (3, 32, 32))).float()
        picture = (colour.view(3, 1, 1) + noise).clamp(0, 1)
        mask = torch.zeros(1, 32, 32)
        top = random.integers(24)
        mask[:, top : top + 8] = 1
        word = str(random.choice(words))
        sentences += [
            instruction(edit, random),
            picture_caption(picture, random, word, edit if index % 2 else None),
            region_caption(picture, mask, random, word),
        ]
    return sentences
