"""``photovax certificate``: issue and verify certificates, rotate keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import DEFAULT, load_recipe
from photovax.cli import options
from photovax.errors import UsageError
from photovax.extras import extra_installed
from photovax.service.settings import Settings

if TYPE_CHECKING:
    from photovax.certificates.document import Certificate
    from photovax.certificates.register import Gap
    from photovax.certificates.verification import Verification

app = typer.Typer(
    help="Signed statements on the measured effect of an immunized photo.", no_args_is_help=True
)

Data = Annotated[
    Path,
    typer.Option(
        "--data", help="Folder of the provider's keys, register and jobs.", envvar="PHOTOVAX_DATA"
    ),
]
DATA = Path("photovax-data")
STALE = 10


def certificate_of(photo: Path) -> Path:
    """Default path of a photo's certificate."""
    return photo.with_name(f"{photo.name}.certificate.json")


@app.command("issue")
def issue(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    original: Annotated[
        Path, typer.Option(help="The photo before it was immunized.", show_default=False)
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"Recipe of the immunization. [default: that of the photo's record, or {DEFAULT}]",
            show_default=False,
        ),
    ] = None,
    visibility: Annotated[
        str | None,
        options.word(
            "--visibility",
            VISIBILITY,
            help="Its visibility. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    total: Annotated[
        float | None,
        options.number(
            "--total",
            options.TOTALS,
            help="Largest change by all renewals together, in the unit of the recipe's budget: "
            "levels, or a length. [default: the recipe's budget]",
            show_default=False,
        ),
    ] = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="The photo was immunized with --mask.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="[default: PHOTO.certificate.json]"),
    ] = None,
    data: Data = DATA,
    weights: options.Weights = None,
    device: options.Device = "auto",
    max_pixels: options.MaxPixels = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Measure a photo on the models of the register, and sign the result."""
    with extra_installed("certificates"):
        from photovax.certificates.issuing import Issuer, recorded_networks, recorded_recipe
        from photovax.certificates.keys import KeyRing
    from photovax.certificates.document import parse_certificate
    from photovax.certificates.register import Register
    from photovax.pictures.atomic import write_text
    from photovax.pictures.outputs import Destination
    from photovax.pictures.photo import read_photo
    from photovax.pictures.pillow import MAX_PIXELS

    target = output or certificate_of(photo)
    for each in (photo, original):
        Destination(target, overwrite).check_apart(each)
    models = Register(Settings(data).register).supported()
    issuer = Issuer(models, KeyRing(Settings(data).keys), weights=weights, device=device)
    recorded = recorded_recipe(photo)
    chosen = recorded or load_recipe(DEFAULT)
    if recipe is not None:
        chosen = load_recipe(recipe)
    if visibility is not None:
        chosen = chosen.with_visibility(visibility)
    if recorded is not None and chosen.digest() != recorded.digest():
        raise UsageError(
            f"{photo.name}: its record says that it was immunized by another recipe",
            hint="leave out --recipe and --visibility: the recorded recipe is certified",
        )
    text = issuer.certify(
        photo,
        read_photo(original, max_pixels=max_pixels or MAX_PIXELS),
        chosen,
        total=total,
        masked=masked,
        networks=recorded_networks(photo),
    )
    write_text(text, target, overwrite=overwrite)
    typer.echo(f"{target}: signed with key {issuer.ring.current}")
    for line in _effects(parse_certificate(text)[0]):
        typer.echo(line)


@app.command("verify")
def verify_file(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", show_default=False)],
    photo: Annotated[
        Path | None, typer.Option(help="Photo that the certificate is about.", show_default=False)
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="The issuer's published keys.json. [default: that of --data]", show_default=False
        ),
    ] = None,
    data: Data = DATA,
    max_pixels: options.MaxPixels = None,
    as_json: options.AsJson = False,
) -> None:
    """Verify a certificate, and list the models of today's register that it does not cover.

    CERTIFICATE can be a signed photo that holds its certificate; --photo is then not needed.

    Exit code 0: valid, 10: valid but stale, 9: not valid, 2: a file or the keys are missing, so
    that nothing could be verified.
    """
    with extra_installed("certificates"):
        from photovax.certificates.keys import read_keys
        from photovax.certificates.read import read_certificate
        from photovax.certificates.verification import Seen, verify
    from photovax.certificates.container import holds_manifest, media_type
    from photovax.certificates.register import Register, gaps
    from photovax.pictures.photo import read_photo
    from photovax.pictures.pillow import MAX_PIXELS, printable_name

    text = read_certificate(certificate)
    if photo is not None and not photo.exists():
        raise UsageError(f"{printable_name(photo)}: no such file")
    if photo is None and media_type(certificate) is not None:
        photo = certificate
    seen = None
    if photo is not None:
        seen = Seen.of(photo, read_photo(photo, max_pixels=max_pixels or MAX_PIXELS))
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
            typer.echo("  the certificate does not cover the C2PA manifest in the photo")
    if not found.valid:
        from photovax.errors import CertificateError

        sys.exit(CertificateError.exit_code)
    sys.exit(STALE if lacks else 0)


@app.command("rotate")
def rotate(data: Data = DATA) -> None:
    """Replace the signing key. Certificates of old keys stay valid."""
    with extra_installed("certificates"):
        from photovax.certificates.keys import KeyRing

    ring = KeyRing(Settings(data).keys, create=False)
    typer.echo(f"{ring.rotate()} signs now; publish {ring.folder / 'keys.json'}")


def _data(found: Verification, lacks: tuple[Gap, ...]) -> dict[str, object]:
    return {
        "valid": found.valid,
        "reasons": found.reasons,
        "photo": found.photo,
        "lacking": {f"{gap.model.name} {gap.model.version}": gap.reason for gap in lacks},
        "certificate": found.certificate.model_dump(),
    }


def _lines(found: Verification, lacks: tuple[Gap, ...]) -> list[str]:
    from photovax.pictures.pillow import printable_name

    says = found.certificate
    lines = [f"not valid: {reason}" for reason in found.reasons] or ["valid"]
    if not found.valid:
        lines.append("it claims, and nothing of this is verified:")
    lines.append(f"  issued   {says.issued}, key {says.key}, serial {says.serial}")
    lines.append(
        f"  changed  {says.budget.used:g} of {says.budget.total:g} {says.budget.unit} "
        f"({says.budget.norm})"
    )
    lines += _effects(says)
    lines += [f"  not covered: {limit}" for limit in says.not_covered]
    lines += [f"stale: {gap.model.name} {gap.model.version}: {gap.reason}" for gap in lacks]
    # Texts of a certificate could hold sequences with which a terminal erases lines.
    return [printable_name(line) for line in lines]


def _effects(says: Certificate) -> list[str]:
    """The verdict on each model of a certificate."""
    lines = []
    for model in says.models:
        by = "" if model.network is None else f", from perturbation network {model.network[:12]}"
        lines.append(
            f"  {model.name}: {model.verdict}, latent shift {model.effect.shift:.2f}, by noise of "
            f"the same size {model.floor.shift:.2f} ({model.measured}{by})"
        )
    return lines
