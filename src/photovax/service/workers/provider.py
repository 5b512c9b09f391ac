"""What a worker needs of the provider, who may change it at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from photovax.certificates.keys import KeyRing
from photovax.certificates.register import Register, Registered
from photovax.service.settings import Settings

if TYPE_CHECKING:
    from photovax.certificates.credential import Credential

__all__ = ["SIGNED", "Provider"]

SIGNED = ("immunizations", "renewals")
"""Kinds of jobs whose results are signed with a C2PA manifest, if the provider signs."""


@dataclass(frozen=True)
class Provider:
    """Keys and register as they are now, for a worker on any machine.

    Attributes:
        ring: Keys that sign certificates.
        models: Models that are supported today.
        credential: Signer of C2PA manifests; None if the provider or the job signs none.
    """

    ring: KeyRing
    models: tuple[Registered, ...]
    credential: Credential | None

    @classmethod
    def of(cls, settings: Settings, signs: bool) -> Provider:
        """Read the files of a service.

        Args:
            settings: The service's.
            signs: Whether a job signs its result: the credential is read for no other.

        Raises:
            CertificateError: If keys, or a credential that is needed, cannot be read.
            UsageError: If the register cannot be read.
        """
        credential = None
        if signs and settings.sign_key is not None and settings.sign_chain is not None:
            from photovax.certificates.credential import read_credential

            credential = read_credential(settings.sign_key, settings.sign_chain)
        # Never new ones: a folder that is not there now must not give the provider another name.
        models = Register(settings.register, create=False).supported()
        return cls(KeyRing(settings.keys, create=False), models, credential)
