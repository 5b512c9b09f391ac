"""The signer of C2PA manifests: a private key and its chain of X.509 certificates."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from photovax.errors import CertificateError, first_line

__all__ = ["Credential", "read_credential", "self_made"]

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
# RFC 5280, section 4.1.2.5: no end. A manifest without a time stamp ends with its certificate.
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True)
class Credential:
    """A private key with its chain.

    Attributes:
        algorithm: C2PA's name of the algorithm: es256, es384, es512, ps256 or ed25519.
        chain: Certificates in PEM, the signer's own first.
        key: Private key in PEM, PKCS #8, not encrypted.
    """

    algorithm: str
    chain: bytes
    key: bytes = field(repr=False)


def self_made() -> Credential:
    """Create an ES256 key with a root certificate of its own, for one file.

    Every reader of C2PA calls it untrusted: it shows that the file is as signed, not who signed it.
    """
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name),
                   x509.NameAttribute(NameOID.ORGANIZATION_NAME, "photovax, self-made")])
        for name in ("Root for one photo", "Signer of one photo")
    )  # fmt: skip
    root = (
        _unsigned(issuer, issuer, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    own = (
        _unsigned(subject, issuer, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        # C2PA's certificate profile requires a purpose; all readers accept this one.
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    return Credential("es256", _pem([own, root]), _private_pem(key))


def read_credential(key: Path, chain: Path) -> Credential:
    """Read a key and its chain from PEM files.

    Raises:
        CertificateError: If a file cannot be read, they do not belong together, or C2PA has no
            algorithm for the key.
    """
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{key}: not a private key in PEM without a password: {first_line(error)}"
        ) from None
    try:
        certificates = x509.load_pem_x509_certificates(chain.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{chain}: not a chain of certificates in PEM: {first_line(error)}"
        ) from None
    match private:
        case ec.EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            algorithm = _CURVES[private.curve.name]
        case rsa.RSAPrivateKey():
            algorithm = "ps256"
        case ed25519.Ed25519PrivateKey():
            algorithm = "ed25519"
        case _:
            raise CertificateError(
                f"{key}: C2PA has no algorithm for this key; use ECDSA on P-256, P-384 or P-521, "
                "RSA or Ed25519"
            )
    try:
        same = certificates[0].public_key() == private.public_key()
    except (ValueError, UnsupportedAlgorithm):  # a kind of key that is not known
        same = False
    if not same:
        raise CertificateError(f"{chain}: its first certificate is not that of the key {key}")
    return Credential(algorithm, _pem(certificates), _private_pem(private))


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))  # a reader's clock may be slow
        .not_valid_after(_NO_END)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def _private_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
