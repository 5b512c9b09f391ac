"""``photovax sign``: an immunized photo with a C2PA manifest in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photovax.errors import UsageError


def command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Of the photo's type. [default: PHOTO with .signed before its suffix]",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="The photo's certificate, to be put in.", show_default=False),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Private key in PEM. [default: one made for this photo, which nobody trusts]",
            show_default=False,
        ),
    ] = None,
    chain: Annotated[
        Path | None,
        typer.Option(
            help="X.509 certificates of the key in PEM, its own first.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Put a signed C2PA manifest into a copy of an immunized photo.

    It says that the photo was edited, what its XMP says about AI, and by which record or
    certificate. It tells everyone that the photo is immunized, and makes no editor obey.
    """
    from photovax.extras import extra_installed

    with extra_installed("c2pa"):
        from photovax.certificates.credential import read_credential, self_made
        from photovax.certificates.manifest import sign_photo
    if (key is None) != (chain is None):
        raise UsageError("--key and --chain go together: give both, or none")
    credential = self_made() if key is None or chain is None else read_credential(key, chain)
    text = None
    if certificate is not None:
        with extra_installed("certificates"):
            from photovax.certificates.read import read_certificate
        text = read_certificate(certificate)
    target = output or photo.with_suffix(f".signed{photo.suffix}")
    signed = sign_photo(photo, target, credential, certificate=text, overwrite=overwrite)
    typer.echo(f"{signed.path}: {', '.join(signed.assertions)}")
    if not signed.trusted:
        typer.echo("readers of C2PA will call its signer untrusted")
