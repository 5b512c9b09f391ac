"""What a worker needs of the provider, who may change it at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from photovax.certificates.keys import KeyRing
from photovax.certificates.register import Register, Registered
from photovax.service.settings import Settings

if TYPE_CHECKING:
    from photovax.certificates.credential import Credential

__all__ = ["Provider"]


@dataclass(frozen=True)
class Provider:
    """Keys and register as they are now, for a worker on any machine.

    Attributes:
        ring: Keys that sign certificates.
        models: Models that are supported today.
        credential: Signer of C2PA manifests; None if the provider signs none.
    """

    ring: KeyRing
    models: tuple[Registered, ...]
    credential: Credential | None

    @classmethod
    def of(cls, settings: Settings) -> Provider:
        """Read the files of a service.

        Raises:
            CertificateError: If keys cannot be read.
            UsageError: If the register cannot be read.
        """
        credential = None
        if settings.sign_key is not None and settings.sign_chain is not None:
            from photovax.certificates.credential import read_credential

            credential = read_credential(settings.sign_key, settings.sign_chain)
        models = Register(settings.register).supported()
        return cls(KeyRing(settings.keys), models, credential)
