"""``photovax edit``: an ordinary edit of a photo, as an adversary makes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from photovax.cli import options
from photovax.errors import UsageError
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.edit import GUIDANCES, STEPS, STRENGTHS
from photovax.models.load import usual_edit
from photovax.ranges import SEEDS


def command(
    photo: Annotated[
        Path, typer.Argument(metavar="PHOTO", help="The photo to edit.", show_default=False)
    ],
    prompt: Annotated[str, typer.Option(help="The request to the editor.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="File of the result (.png, .tif, .webp, .jpg, .avif, .heic).",
            show_default=False,
        ),
    ],
    mode: Annotated[
        str | None,
        typer.Option(
            help="Way of editing: instruct, inpaint or img2img. [default: inpaint with a mask, "
            "otherwise instruct]",
            show_default=False,
        ),
    ] = None,
    mask: options.MaskFile = None,
    edit_region: options.EditRegion = False,
    negative_prompt: Annotated[
        str, typer.Option(help="Description of what the result should not show.")
    ] = "",
    strength: Annotated[
        float | None,
        options.number(
            "--strength",
            STRENGTHS,
            help="Strength of img2img and inpaint: the share of the denoising schedule, up to 1.",
            show_default=False,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        options.number(
            "--guidance",
            GUIDANCES,
            help="Guidance scale of the prompt; 1 means no guidance.",
            show_default=False,
        ),
    ] = None,
    image_guidance: Annotated[
        float | None,
        options.number(
            "--image-guidance",
            GUIDANCES,
            help="Guidance scale of the photo, for instruct.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        options.number("--steps", STEPS, help="Number of denoising steps.", show_default=False),
    ] = None,
    seed: Annotated[int, options.number("--seed", SEEDS, help="Seed of the noise.")] = 0,
    model: Annotated[
        str, typer.Option(help="Catalogue name or diffusers pipeline folder.")
    ] = DEFAULT_MODEL,
    size: options.Size = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    max_pixels: options.MaxPixels = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Edit a photo as an adversary would, with the model's ordinary pipeline.

    Settings that are not given are the usual ones of the model. The result has the size at which
    the editor is fed the photo.
    """
    chosen = mode or ("instruct" if mask is None else "inpaint")
    if mask is not None and chosen != "inpaint":
        raise UsageError(f"--mask is for inpainting, not for {chosen}: leave one of them out")
    usual = usual_edit(model, chosen)
    if strength is not None and chosen == "instruct":
        raise UsageError("--strength is for img2img and inpaint, not for instruct")
    if image_guidance is not None and chosen != "instruct":
        raise UsageError(f"--image-guidance is for instruct, not for {chosen}")
    given: dict[str, Any] = {
        "strength": strength,
        "guidance": guidance,
        "image_guidance": image_guidance,
        "steps": steps,
    }
    edit = replace(
        usual,
        prompt=prompt,
        negative_prompt=negative_prompt,
        **{name: value for name, value in given.items() if value is not None},
    )
    from photovax.adversary.edits import Adversary
    from photovax.pictures.masks import read_mask
    from photovax.pictures.outputs import Destination
    from photovax.pictures.photo import Metadata, Photo, read_photo
    from photovax.pictures.pillow import MAX_PIXELS
    from photovax.pictures.write import write_photo

    destination = Destination(output, overwrite, source=photo)
    if mask is not None:
        destination.check_apart(mask)
    destination.check(recorded=False)
    source = read_photo(photo, max_pixels=max_pixels or MAX_PIXELS)
    repaint = None if mask is None else ~read_mask(mask, source, edit_region=edit_region)
    adversary = Adversary(model, device=device, weights=weights)
    made = adversary.edit(source.visible(), edit, seed=seed, repaint=repaint, size=size)
    write_photo(Photo(made, None, Metadata(), "PNG", ()), destination)
    typer.echo(
        f"{output}: {made.shape[1]} x {made.shape[0]} pixels, {edit.mode} {edit.prompt!r}, "
        f"guidance {edit.guidance:g}, {edit.steps} steps, seed {seed}"
    )
