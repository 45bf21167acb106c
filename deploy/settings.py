"""Settings of the one-machine launcher, prefix ARGO_DEPLOY_."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["DeploySettings"]


class DeploySettings(BaseSettings):
    """Where the launcher keeps its state, which ports it gives out, and how patient it is."""

    model_config = SettingsConfigDict(env_prefix="ARGO_DEPLOY_", frozen=True, extra="forbid")

    state_dir: Path = Path(".argo")
    """Folder of indexes, sessions, logs and spans; relative to the checkout."""

    docs: Path = Path("examples/oran")
    """Documents to index where the command names none; relative to the checkout."""

    host: str = "127.0.0.1"
    """Address that every service listens on and is called at."""

    orchestrator_port: int = Field(default=50051, ge=0, le=65535)
    """Port of the orchestrator under `up`; 0 takes a free one."""

    decomposer_port: int = Field(default=50052, ge=0, le=65535)
    """Port of the decomposer under `up`; 0 takes a free one."""

    retriever_port: int = Field(default=50053, ge=0, le=65535)
    """Port of the retriever under `up`; 0 takes a free one."""

    synthesizer_port: int = Field(default=50054, ge=0, le=65535)
    """Port of the synthesizer under `up`; 0 takes a free one."""

    replicas: str = ""
    """Under `up`, replicas of services, such as "decomposer=2,retriever=2"; one of each that is not named."""

    replica_offset: int = Field(default=20, ge=1, le=10_000)
    """Each further replica listens on the port of the one before plus this."""

    chroma_port: int = Field(default=50055, ge=0, le=65535)
    """Port of the Chroma server that several retrievers share; 0 takes a free one."""

    redis_port: int = Field(default=50056, ge=0, le=65535)
    """Port of the Redis server that several orchestrators share; 0 takes a free one."""

    metrics_offset: int = Field(default=10, ge=0, le=10_000)
    """Under `up`, metrics of a service are at its own port plus this, or at a free port where its own is set to 0; 0
    switches metrics off."""

    start_timeout_s: float = Field(default=120.0, gt=0, le=3600)
    """Seconds within which every service must turn SERVING."""

    stop_grace_s: float = Field(default=8.0, ge=0, le=600)
    """Seconds between SIGTERM and SIGKILL; longer than the services' own grace."""

    restart_initial_s: float = Field(default=0.25, gt=0, le=60)
    """Wait before the first restart of a service that died; doubled at each further death."""

    restart_cap_s: float = Field(default=30.0, gt=0, le=3600)
    """Longest wait before a restart."""

    restart_reset_s: float = Field(default=30.0, gt=0, le=3600)
    """Seconds that a service must have been SERVING for its next death to count as the first again."""

    log_lines: int = Field(default=20, ge=1, le=1000)
    """Last lines of a dead service's log to show."""
