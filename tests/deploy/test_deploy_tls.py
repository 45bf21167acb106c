from __future__ import annotations

from pathlib import Path

import pytest
import tls_files
from running_stack import running

from argo.errors import InvalidArgumentError
from argo.settings import ClientSettings
from argo.tls import TlsFiles
from deploy.roster import SERVICES
from deploy.tls import launcher_tls


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tls_files.make(tmp_path_factory.mktemp("tls") / "certificates")


def _variables(folder: Path) -> dict[str, str]:
    """Mutual TLS on every connection."""
    variables = {
        "ARGO_ORCHESTRATOR_PEER_TLS_CA": str(folder / "orchestrator" / "ca.crt"),
        "ARGO_ORCHESTRATOR_PEER_TLS_CERTIFICATE": str(folder / "orchestrator" / "tls.crt"),
        "ARGO_ORCHESTRATOR_PEER_TLS_KEY": str(folder / "orchestrator" / "tls.key"),
        "ARGO_CLIENT_TLS_CA": str(folder / "client" / "ca.crt"),
        "ARGO_CLIENT_TLS_CERTIFICATE": str(folder / "client" / "tls.crt"),
        "ARGO_CLIENT_TLS_KEY": str(folder / "client" / "tls.key"),
    }
    for service in SERVICES:
        prefix = f"ARGO_{service.upper()}_TLS_"
        variables[f"{prefix}CERTIFICATE"] = str(folder / service / "tls.crt")
        variables[f"{prefix}KEY"] = str(folder / service / "tls.key")
        variables[f"{prefix}CLIENT_CA"] = str(folder / service / "ca.crt")
    return variables


def _client(variables: dict[str, str]) -> ClientSettings:
    prefix = "ARGO_CLIENT_"
    return ClientSettings(
        **{name.removeprefix(prefix).lower(): Path(path) for name, path in variables.items() if prefix in name}
    )


def test_a_stack_without_certificates_is_called_in_the_clear() -> None:
    assert launcher_tls({"PATH": "/bin"}, ClientSettings()) is None


def test_a_stack_with_all_its_certificates_is_called_with_the_clients(certificates: Path) -> None:
    variables, client = _variables(certificates), certificates / "client"
    expected = TlsFiles(client / "ca.crt", client / "tls.crt", client / "tls.key")
    assert launcher_tls(variables, _client(variables)) == expected


@pytest.mark.parametrize(
    "missing",
    [
        "ARGO_DECOMPOSER_TLS_CERTIFICATE",
        "ARGO_ORCHESTRATOR_PEER_TLS_CA",
        "ARGO_ORCHESTRATOR_PEER_TLS_CERTIFICATE",
        "ARGO_CLIENT_TLS_CA",
        "ARGO_CLIENT_TLS_CERTIFICATE",
    ],
)
def test_what_is_missing_for_tls_is_named_with_the_other_ways(missing: str, certificates: Path) -> None:
    variables = _variables(certificates)
    del variables[missing]
    with pytest.raises(InvalidArgumentError, match=rf": set {missing} too ") as caught:
        launcher_tls(variables, _client(variables))
    assert "deploy/compose.tls.yaml" in str(caught.value)
    assert "python -m deploy env" in str(caught.value)


@pytest.mark.timeout(300)
def test_a_stack_with_mutual_tls_comes_up_and_indexes(tmp_path: Path, certificates: Path) -> None:
    with running(tmp_path / "state", _variables(certificates)) as stack:
        assert any(line.startswith("documents of ") for line in stack.seen)
