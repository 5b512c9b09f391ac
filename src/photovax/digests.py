"""SHA-256 digests of one file or several. Importing this is fast."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["combined_digest", "file_digest"]


def file_digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def combined_digest(digests: Iterable[str], *, decoded: bool = False) -> str:
    """The SHA-256 of a sequence of digests, in hexadecimal digits.

    Args:
        digests: Digests in hexadecimal digits, in order.
        decoded: Whether to hash the bytes of the digests instead of their digits.
    """
    joined = "".join(digests)
    return hashlib.sha256(bytes.fromhex(joined) if decoded else joined.encode()).hexdigest()
