"""``photovax certificate``: what is certified of a photo, and whether that holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.cli import options
from photovax.extras import extra_installed
from photovax.service.settings import Settings

if TYPE_CHECKING:
    from photovax.certificates.register import Gap
    from photovax.certificates.verification import Verification

app = typer.Typer(
    help="Signed statements on what was measured of an immunized photo.", no_args_is_help=True
)

Data = Annotated[
    Path,
    typer.Option(
        "--data", help="The provider's folder: keys, register, jobs.", envvar="PHOTOVAX_DATA"
    ),
]
DATA = Path("photovax-data")
STALE = 10


def certificate_of(photo: Path) -> Path:
    """Where a photo's certificate goes unless it is said."""
    return photo.with_name(f"{photo.name}.certificate.json")


@app.command("issue")
def issue(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    original: Annotated[
        Path, typer.Option(help="The photo before it was immunized.", show_default=False)
    ],
    recipe: Annotated[str, typer.Option(help="The recipe that made it.")] = DEFAULT,
    total: Annotated[
        float | None,
        typer.Option(
            help="All that renewals may ever change, in levels. [default: the recipe's budget]",
            show_default=False,
        ),
    ] = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="It was made with --mask: only a part could change.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="[default: PHOTO.certificate.json]"),
    ] = None,
    data: Data = DATA,
    weights: options.Weights = None,
    device: options.Device = "auto",
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Measure a photo on the models of the register and sign what was found."""
    with extra_installed("certificates"):
        from photovax.certificates.issuing import Issuer
        from photovax.certificates.keys import KeyRing
    from photovax.certificates.register import Register
    from photovax.pictures.atomic import write_text
    from photovax.pictures.photo import read_photo

    models = Register(Settings(data).register).supported()
    issuer = Issuer(models, KeyRing(Settings(data).keys), weights=weights, device=device)
    chosen = load_recipe(recipe)
    text = issuer.certify(photo, read_photo(original), chosen, total=total, masked=masked)
    target = output or certificate_of(photo)
    write_text(text, target, overwrite=overwrite)
    typer.echo(f"{target}: signed with key {issuer.ring.current}")


@app.command("verify")
def verify_file(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", show_default=False)],
    photo: Annotated[
        Path | None, typer.Option(help="The photo it is said to be about.", show_default=False)
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="The issuer's published keys.json. [default: those of --data]", show_default=False
        ),
    ] = None,
    data: Data = DATA,
    as_json: options.AsJson = False,
) -> None:
    """Verify a certificate, and say what it lacks against today's register, if there is one.

    A photo with its certificate in a C2PA manifest does for CERTIFICATE and --photo in one.

    Exit code 0: it holds, 10: it holds but is stale, 9: it does not hold.
    """
    with extra_installed("certificates"):
        from photovax.certificates.keys import read_keys
        from photovax.certificates.read import read_certificate
        from photovax.certificates.verification import Seen, verify
    from photovax.certificates.container import holds_manifest, media_type
    from photovax.certificates.register import Register, gaps
    from photovax.pictures.photo import read_photo

    text = read_certificate(certificate)
    if photo is None and media_type(certificate) is not None:
        photo = certificate
    seen = None if photo is None else Seen.of(photo, read_photo(photo))
    found = verify(text, read_keys(keys or Settings(data).keys), photo=seen)
    register = Settings(data).register
    lacks: tuple[Gap, ...] = ()
    if register.exists():
        lacks = gaps(found.certificate, Register(register).supported())
    manifest = photo is not None and holds_manifest(photo)
    if as_json:
        typer.echo(json.dumps(_data(found, lacks) | {"c2pa_manifest": manifest}, indent=1))
    else:
        for line in _lines(found, lacks):
            typer.echo(line)
        if manifest:
            typer.echo("  the certificate says nothing of the C2PA manifest in the photo")
    if not found.valid:
        from photovax.errors import CertificateError

        sys.exit(CertificateError.exit_code)
    sys.exit(STALE if lacks else 0)


@app.command("rotate")
def rotate(data: Data = DATA) -> None:
    """Sign with a new key from now on; certificates of the old ones stay valid."""
    with extra_installed("certificates"):
        from photovax.certificates.keys import KeyRing

    ring = KeyRing(Settings(data).keys)
    typer.echo(f"{ring.rotate()} signs now; publish {ring.folder / 'keys.json'}")


def _data(found: Verification, lacks: tuple[Gap, ...]) -> dict[str, object]:
    return {
        "valid": found.valid,
        "reasons": found.reasons,
        "photo": found.photo,
        "lacking": {gap.model.name: gap.reason for gap in lacks},
        "certificate": found.certificate.model_dump(),
    }


def _lines(found: Verification, lacks: tuple[Gap, ...]) -> list[str]:
    says = found.certificate
    lines = [f"does not hold: {reason}" for reason in found.reasons] or ["it holds"]
    lines.append(f"  issued   {says.issued}, key {says.key}, serial {says.serial}")
    lines.append(
        f"  changed  {says.budget.used:g} of {says.budget.total:g} {says.budget.unit} "
        f"({says.budget.norm})"
    )
    lines += [
        f"  {model.name}: {model.verdict}, latent moved by {model.effect.shift:.2f}, by noise of "
        f"the same size {model.floor.shift:.2f} ({model.measured})"
        for model in says.models
    ]
    lines += [f"  not covered: {limit}" for limit in says.not_covered]
    lines += [f"stale: {gap.model.name} {gap.model.version}: {gap.reason}" for gap in lacks]
    return lines
