"""An authority for development, and certificates of it. Needs `liferaft[tls]`.

Keys are of P-256 and readable by their owner only. It keeps no list of what it issued, and revokes
nothing: for production have an authority that does.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from liferaft.errors import ConfigurationError

AUTHORITY: Final = "authority"
"""The name of the authority's files, without the suffix."""
AUTHORITY_DAYS: Final = 3_650
CERTIFICATE_DAYS: Final = 397
CLOCKS_APART: Final = dt.timedelta(minutes=5)
"""A machine whose clock is behind must not take a new certificate for one of the future."""


def make_authority(directory: Path, *, name: str, force: bool = False) -> Path:
    """Make an authority's certificate and key in `directory`, and return the certificate's path.

    Raises `ConfigurationError` where there is one, unless `force`.
    """
    certificate_path, key_path = _paths(directory, AUTHORITY)
    _check_free(certificate_path, key_path, force=force)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _certificate(subject, subject, key.public_key(), days=AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    _write(certificate_path, key_path, builder.sign(key, hashes.SHA256()), key)
    return certificate_path


def issue_certificate(
    directory: Path, name: str, *, hosts: Sequence[str], days: int, force: bool = False
) -> Path:
    """Issue a certificate for `hosts` (names and addresses) and return its path.

    It serves a host and a caller alike. Raises `ConfigurationError` when there is no authority,
    when the name is taken and not `force`, or when a host cannot be read.
    """
    if not name or name == AUTHORITY or Path(name).name != name:
        raise ConfigurationError(f"{name!r} cannot be the name of a certificate's files")
    if days < 1:
        raise ConfigurationError(f"a certificate must hold for a day or longer, not {days}")
    authority, authority_key = _read_authority(directory)
    certificate_path, key_path = _paths(directory, name)
    _check_free(certificate_path, key_path, force=force)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _certificate(subject, authority.subject, key.public_key(), days=days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([_host_name(h) for h in hosts]), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    _write(certificate_path, key_path, builder.sign(authority_key, hashes.SHA256()), key)
    return certificate_path


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise ConfigurationError(f"{host!r} is no name of a host, and no address") from error


def _read_authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_path, key_path = _paths(directory, AUTHORITY)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except FileNotFoundError as error:
        text = f"there is no authority in {directory}: make one with `liferaft certs authority`"
        raise ConfigurationError(text) from error
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"the authority in {directory} cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"the authority in {directory} was not made by this command")
    return certificate, key


def _paths(directory: Path, name: str) -> tuple[Path, Path]:
    return directory / f"{name}.crt", directory / f"{name}.key"


def _check_free(*paths: Path, force: bool) -> None:
    taken = [path for path in paths if path.exists()]
    if taken and not force:
        raise ConfigurationError(f"{taken[0]} is there already: choose another name, or --force")


def _write(
    certificate_path: Path,
    key_path: Path,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
) -> None:
    certificate_path.parent.mkdir(parents=True, exist_ok=True)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _replace(key_path, secret, mode=0o600)
    _replace(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _replace(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file so that whoever reads it finds the old one or the new one, whole."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
