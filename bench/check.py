"""What must hold of a stack before it is measured, so that a wrong setting does not become a figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from argo.client import Client
from argo.errors import InvalidArgumentError, NotReadyError
from argo.service import OrchestratorInfo, PeerInfo
from bench.asker import Asker, AskRequest
from bench.question import Question

__all__ = ["check_indexed", "check_stack", "collection_of", "engine_of", "use_cores", "warm_up"]

_WARM_UP: Final = (
    "What is the near-RT RIC?",
    "How does the A1 interface differ from the E2 interface?",
    "Which planes does the open fronthaul have, and who specifies them?",
)
"""Neither of the questions that are measured, so that no cache knows those."""


def _retriever(info: OrchestratorInfo) -> PeerInfo | None:
    return next((peer for peer in info.peers if peer.service == "retriever"), None)


def collection_of(info: OrchestratorInfo) -> dict[str, Any] | None:
    """The collection that is searched, for the record; None where the retriever does not say."""
    peer = _retriever(info)
    if peer is None or peer.info is None or peer.info.collection is None:
        return None
    return peer.info.collection.to_dict()


def engine_of(info: OrchestratorInfo) -> str:
    """The engine behind the synthesizer, for titles; empty where it does not say."""
    engines = {peer.service: peer.info.engine for peer in info.peers if peer.info is not None}
    engine = engines.get("synthesizer")
    if engine is None:
        return ""
    return f"{engine.name} engine, {engine.model}" if engine.model else f"{engine.name} engine"


async def check_stack(client: Client, embedder: str | None) -> OrchestratorInfo:
    """Ask what the stack is, and refuse one that cannot be measured as asked.

    Args:
        client: Open client.
        embedder: Embedder that the collection must have; None for any.

    Raises:
        NotReadyError: The collection is empty.
        InvalidArgumentError: Its embedder is another.
    """
    info = await client.info()
    collection = collection_of(info)
    if collection is not None:
        if not collection["documents"]:
            raise NotReadyError("the stack's collection holds no documents; index them first: argo ingest DIR")
        if embedder is not None and collection["embedder"] != embedder:
            raise InvalidArgumentError(f"embedder must be that of the stack, {collection['embedder']}, got {embedder}")
    return info


async def check_indexed(info: OrchestratorInfo, questions: Sequence[Question]) -> None:
    """Refuse a stack that holds none of the documents that the questions name, which is another collection.

    Raises:
        NotReadyError: Not one of them is indexed.
    """
    peer = _retriever(info)
    if peer is None:
        return
    wanted = {evidence.path for question in questions for evidence in question.evidence}
    # The orchestrator knows its retriever; a user who names a target need not repeat it.
    async with Client.connect(peer.target, retriever_target=peer.target) as other:
        held = {document.source for document in await other.documents()}
    if not wanted & held:
        raise NotReadyError(
            f"the stack holds none of the {len(wanted)} documents that the questions name, such as "
            f"{min(wanted)!r}, but for instance {min(held, default='')!r}; is it another folder's?"
        )


async def warm_up(asker: Asker) -> None:
    """Ask a few other questions, so that no measured one pays for connections and lazy imports."""
    for question in _WARM_UP:
        await asker.put(AskRequest(question))


def use_cores(n: int) -> None:
    """Keep this process, and the stack that it starts, on n of the cores that it may use.

    Raises:
        InvalidArgumentError: The system cannot pin processes, or has fewer cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise InvalidArgumentError("cores needs a system that can pin processes, such as Linux")
    allowed = sorted(os.sched_getaffinity(0))
    if n > len(allowed):
        raise InvalidArgumentError(f"cores must be in 1..{len(allowed)}, got {n}")
    os.sched_setaffinity(0, allowed[:n])
