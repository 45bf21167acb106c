"""Certificates for tests: what `python -m deploy certificates` writes, and some that it never would."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from argo.tls import ServerTls, TlsFiles
from deploy import certificates
from deploy.terminal import Terminal


def make(folder: Path) -> Path:
    """A folder with an authority and every pair."""
    certificates.write(folder, (), 30, Terminal(io.StringIO()))
    return folder


def server_tls(folder: Path, *, mutual: bool = True, name: str = "decomposer") -> ServerTls:
    return ServerTls(folder / name / "tls.crt", folder / name / "tls.key", folder / name / "ca.crt" if mutual else None)


def client_tls(folder: Path, name: str | None = "orchestrator") -> TlsFiles:
    if name is None:
        return TlsFiles(folder / "client" / "ca.crt")
    return TlsFiles(folder / name / "ca.crt", folder / name / "tls.crt", folder / name / "tls.key")


def expire(folder: Path, name: str) -> None:
    """Put a pair in the place of one, from the same authority, that expired yesterday."""
    ca_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now - datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / name / "tls.key").write_bytes(private)
    (folder / name / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
