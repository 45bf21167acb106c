from __future__ import annotations

from collections.abc import Callable

import pytest
from retriever_document import A1, E2, PTP, document

from services.retriever.embedder.hashing import HashingEmbedder
from services.retriever.memory import MemoryStore
from services.retriever.retriever import Retriever


@pytest.fixture
def make_retriever() -> Callable[[], Retriever]:
    return lambda: Retriever(HashingEmbedder(), MemoryStore())


@pytest.fixture
def retriever(make_retriever: Callable[[], Retriever]) -> Retriever:
    made = make_retriever()
    made.ingest([document("a1.md", A1), document("e2.md", E2), document("sync/ptp.md", PTP)])
    return made
