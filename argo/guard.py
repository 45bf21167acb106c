"""Who may call what: one table of methods and roles, and the check that every call of a guarded server passes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import grpc.aio

from argo.errors import PermissionDeniedError, UnauthenticatedError
from argo.identity import TENANT_KEY, Identity, Role
from argo.token import TokenBook

__all__ = ["ROLES", "Guard", "forwarded_tenant"]

_LOG = logging.getLogger(__name__)
_ASKS: Final = frozenset({Role.ASK, Role.ADMIN})
_INGESTS: Final = frozenset({Role.INGEST, Role.ADMIN})
_READS: Final = frozenset({Role.ASK, Role.INGEST, Role.ADMIN, Role.SERVICE})
_INNER: Final = frozenset({Role.SERVICE, Role.ADMIN})

ROLES: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        "/argo.v1.OrchestratorService/Ask": _ASKS,
        "/argo.v1.OrchestratorService/ResumeSession": _ASKS,
        "/argo.v1.OrchestratorService/GetSession": _ASKS,
        "/argo.v1.OrchestratorService/ListSessions": _ASKS,
        "/argo.v1.OrchestratorService/DeleteSession": _ASKS,
        "/argo.v1.OrchestratorService/GetPolicy": _READS,
        "/argo.v1.OrchestratorService/ReloadPolicy": frozenset({Role.ADMIN}),
        "/argo.v1.OrchestratorService/GetInfo": _READS,
        "/argo.v1.DecomposerService/PlanFoci": _INNER,
        "/argo.v1.DecomposerService/GenerateSubquery": _INNER,
        "/argo.v1.DecomposerService/GetInfo": _READS,
        "/argo.v1.RetrieverService/Search": _READS,
        "/argo.v1.RetrieverService/Ingest": _INGESTS,
        "/argo.v1.RetrieverService/DeleteDocuments": _INGESTS,
        "/argo.v1.RetrieverService/ListDocuments": _READS,
        "/argo.v1.RetrieverService/GetCollection": _READS,
        "/argo.v1.RetrieverService/GetInfo": _READS,
        "/argo.v1.SynthesizerService/Reason": _INNER,
        "/argo.v1.SynthesizerService/Synthesize": _INNER,
        "/argo.v1.SynthesizerService/GetInfo": _READS,
    }
)
"""Every method, and the roles of which its caller must have one. Health and reflection are open."""


class Guard:
    """Recognises callers and lets them do what their roles allow.

    Args:
        tokens: Accepted bearer tokens; None for none.
        peer_names: Names in a verified client certificate (subject alternative name or common name) that are services.
    """

    def __init__(self, tokens: TokenBook | None, peer_names: Iterable[str] = ()) -> None:
        self._tokens = tokens
        self._peer_names = frozenset(peer_names)
        self._said = ""

    def admit(self, context: grpc.aio.ServicerContext[Any, Any], method: str) -> Identity:
        """Who makes this call, which it may make.

        Raises:
            UnauthenticatedError: Nobody that is known here.
            PermissionDeniedError: Somebody that may not call this method.
        """
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or () if key in _KEYS}
        identity = self._recognise(context, metadata.get("authorization", ""))
        if not identity.roles & ROLES[method]:
            needed = " or ".join(sorted(ROLES[method]))
            raise PermissionDeniedError(
                f"{identity.name} may not call {method.rpartition('/')[2]}: it needs the role {needed}, "
                f"got {', '.join(sorted(identity.roles))}"
            )
        if Role.SERVICE in identity.roles and TENANT_KEY in metadata:
            return Identity(identity.name, metadata[TENANT_KEY], identity.roles)
        return identity

    def _recognise(self, context: grpc.aio.ServicerContext[Any, Any], authorization: str) -> Identity:
        scheme, _, token = authorization.partition(" ")
        if self._tokens is not None and token:
            if scheme.lower() != "bearer":
                raise UnauthenticatedError("authorization must be a bearer token, got another scheme")
            try:
                return self._tokens.recognise(token.strip())
            finally:
                self._say(self._tokens.problem)
        names = _certificate_names(context)
        if known := names & self._peer_names:
            return Identity(min(known), roles=frozenset({Role.SERVICE}))
        if self._tokens is not None:
            raise UnauthenticatedError(
                "a bearer token is needed, got none; ARGO_CLIENT_TOKEN is sent by the SDK and CLI"
            )
        shown = ", ".join(sorted(names)) or "no certificate"
        raise PermissionDeniedError(f"only the services named in tls_peer_names may call here, got {shown}")

    def _say(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            if problem:
                _LOG.error("the changed token file is not used, the tokens before stay: %s", problem)


_KEYS: Final = frozenset({"authorization", TENANT_KEY})


def forwarded_tenant(context: grpc.aio.ServicerContext[Any, Any], method: str) -> Identity | None:
    """For whom a call was made, on a server that asks nobody who it is; None where the call does not say.

    Nor does it say so of a method that is not for services: whoever may only ask speaks for nobody else, and is not to
    make up tenants as he likes.
    """
    if Role.SERVICE not in ROLES.get(method, ()):
        return None
    for key, value in context.invocation_metadata() or ():
        if key == TENANT_KEY:
            return Identity("", str(value))
    return None


def _certificate_names(context: grpc.aio.ServicerContext[Any, Any]) -> frozenset[str]:
    """Names in the caller's certificate, which gRPC has verified; none without mutual TLS."""
    found: Mapping[str, Iterable[bytes]] = context.auth_context()
    keys = ("x509_subject_alternative_name", "x509_common_name")
    return frozenset(value.decode("utf-8", "replace") for key in keys for value in found.get(key, ()))
