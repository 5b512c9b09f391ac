"""Clients' tokens. Only their hashes are stored."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

from photovax.certificates.locks import locked
from photovax.errors import UsageError
from photovax.pictures.atomic import write_text
from photovax.registry import unknown

__all__ = ["Tokens"]


class Tokens:
    """The tokens of one service, in a file that is read again when it changes.

    A token has 256 random bits, so its SHA-256 cannot be reversed by trying.

    Args:
        file: JSON file, created with the first token.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at = (-1, -1)
        self._names: dict[str, str] = {}

    def add(self, name: str) -> str:
        """Create a token for a client. It cannot be shown again.

        Raises:
            UsageError: If the client has a token.
            SaveError: If the file cannot be written.
        """
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._file):
            known = dict(self._current())
            if name in known.values():
                raise UsageError(
                    f"{name} has a token in {self._file}; remove it first",
                    hint=f"photovax serve --remove-token {name}",
                )
            token = f"photovax_{secrets.token_urlsafe(32)}"
            known[_hash(token)] = name
            write_text(json.dumps(known, indent=1) + "\n", self._file, overwrite=True)
        return token

    def remove(self, name: str) -> None:
        """Remove the token of a client, which is refused from the next request on.

        Raises:
            UnknownName: If no client of that name has one.
            SaveError: If the file cannot be written.
        """
        known = self._current()
        if name not in known.values():
            raise unknown("client with a token", name, dict.fromkeys(known.values()))
        with locked(self._file):
            kept = {digest: each for digest, each in self._current().items() if each != name}
            write_text(json.dumps(kept, indent=1) + "\n", self._file, overwrite=True)

    def owner(self, token: str) -> str | None:
        """Return the owner's id, the first digits of the token's hash; None if unknown."""
        digest = _hash(token)
        return digest[:16] if digest in self._current() else None

    def __bool__(self) -> bool:
        return bool(self._current())

    def _current(self) -> dict[str, str]:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return {}
        changed = (status.st_ino, status.st_mtime_ns)  # each write makes a new file
        if changed != self._read_at:
            try:
                self._names = dict(json.loads(self._file.read_text(encoding="utf-8")))
            except ValueError:
                raise UsageError(f"{self._file} is not a file of tokens") from None
            self._read_at = changed
        return self._names


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
