"""Certificates for TLS between the services: an authority of one's own, and a pair for each of them.

For a stack on machines of one operator. Where there is an authority already (a company's, cert-manager's in
Kubernetes), its certificates are used instead, and nothing here is needed.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from argo.errors import InvalidArgumentError, NotReadyError
from argo.file_state import replace_file
from deploy.terminal import Terminal

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["SERVICES", "write"]

SERVICES: Final = ("orchestrator", "decomposer", "retriever", "synthesizer", "client")
"""Who gets a pair; each is named so in its certificate."""
_CA_DAYS: Final = 3_650
_MOST_DAYS: Final = 825
"""What TLS clients accept at most of a server's certificate."""
_CLOCKS_DIFFER: Final = datetime.timedelta(minutes=5)


def write(out: Path, hosts: Iterable[str], days: int, terminal: Terminal) -> int:
    """Make or renew certificates; returns the exit code.

    Args:
        out: Folder for the authority, ca.crt and ca.key, and a folder for each of SERVICES with ca.crt, tls.crt and
            tls.key, which is all that it needs to be shown; the names are those of a secret in Kubernetes. An authority
            that is there is used again, so that what trusts it goes on trusting; the pairs are made anew, each file
            replaced as a whole.
        hosts: Names and addresses besides the services' own names and this machine's loopback.
        days: Validity of the pairs.
        terminal: Told what was done.

    Raises:
        InvalidArgumentError: The folder or the days are wrong, or the authority there cannot be used.
        NotReadyError: The cryptography library is not installed.
    """
    if not 1 <= days <= _MOST_DAYS:
        raise InvalidArgumentError(f"days must be in 1..{_MOST_DAYS}, got {days}")
    try:
        import cryptography  # noqa: F401  (of an extra: nothing else here needs it)
    except ImportError:
        raise NotReadyError("certificates need the cryptography library: install the extra argo-oran[tls]") from None
    try:
        out.mkdir(parents=True, exist_ok=True)
        ca_key, ca, kept = _authority(out)
        for name in SERVICES:
            folder = out / name
            folder.mkdir(exist_ok=True)
            replace_file(folder / "ca.crt", _pem(ca), 0o644)
            _write_pair(folder, "tls", *_issue(name, hosts, days, ca_key, ca))
    except OSError as error:
        raise InvalidArgumentError(f"out must be a writable folder, got {out}: {error.strerror}") from None
    terminal.line(f"{'kept' if kept else 'made'} the authority {out / 'ca.crt'}; its key, ca.key, belongs offline")
    terminal.line(f"made tls.crt and tls.key for {', '.join(SERVICES)}, valid for {days} days")
    terminal.line("running services use renewed files for new connections; nothing has to be restarted")
    return 0


def _authority(out: Path) -> tuple[EllipticCurvePrivateKey, x509.Certificate, bool]:
    """The authority of the folder, made when missing; and whether it was there."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key_path, path = out / "ca.key", out / "ca.crt"
    if key_path.exists() and path.exists():
        try:
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except (ValueError, TypeError) as error:
            raise InvalidArgumentError(
                f"out must hold ca.crt and ca.key without a password, got {out}: {error}"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise InvalidArgumentError(f"ca.key must be the elliptic-curve key of ca.crt, got another one in {out}")
        return key, certificate, True
    if key_path.exists() or path.exists():
        raise InvalidArgumentError(f"out must hold both ca.crt and ca.key, or neither; got only one of them in {out}")
    made = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    # Of its own also where another one was made today: of two authorities of one name, both trusted while they change,
    # TLS libraries try one.
    name = _name(f"ARGO authority {now:%Y-%m-%d} {secrets.token_hex(4)}")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, made, datetime.timedelta(days=_CA_DAYS))
        .issuer_name(name)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(made, _sha256())
    )
    _write_pair(out, "ca", made, certificate)
    return made, certificate, False


def _issue(
    name: str, hosts: Iterable[str], days: int, ca_key: EllipticCurvePrivateKey, ca: x509.Certificate
) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    names = [_general_name(host) for host in dict.fromkeys((name, "localhost", "127.0.0.1", "::1", *hosts))]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(_name(name), key, datetime.timedelta(days=days))
        .issuer_name(ca.subject)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .sign(ca_key, _sha256())
    )
    return key, certificate


def _builder(name: x509.Name, key: EllipticCurvePrivateKey, valid: datetime.timedelta) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + valid)
    )


def _sha256() -> hashes.SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _name(common_name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise InvalidArgumentError(f"host must be a name or an address, got {host!r}") from None


def _write_pair(out: Path, name: str, key: EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    from cryptography.hazmat.primitives import serialization

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The key first: for a moment the pair does not match, and a service that looks then keeps the one before.
    replace_file(out / f"{name}.key", private, 0o600)
    replace_file(out / f"{name}.crt", _pem(certificate), 0o644)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)
