"""``photovax renew``: immunize a photo against the models of today's register."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.cli import options
from photovax.cli.certificate import DATA, Data, certificate_of
from photovax.cli.progress import bars
from photovax.extras import extra_installed
from photovax.service.settings import Settings


def command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    certificate: Annotated[
        Path, typer.Option(help="Certificate of the photo.", show_default=False)
    ],
    original: Annotated[
        Path | None,
        typer.Option(
            help="The photo before it was ever immunized, if available.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="[default: NAME.renewed.png beside PHOTO]", show_default=False
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Recipe of the renewal; its budget is that of the certificate.")
    ] = DEFAULT,
    budget: Annotated[
        float | None,
        options.number(
            "--budget",
            options.TOTALS,
            help="Largest change of this renewal, in the unit of the certificate's budget. "
            "[default: all that is left of that]",
            show_default=False,
        ),
    ] = None,
    data: Data = DATA,
    mask: options.MaskFile = None,
    edit_region: options.EditRegion = False,
    weights: options.Weights = None,
    network: options.Networks = None,
    device: options.Device = "auto",
    max_pixels: options.MaxPixels = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Immunize a photo against models that its certificate does not cover, within its budget.

    With the original, that is immunized again. Without it, the photo is changed further, within
    the rest of the budget. The new certificate is saved beside the result.
    """
    with extra_installed("certificates"):
        from photovax.certificates.issuing import Issuer
        from photovax.certificates.keys import KeyRing
        from photovax.certificates.read import read_certificate
        from photovax.certificates.verification import Seen
    from photovax.certificates.register import Register
    from photovax.certificates.renewal import Renewer, Wish
    from photovax.pictures.atomic import check_free, write_text
    from photovax.pictures.masks import load_mask
    from photovax.pictures.outputs import Destination
    from photovax.pictures.photo import check_regular, read_photo
    from photovax.pictures.pillow import MAX_PIXELS, printable_name

    networks = options.networks(network)
    check_regular(photo, printable_name(photo))
    target = output or photo.with_name(f"{photo.stem}.renewed.png")
    destination = Destination(target, overwrite, source=photo)
    if original is not None:
        destination.check_apart(original)
    destination.check()
    certified = certificate_of(target)
    check_free(certified, overwrite=overwrite)
    ring, cap = KeyRing(Settings(data).keys), max_pixels or MAX_PIXELS
    renewer = Renewer(
        ring=ring,
        models=Register(Settings(data).register).supported(),
        recipe=load_recipe(recipe),
        issuer=lambda models: Issuer(
            models, ring, weights=weights, networks=networks, device=device
        ),
    )
    read = read_photo(photo, max_pixels=cap)
    with bars() as drawn:
        done = renewer.renew(
            Wish(
                photo=read,
                seen=Seen.of(photo, read),
                certificate=read_certificate(certificate),
                output=destination,
                original=None if original is None else read_photo(original, max_pixels=cap),
                mask=None if mask is None else load_mask(mask, read, edit_region=edit_region),
                most=budget,
                callback=lambda step: drawn.step(photo, step),
            )
        )
    if done is None:
        typer.echo("nothing to do: the certificate covers every model that is supported today")
        return
    write_text(done.certificate, certified, overwrite=overwrite)
    for gap in done.gaps:
        typer.echo(f"was not covered: {gap.model.name} {gap.model.version}: {gap.reason}")
    typer.echo(f"{target}: made from {done.basis}, within the same total budget")
    typer.echo(f"{certified}: its certificate")
