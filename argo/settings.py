"""Settings: read once at start from the environment, with every mistake named.

pydantic-settings ignores a variable that it does not know, so a misspelt name would silently keep a default;
:func:`load` looks at the environment itself and refuses it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from argo.errors import InvalidArgumentError
from argo.guard import Guard
from argo.target import is_loopback
from argo.tls import ServerTls
from argo.token import TokenBook

__all__ = ["ClientSettings", "ServerSettings", "SettingsError", "TelemetrySettings", "load"]

_S = TypeVar("_S", bound=BaseSettings)


class SettingsError(InvalidArgumentError):
    """A setting is unknown or out of its bounds; the message names the environment variable."""


class ServerSettings(BaseSettings):
    """Where a service listens and how it stops; every service's settings begin with these."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on; loopback unless told otherwise."""

    port: int = Field(default=0, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    grace_s: float = Field(default=5.0, ge=0, le=600)
    """Seconds that running calls may take to finish after SIGTERM."""

    connection_age_s: float = Field(default=300.0, ge=1, le=86_400)
    """Age at which a client's connection is renewed, without a call being lost. The client of a name that stands for
    several replicas then looks it up again, and finds those that have come since."""

    default_deadline_s: float = Field(default=65.0, gt=0, le=3600)
    """Deadline of a call whose caller set none."""

    metrics_host: str = "127.0.0.1"
    """Address of the metrics endpoint, without TLS and without a token; loopback unless told otherwise."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of this service's metrics for Prometheus, under /metrics; 0 takes any free one, unset serves none."""

    tls_certificate: Path | None = None
    """PEM file of this server's certificate, with what leads to its authority; turns TLS on. Followed when renewed."""

    tls_key: Path | None = None
    """PEM file of the key that belongs to it."""

    tls_client_ca: Path | None = None
    """PEM file of the authority of clients; turns mutual TLS on: a client without a certificate of it is cut off."""

    tls_peer_names: str = ""
    """Names in a client's certificate, parted by commas, that are services and need no token, such as orchestrator."""

    token_file: Path | None = None
    """File of the bearer tokens that are accepted, as `argo token` writes it; unset asks nobody for one."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe log record that is written."""

    def tls(self) -> ServerTls | None:
        """The files for TLS; None for connections in the clear.

        Raises:
            SettingsError: They are given in part, or something else is set that needs them.
        """
        prefix = str(self.model_config.get("env_prefix", ""))
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError(
                f"{prefix}TLS_CERTIFICATE and {prefix}TLS_KEY must be given together, got only one of them"
            )
        if self.tls_certificate is None or self.tls_key is None:
            if self.tls_client_ca is not None:
                raise SettingsError(f"{prefix}TLS_CLIENT_CA needs {prefix}TLS_CERTIFICATE and {prefix}TLS_KEY")
            if self.tls_peer_names:
                raise SettingsError(f"{prefix}TLS_PEER_NAMES needs {prefix}TLS_CLIENT_CA")
            if self.token_file is not None and not is_loopback(self.host):
                raise SettingsError(
                    f"{prefix}TOKEN_FILE on {self.host} needs {prefix}TLS_CERTIFICATE and {prefix}TLS_KEY: a token"
                    f" in the clear can be read on its way; only a loopback {prefix}HOST does without"
                )
            return None
        if self.tls_peer_names and self.tls_client_ca is None:
            raise SettingsError(f"{prefix}TLS_PEER_NAMES needs {prefix}TLS_CLIENT_CA")
        return ServerTls(self.tls_certificate, self.tls_key, self.tls_client_ca)

    def guard(self) -> Guard | None:
        """Who may call; None where everybody may.

        Raises:
            InvalidArgumentError: The token file is wrong.
        """
        names = [name.strip() for name in self.tls_peer_names.split(",") if name.strip()]
        if self.token_file is None and not names:
            return None
        return Guard(None if self.token_file is None else TokenBook(self.token_file), names)


class TelemetrySettings(BaseSettings):
    """Where spans go. With neither an endpoint nor a folder, tracing is off and answers are unaffected."""

    model_config = SettingsConfigDict(env_prefix="ARGO_TELEMETRY_", frozen=True, extra="forbid")

    otlp_endpoint: str | None = None
    """OTLP/gRPC collector, such as http://127.0.0.1:4317."""

    span_dir: Path | None = None
    """Folder for span files, one a process, which `argo trace` reads."""

    span_file_bytes: int = Field(default=64 * 1024 * 1024, ge=4096)
    """Size at which a span file is rotated; one older file is kept."""

    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of questions that are traced; a caller's own decision is respected."""

    export_delay_ms: int = Field(default=200, ge=10, le=60_000)
    """Longest time that a finished span waits for its export."""

    record_text: bool = False
    """Put question, subquery and answer text into spans. Off: no text leaves with telemetry."""


class ClientSettings(BaseSettings):
    """Where the command line and the SDK find a running stack."""

    model_config = SettingsConfigDict(env_prefix="ARGO_CLIENT_", frozen=True, extra="forbid")

    target: str = "127.0.0.1:50051"
    """Address of the orchestrator."""

    retriever_target: str = "127.0.0.1:50053"
    """Address of the retriever, which takes documents in."""

    token: str | None = None
    """Bearer token to send; needs TLS."""

    tls_ca: Path | None = None
    """PEM file of the certificate authority; turns TLS on."""

    tls_certificate: Path | None = None
    """PEM file of the client's own certificate, for mutual TLS."""

    tls_key: Path | None = None
    """PEM file of the key that belongs to it."""

    span_dir: Path | None = None
    """Folder of the span files of a local stack, for `argo trace`."""

    jaeger_url: str | None = None
    """Where Jaeger's page is, such as http://127.0.0.1:16686, for `argo trace` where there is no folder."""


def load(settings: type[_S], environ: Mapping[str, str] | None = None) -> _S:
    """Read one settings class from the environment.

    Args:
        settings: The class; its env_prefix says which names are its own.
        environ: Names and values; the process environment when None. Values are always read from the process
            environment, so pass another mapping only to check names.

    Raises:
        SettingsError: A name under the prefix is unknown, or a value is out of its bounds.
    """
    prefix = str(settings.model_config.get("env_prefix", "")).upper()
    known = {f"{prefix}{name.upper()}" for name in settings.model_fields}
    for name in sorted(environ if environ is not None else os.environ):
        if prefix and name.upper().startswith(prefix) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise SettingsError(f"unknown setting {name}; {hint}")
    try:
        return settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            if not problem["loc"]:
                # It is about several settings, and what was given is all of them, keys and tokens too.
                lines.append(f"{prefix}*: {problem['msg'].removeprefix('Value error, ')}")
                continue
            where = "_".join(str(part) for part in problem["loc"]).upper()
            name = where if where.startswith(prefix) else f"{prefix}{where}"
            lines.append(f"{name}: {problem['msg']}, got {problem.get('input')!r}")
        raise SettingsError("; ".join(lines)) from None
