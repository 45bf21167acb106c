"""TLS of a stack under the launcher, which is itself a client of its services: all of it, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from argo.errors import InvalidArgumentError
from argo.settings import ClientSettings
from argo.tls import TlsFiles
from deploy.roster import ORCHESTRATOR, SERVICES

__all__ = ["launcher_tls"]

_PEER: Final = "ARGO_ORCHESTRATOR_PEER_TLS_"
_CLIENT: Final = "ARGO_CLIENT_TLS_"


def launcher_tls(environ: Mapping[str, str], client: ClientSettings) -> TlsFiles | None:
    """The files with which the launcher calls the services; None where they have no TLS.

    A client has one way to call the orchestrator and the retriever, and the orchestrator one way to call the other
    three, so a stack of which only a part has TLS would wait for itself until the deadline of the start.

    Args:
        environ: The user's environment.
        client: The client's settings, from the same environment.

    Raises:
        InvalidArgumentError: Only a part of what TLS needs is set, or a file of the client cannot be used.
    """
    needed = [f"ARGO_{service.upper()}_TLS_CERTIFICATE" for service in SERVICES] + [f"{_PEER}CA", f"{_CLIENT}CA"]
    given = [name for name in needed if environ.get(name)]
    if not given:
        return None
    mutual = [service for service in SERVICES if environ.get(f"ARGO_{service.upper()}_TLS_CLIENT_CA")]
    # The launcher asks every service how it is.
    needed += [f"{_CLIENT}CERTIFICATE"] if mutual else []
    needed += [f"{_PEER}CERTIFICATE"] if set(mutual) - {ORCHESTRATOR} else []
    if missing := [name for name in needed if not environ.get(name)]:
        raise InvalidArgumentError(
            f"{given[0]} is set, and a stack under one launcher has TLS on every connection or on none: set "
            f"{', '.join(missing)} too (docs/operating.md, Certificates). For containers there is "
            "deploy/compose.tls.yaml, and `python -m deploy env` shows how to start each service by itself"
        )
    assert client.tls_ca is not None
    files = TlsFiles(client.tls_ca, client.tls_certificate, client.tls_key)
    files.credentials()
    return files
