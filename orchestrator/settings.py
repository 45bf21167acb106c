"""Settings of the orchestrator."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from argo import limits
from argo.settings import ServerSettings, SettingsError
from argo.target import addresses, is_loopback
from argo.tls import TlsFiles

__all__ = ["OrchestratorSettings"]


class OrchestratorSettings(ServerSettings):
    """Where the other services are, what a question may cost by default, and where sessions are kept."""

    model_config = SettingsConfigDict(env_prefix="ARGO_ORCHESTRATOR_", frozen=True, extra="forbid")

    port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    decomposer_target: str = "127.0.0.1:50052"
    """Address of the decomposer."""

    retriever_target: str = "127.0.0.1:50053"
    """Address of the retriever."""

    synthesizer_target: str = "127.0.0.1:50054"
    """Address of the synthesizer."""

    peer_tls_ca: Path | None = None
    """PEM file of the authority of the three services; turns TLS towards them on. Followed when renewed."""

    peer_tls_certificate: Path | None = None
    """PEM file of this orchestrator's own certificate, for mutual TLS."""

    peer_tls_key: Path | None = None
    """PEM file of the key that belongs to it."""

    peer_token: SecretStr | None = None
    """Bearer token of role service for the three services, where they ask for one; not needed with mutual TLS."""

    session_path: Path = Path(".argo/sessions.db")
    """SQLite file of the sessions; one orchestrator owns it. Unused with `session_url`."""

    session_url: SecretStr | None = None
    """Redis server of the sessions, for several orchestrators: redis://user:password@host:6379/0, or rediss:// for TLS,
    with ?ssl_ca_certs=/path/ca.pem for an authority of your own. None keeps them in `session_path`."""

    session_prefix: str = Field(default="argo", pattern=r"^[a-zA-Z0-9._-]{1,64}$")
    """Of every key in Redis, so that several stacks can share a server."""

    session_lease_s: float = Field(default=3.0, ge=0.5, le=60)
    """With Redis: seconds without a sign of life after which an orchestrator's running questions can be resumed."""

    session_ttl_s: float = Field(default=7 * 24 * 3600.0, gt=0)
    """Seconds after its last change at which a session is gone; a running one never is."""

    session_most: int = Field(default=10_000, ge=1)
    """Sessions kept besides the running ones; once a minute the oldest beyond are pruned."""

    strategy: Literal["mdp", "fixed", "always_reason", "always_retrieve", "random", "single_shot"] = "mdp"
    """Strategy when the request names none."""

    tracker: Literal["evidence", "constant"] = "evidence"
    """How information progress is measured."""

    policy_file: Path | None = None
    """JSON file with the parameters of the decision process; None serves the defaults."""

    budget_ms: int = Field(default=1_000, ge=0, le=limits.BUDGET_MS[1])
    """Soft budget when the request names none; 0 means none."""

    max_steps: int = Field(default=6, ge=limits.STEPS[0], le=limits.STEPS[1])
    """Most steps when the request names none."""

    fan_out: int = Field(default=8, ge=limits.FAN_OUT[0], le=limits.FAN_OUT[1])
    """Most subqueries of one step when the request names none."""

    top_k: int = Field(default=10, ge=limits.TOP_K[0], le=limits.TOP_K[1])
    """Passages per search when the request names none."""

    max_answer_tokens: int = Field(default=200, ge=limits.ANSWER_TOKENS[0], le=limits.ANSWER_TOKENS[1])
    """Most tokens of an answer when the request names none."""

    close_relevance: float = Field(default=0.5, gt=0, le=1)
    """Calibrated relevance at which a kept passage closes a focus. At 0.5 cross-validation closed none without its
    evidence, and few foci of questions without an answer; docs/retrieval.md has the counts."""

    close_confidence: float = Field(default=0.6, gt=0, le=1)
    """Confidence at which a note closes its focus."""

    kept_passages: int = Field(default=10, ge=1, le=40)
    """Most passages kept as evidence."""

    kept_words: int = Field(default=2_000, ge=50, le=20_000)
    """Most words of evidence."""

    history_words: int = Field(default=80, ge=10, le=400)
    """Words of each passage that later steps are shown."""

    max_running: int = Field(default=256, ge=1, le=10_000)
    """Questions answered at once; more wait for their turn."""

    max_queued: int = Field(default=256, ge=0, le=10_000)
    """Questions that wait for their turn, the one whose time runs out first at the front; more are refused with
    RESOURCE_EXHAUSTED, and so is one for which no answer would fit any more by its turn. 0 refuses at once."""

    max_reduced: int = Field(default=64, ge=0, le=10_000)
    """Besides these, cheaper answers given at once to questions that would be refused and whose callers allow it: one
    search, the extractive answer. 0 for none."""

    tenant_rate: float | None = Field(default=None, gt=0, le=100_000)
    """Questions a second that a tenant may ask in the long run; None for no bound."""

    tenant_burst: int = Field(default=20, ge=1, le=100_000)
    """Questions that a tenant may ask at once after a pause, where `tenant_rate` is set."""

    tenant_running: int | None = Field(default=None, ge=1, le=10_000)
    """Questions of one tenant answered at once; None for no bound besides `max_running`."""

    breaker_failures: int = Field(default=5, ge=1, le=1_000)
    """Calls to a service that fail in a row before it is not called for a while."""

    breaker_open_s: float = Field(default=1.0, ge=0.05, le=300)
    """Seconds until one call is let through to see whether the service is back."""

    hedge_searches: bool | None = None
    """Whether a search that takes longer than 95 % of the latest is made once more, the first reply winning; None for
    where `retriever_target` stands for several replicas."""

    hedge_share: float = Field(default=0.05, gt=0, le=0.5)
    """Most searches that are made so, as a share of all."""

    answer_margin_s: float = Field(default=0.005, ge=0, le=1)
    """Seconds of the budget kept back for the way to the caller, besides what answers of the last minute were late."""

    peer_poll_s: float = Field(default=5.0, gt=0, le=300)
    """Seconds between two looks at what the engines of decomposer and synthesizer are, and how fast."""

    def peer_tls(self) -> TlsFiles | None:
        """The files for TLS towards the services; None for connections in the clear.

        Raises:
            SettingsError: A pair is given without an authority, or a token would go out in the clear.
        """
        if self.peer_tls_ca is not None:
            return TlsFiles(self.peer_tls_ca, self.peer_tls_certificate, self.peer_tls_key)
        if self.peer_tls_certificate is not None or self.peer_tls_key is not None:
            raise SettingsError("ARGO_ORCHESTRATOR_PEER_TLS_CERTIFICATE and _KEY need ARGO_ORCHESTRATOR_PEER_TLS_CA")
        targets = (self.decomposer_target, self.retriever_target, self.synthesizer_target)
        exposed = [address for target in targets for address in addresses(target) if not is_loopback(address)]
        if self.peer_token is not None and exposed:
            raise SettingsError(
                "ARGO_ORCHESTRATOR_PEER_TOKEN needs ARGO_ORCHESTRATOR_PEER_TLS_CA: in the clear, it could be read on"
                f" its way to {exposed[0]}"
            )
        return None
