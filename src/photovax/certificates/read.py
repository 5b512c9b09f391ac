"""Reads a certificate from its file or from a signed photo."""

from __future__ import annotations

from pathlib import Path

from photovax.certificates.container import media_type
from photovax.certificates.document import MAX_BYTES
from photovax.errors import CertificateError, UsageError
from photovax.extras import extra_installed

__all__ = ["read_certificate"]


def read_certificate(path: Path) -> str:
    """Return the text of a certificate file, or of the certificate in a photo's C2PA manifest.

    Raises:
        CertificateError: If it cannot be read.
        UsageError: If there is no such file, or it is in a photo and the package that reads
            manifests is missing.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(
                f"{path}: not a regular file", hint="save the certificate to a file first"
            )
        if media_type(path) is not None:
            with extra_installed("c2pa"):
                from photovax.certificates.manifest import embedded_certificate
            return embedded_certificate(path)
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # that of a file names it once more
        raise CertificateError(f"{path}: cannot be read: {why}") from None
