"""``photovax sign``: add a C2PA manifest to an immunized photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photovax.cli import options
from photovax.errors import UsageError

_ORIGINAL = {
    "": "the original has no Content Credentials; it is named as what was edited",
    "Invalid": "the Content Credentials of the original do not fit it, which readers will show",
    **dict.fromkeys(["Trusted", "Valid"], "the Content Credentials of the original go on"),
}


def command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Path of the copy, of the same file type. [default: PHOTO with .signed before its "
            "suffix]",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="The photo's certificate, to be embedded.", show_default=False),
    ] = None,
    original: Annotated[
        Path | None,
        typer.Option(
            help="The photo before its immunization, whose Content Credentials go on.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Private key in PEM. [default: a new untrusted key for this photo]",
            show_default=False,
        ),
    ] = None,
    chain: Annotated[
        Path | None,
        typer.Option(
            help="X.509 certificates of the key in PEM, its own first.", show_default=False
        ),
    ] = None,
    max_pixels: options.MaxPixels = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a copy of an immunized photo with a signed C2PA manifest.

    The manifest says that the photo was edited, what its XMP says on AI, and names its record or
    certificate. With --original, it continues the Content Credentials of a camera or another tool,
    but for previews of the photo. It shows everyone that the photo is immunized. Editors need not
    respect it.
    """
    from photovax.extras import extra_installed
    from photovax.pictures.photo import check_regular
    from photovax.pictures.pillow import MAX_PIXELS, printable_name

    with extra_installed("c2pa"):
        from photovax.certificates.credential import read_credential, self_made
        from photovax.certificates.manifest import sign_photo
    if (key is None) != (chain is None):
        raise UsageError(
            "a signing key and its certificates go together, got only one of them",
            hint="give both --key and --chain, or none",
        )
    credential = self_made() if key is None or chain is None else read_credential(key, chain)
    text = None
    if certificate is not None:
        with extra_installed("certificates"):
            from photovax.certificates.read import read_certificate
        text = read_certificate(certificate)
    check_regular(photo, printable_name(photo))
    target = output or photo.with_suffix(f".signed{photo.suffix}")
    signed = sign_photo(
        photo,
        target,
        credential,
        certificate=text,
        original=original,
        overwrite=overwrite,
        max_pixels=max_pixels or MAX_PIXELS,
    )
    typer.echo(f"{signed.path}: {', '.join(signed.assertions)}")
    if signed.original is not None:
        typer.echo(_ORIGINAL[signed.original])
    if not signed.trusted:
        typer.echo("readers of C2PA will show its signer as untrusted")
