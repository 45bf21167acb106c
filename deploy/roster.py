"""Who belongs to a stack: how many replicas of each service, and the servers that several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from argo.errors import InvalidArgumentError

__all__ = [
    "CHROMA",
    "DECOMPOSER",
    "ONE_EACH",
    "ORCHESTRATOR",
    "REDIS",
    "RETRIEVER",
    "SERVICES",
    "SYNTHESIZER",
    "Roster",
    "parse_replicas",
]

ORCHESTRATOR: Final = "orchestrator"
DECOMPOSER: Final = "decomposer"
RETRIEVER: Final = "retriever"
SYNTHESIZER: Final = "synthesizer"
CHROMA: Final = "chroma"
REDIS: Final = "redis"

SERVICES: Final = {
    # The slowest to start comes first.
    RETRIEVER: "services.retriever",
    ORCHESTRATOR: "orchestrator",
    SYNTHESIZER: "services.synthesizer",
    DECOMPOSER: "services.decomposer",
}
"""Module of each service, in the order of their start."""

_MOST: Final = 16
_CHROMA_URL: Final = "ARGO_RETRIEVER_CHROMA_URL"
_SESSION_URL: Final = "ARGO_ORCHESTRATOR_SESSION_URL"


def parse_replicas(text: str) -> dict[str, int]:
    """Read "decomposer=2,retriever=3"; what is not named has one.

    Raises:
        InvalidArgumentError: A name that is no service, or a number out of its bounds.
    """
    counts = dict.fromkeys(SERVICES, 1)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, number = (piece.strip() for piece in part.partition("="))
        if not separator or name not in SERVICES:
            raise InvalidArgumentError(
                f"replicas must be service=number with one of {', '.join(SERVICES)}, got {part!r}"
            )
        if not number.isdigit() or not 1 <= int(number) <= _MOST:
            raise InvalidArgumentError(f"replicas of {name} must be in 1..{_MOST}, got {number!r}")
        counts[name] = int(number)
    return counts


@dataclass(frozen=True)
class Roster:
    """The processes of a stack by name.

    Args:
        counts: Replicas of each service.
        environ: The user's environment: a server that it names is not started.
    """

    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, 1))
    environ: Mapping[str, str] = field(default_factory=dict)

    def names(self, service: str) -> list[str]:
        """Names of a service's processes: its own where there is one, else numbered from 1."""
        count = self.counts[service]
        return [service] if count == 1 else [f"{service}-{number}" for number in range(1, count + 1)]

    @property
    def servers(self) -> list[str]:
        """What several replicas share, where the user names none of their own."""
        wanted = {CHROMA: (RETRIEVER, _CHROMA_URL), REDIS: (ORCHESTRATOR, _SESSION_URL)}
        return [
            server
            for server, (service, variable) in wanted.items()
            if self.counts[service] > 1 and not self.environ.get(variable)
        ]

    @property
    def processes(self) -> dict[str, tuple[str, int]]:
        """Each process, in the order of their start: its service or server, and its number among them from 0."""
        listed = {name: (name, 0) for name in self.servers}
        for service in SERVICES:
            listed |= {name: (service, number) for number, name in enumerate(self.names(service))}
        return listed


ONE_EACH: Final = Roster()
