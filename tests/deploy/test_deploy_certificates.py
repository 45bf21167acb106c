"""`python -m deploy certificates`: what it writes, and what it refuses. That the files work is shown in tests/argo."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from deploy.__main__ import main
from deploy.certificates import SERVICES


def load(folder: Path, name: str) -> x509.Certificate:
    path = folder / "ca.crt" if name == "ca" else folder / name / "tls.crt"
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_every_service_gets_a_pair_of_its_name_from_one_authority(tmp_path: Path) -> None:
    arguments = ["certificates", "--out", str(tmp_path), "--host", "argo.example", "--host", "10.0.0.7", "--days", "10"]
    assert main(arguments) == 0
    authority = load(tmp_path, "ca")
    for name in SERVICES:
        certificate = load(tmp_path, name)
        certificate.verify_directly_issued_by(authority)
        assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert set(names.get_values_for_type(x509.DNSName)) == {name, "localhost", "argo.example"}
        assert ipaddress.ip_address("10.0.0.7") in names.get_values_for_type(x509.IPAddress)
        left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta(days=9) < left <= datetime.timedelta(days=10)
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*.key"))


def test_renewing_keeps_the_authority_and_changes_every_pair(tmp_path: Path) -> None:
    assert main(["certificates", "--out", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert main(["certificates", "--out", str(tmp_path)]) == 0
    same = {path for path, data in before.items() if path.read_bytes() == data}
    authority = {tmp_path / "ca.key", tmp_path / "ca.crt", *(tmp_path / name / "ca.crt" for name in SERVICES)}
    assert same == authority
    assert set(tmp_path.rglob("*.*")) == set(before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--days", "0"], "days must be in 1..825, got 0"),
        (["--host", "ex\u00e4mple"], "host must be a name or an address, got 'ex\u00e4mple'"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["certificates", "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_authority_without_its_key_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["certificates", "--out", str(tmp_path)])
    (tmp_path / "ca.key").unlink()
    authority = (tmp_path / "ca.crt").read_bytes()
    assert main(["certificates", "--out", str(tmp_path)]) == 2
    assert "must hold both ca.crt and ca.key" in capsys.readouterr().err
    assert (tmp_path / "ca.crt").read_bytes() == authority
