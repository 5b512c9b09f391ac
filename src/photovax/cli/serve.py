"""``photovax serve``: the page and the API on one port."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from photovax.attack.budgets import LEVELS, VISIBILITY
from photovax.attack.presets import DEFAULT
from photovax.cli import options
from photovax.cli.certificate import DATA, Data
from photovax.errors import UsageError
from photovax.extras import extra_installed
from photovax.ranges import Range
from photovax.service import service_installed
from photovax.service.settings import CONNECTIONS, Settings, is_loopback

USUAL = Settings(Path())
_MEGABYTE, _MILLION = 1024**2, 1_000_000

PORTS = Range(least=1, most=65535, whole=True)
_WAITING = 2048  # connections that wait to be accepted, as uvicorn has it


def command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, options.number("--port", PORTS)] = 8765,
    data: Data = DATA,
    database: Annotated[
        str | None,
        typer.Option(
            help="URL of a PostgreSQL database that several services share. [default: a file]",
            envvar="PHOTOVAX_DATABASE",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Default recipe: a preset or a recipe file.")
    ] = DEFAULT,
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another recipe that clients may choose.", show_default=False),
    ] = None,
    visibility: Annotated[
        str | None,
        options.word(
            "--visibility",
            VISIBILITY,
            help="Default visibility of the change. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        float | None,
        options.number(
            "--budget",
            LEVELS,
            help="Largest change in levels, instead of --visibility. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    total: Annotated[
        float | None,
        options.number(
            "--total",
            options.TOTALS,
            help="Largest change by all renewals together, in the unit of the recipe's budget: "
            "levels, or a length. [default: the budget]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="Host name in clients' requests; required beyond this machine.",
            show_default=False,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Another site whose pages may use the API, such as https://example.org.",
            show_default=False,
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            help="Path under which a proxy shows the service, such as /photovax.",
            show_default=False,
        ),
    ] = "",
    workers: Annotated[
        int | None,
        options.number(
            "--workers",
            options.COUNTS,
            help="Number of worker processes, if memory allows. [default: 1; with --cluster as "
            "many as it has room for]",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local",
            help="Let a Ray cluster work, such as 10.0.0.1:6379; local starts one on this machine.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Folder for pictures in an object store, such as s3://bucket/folder, of this "
            "service alone. [default: a folder in --data]",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        float,
        options.number("--keep", options.SECONDS, help="Seconds for which results are kept."),
    ] = USUAL.keep_seconds,
    job_time: Annotated[
        float,
        options.number("--job-time", options.SECONDS, help="Time limit of one job in seconds."),
    ] = USUAL.job_seconds,
    max_megabytes: Annotated[
        int, options.number("--max-megabytes", options.COUNTS, help="Largest size of one upload.")
    ] = USUAL.max_bytes // _MEGABYTE,
    max_megapixels: Annotated[
        int, options.number("--max-megapixels", options.COUNTS, help="Largest size of one picture.")
    ] = USUAL.max_pixels // _MILLION,
    per_minute: Annotated[
        int,
        options.number("--per-minute", options.COUNTS, help="Requests of one client in a minute."),
    ] = USUAL.requests_per_minute,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Require tokens on this machine, too.")
    ] = False,
    new_token: Annotated[
        str | None,
        typer.Option(
            help="Print a new token for a client of this name, and exit.", show_default=False
        ),
    ] = None,
    remove_token: Annotated[
        str | None,
        typer.Option(
            help="Remove the token of the client of this name, and exit.", show_default=False
        ),
    ] = None,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            help="Private key in PEM that signs C2PA manifests of results.",
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
    network: options.Networks = None,
    device: options.Device = "auto",
) -> None:
    """Serve the page and the API.

    By default only programs on this machine can connect. With --host other machines can: clients
    then need tokens, and a proxy in front should provide TLS.
    """
    with service_installed():
        import uvicorn

        from photovax.service.app import build_app, claim
        from photovax.service.http.tokens import Tokens

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
        networks=options.networks(network),
        device=device,
        workers=workers,
        cluster=cluster,
        store=store,
        keep_seconds=keep,
        job_seconds=job_time,
        max_bytes=max_megabytes * _MEGABYTE,
        max_pixels=max_megapixels * _MILLION,
        requests_per_minute=per_minute,
        tokens=tokens or exposed,
        hosts=(*USUAL.hosts, *(() if exposed else (host,)), *(name or ())),
        origins=tuple(allow_origin or ()),
        root_path=root_path,
    )
    if settings.sign_key is not None and settings.sign_chain is not None:
        with extra_installed("c2pa"):
            import c2pa  # noqa: F401 - so that it fails now and not at the first photo

            from photovax.certificates.credential import read_credential
        read_credential(settings.sign_key, settings.sign_chain)
    known = Tokens(settings.token_file)
    if new_token is not None:
        typer.echo(known.add(new_token))
        return
    if remove_token is not None:
        known.remove(remove_token)
        return
    if settings.tokens and not known:
        raise UsageError(
            "clients need tokens, and there is none",
            hint="create one: photovax serve --new-token NAME",
        )
    if exposed and not name:
        raise UsageError(
            f"a service on {host} needs the host name in its clients' requests",
            hint="give it, such as --name photos.example.org",
        )
    os.umask(0o077)  # the table of jobs holds prompts, and its folder may be open to others
    app = build_app(settings)
    claim(app)
    sockets = _listening(host, port)
    shown = f"[{host}]" if ":" in host else host
    typer.echo(
        f"http://{shown}:{port}/ (Ctrl-C stops it; unfinished jobs are repeated at the next start)"
    )
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        server.run(sockets)
    if not server.started:
        sys.exit(1)


def _listening(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on each address of a host, which may have one of IPv4 and one of IPv6.

    Raises:
        UsageError: If the port is in use, or this machine has none of the addresses.
    """
    sockets, absent = [], None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            try:
                sockets.append(socket.create_server(address, family=family, backlog=_WAITING))
            except OSError as error:
                # Such as ::1 of localhost, where IPv6 is turned off.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error
        if absent is not None and not sockets:
            raise absent
    except OSError as error:
        for each in sockets:
            each.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} of {host} is in use", hint="give another one with --port"
            ) from None
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}"
        ) from None
    return sockets
