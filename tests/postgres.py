"""A PostgreSQL server for the tests, on a socket in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

PASSWORD = "p@ss/w%rd"  # noqa: S105 - of a server that only the tests see
_DEBIAN = Path("/usr/lib/postgresql")


def _programs() -> Path | None:
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    return max(_DEBIAN.glob("*/bin"), key=lambda each: int(each.parent.name), default=None)


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """A URL that leads to a server while the context lasts; None where none is installed."""
    programs = _programs()
    if programs is None:
        yield None
        return
    # It does not run as root.
    user: dict[str, Any] = (
        {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    )
    folder = Path(tempfile.mkdtemp(prefix="photovax-"))  # a socket's path has to be short
    try:
        (folder / "password").write_text(PASSWORD)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user["user"], user["group"])

        def run(*command: object) -> None:
            subprocess.run(  # noqa: S603
                list(map(str, command)),
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                **user,
            )

        run(
            *(programs / "initdb", "-D", folder / "data", "-U", "ann", "-A", "scram-sha-256"),
            *("--pwfile", folder / "password", "-E", "UTF8", "--locale", "C", "--no-sync"),
        )
        control = (programs / "pg_ctl", "-D", folder / "data", "-w")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run(*control, "-l", folder / "log", "-o", options, "start")
        try:
            password = quote(PASSWORD, safe="")
            yield f"postgresql://ann:{password}@/postgres?host={quote(str(folder), safe='')}"
        finally:
            run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def with_schema(url: str, name: str) -> str:
    """The URL of the same database, where tables are made in that schema."""
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
