"""``photovax serve``: the page and the API, on one port."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import DEFAULT
from photovax.cli import options
from photovax.cli.certificate import DATA, Data
from photovax.errors import UsageError
from photovax.extras import extra_installed
from photovax.service import service_installed


def command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8765,
    data: Data = DATA,
    database: Annotated[
        str | None,
        typer.Option(
            help="URL of a PostgreSQL database for jobs of several services. [default: a file]",
            envvar="PHOTOVAX_DATABASE",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="Preset or recipe file.")] = DEFAULT,
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another recipe that clients may name.", show_default=False),
    ] = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(VISIBILITY),
            help="How much of a change may be seen unless clients say. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="Bound the largest change instead, in levels. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    total: Annotated[
        float | None,
        typer.Option(
            help="All that renewals may ever change, in levels. [default: the budget]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", help="Host name clients use; needed beyond this machine.", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Photos at the same time, if memory allows.")
    ] = 1,
    keep: Annotated[float, typer.Option(min=1, help="Seconds for which results are kept.")] = 3600,
    job_time: Annotated[float, typer.Option(min=1, help="Seconds for one job.")] = 1800,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one upload.")] = 64,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Of one picture.")] = 50,
    per_minute: Annotated[int, typer.Option(min=1, help="Requests of one client.")] = 600,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Ask for tokens on this machine, too.")
    ] = False,
    new_token: Annotated[
        str | None,
        typer.Option(help="Print a new token for this client, and end.", show_default=False),
    ] = None,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            help="Private key in PEM: results get a C2PA manifest signed with it.",
            show_default=False,
        ),
    ] = None,
    sign_chain: Annotated[
        Path | None,
        typer.Option(
            help="X.509 certificates of that key in PEM, its own first.", show_default=False
        ),
    ] = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
) -> None:
    """Serve the page and the API.

    On this machine only, and to everybody on it, unless told otherwise. Beyond it clients need
    tokens, and a proxy in front should speak TLS.
    """
    with service_installed():
        import uvicorn

        from photovax.service.app import build_app
        from photovax.service.http.tokens import Tokens
        from photovax.service.settings import Settings, is_loopback

    exposed = not is_loopback(host)
    settings = Settings(
        data=data,
        database=database or None,
        recipe=recipe,
        recipes=tuple(also or ()),
        visibility=visibility,
        levels=levels,
        total=total if total is not None else levels,
        sign_key=sign_key,
        sign_chain=sign_chain,
        weights=weights,
        device=device,
        workers=workers,
        keep_seconds=keep,
        job_seconds=job_time,
        max_bytes=max_megabytes * 1024**2,
        max_pixels=max_megapixels * 1_000_000,
        requests_per_minute=per_minute,
        tokens=tokens or exposed,
        hosts=(*Settings(Path()).hosts, *(name or ())),
    )
    if settings.sign_key is not None and settings.sign_chain is not None:
        with extra_installed("c2pa"):
            import c2pa  # noqa: F401 - asked for now, not at the first photo

            from photovax.certificates.credential import read_credential
        read_credential(settings.sign_key, settings.sign_chain)
    known = Tokens(settings.token_file)
    if new_token is not None:
        typer.echo(known.add(new_token))
        return
    if settings.tokens and not known:
        raise UsageError("clients need tokens, and there is none: photovax serve --new-token NAME")
    if exposed and not name:
        raise UsageError("say under which host name clients ask: --name photos.example.org")
    typer.echo(f"http://{host}:{port}/ (Ctrl-C ends it; unfinished jobs go on at the next start)")
    uvicorn.run(
        build_app(settings),
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=1000,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
