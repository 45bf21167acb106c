"""Settings of the retriever."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from argo import limits
from argo.settings import ServerSettings
from services.retriever.passage import PassageRules
from services.retriever.search import EXACT_PASSAGES

__all__ = ["RetrieverSettings"]


class RetrieverSettings(ServerSettings):
    """Which Chroma collection to serve, with which embedder, and how much of it one search returns."""

    model_config = SettingsConfigDict(env_prefix="ARGO_RETRIEVER_", frozen=True, extra="forbid")

    port: int = Field(default=50053, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    index_path: Path = Path(".argo/index/default")
    """Folder of the embedded Chroma; one retriever owns it. Unused with a server."""

    chroma_url: str | None = None
    """Chroma server, such as http://127.0.0.1:8000, which several retrievers may share; None keeps Chroma inside this
    process."""

    follow_s: float = Field(default=0.5, ge=0.02, le=60)
    """With a Chroma server: seconds between two looks at whether another retriever has changed the collection."""

    collection: str = Field(default="argo", pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{1,61}[a-zA-Z0-9]$")
    """Name of the collection."""

    embedder: str = "hashing"
    """`hashing`, `sentence-transformers:<name or path>`, `onnx-minilm` or `openai:<url>#<model>`."""

    top_k: int = Field(default=10, ge=limits.TOP_K[0], le=limits.TOP_K[1])
    """Passages per search when the request leaves it unset."""

    passage_words: int = Field(default=260, ge=40, le=1_000)
    """Most words of a passage; changing it makes the next ingest read every document again."""

    table_words: int = Field(default=280, ge=40, le=2_000)
    """A table up to this many words stays whole; a longer one is split between rows."""

    overlap_words: int = Field(default=30, ge=0, le=200)
    """Most words that a passage repeats of the one before it in the same section."""

    exact_passages: int = Field(default=EXACT_PASSAGES, ge=0)
    """Largest collection whose vectors are all compared at each search; beyond it the store's index is asked."""

    reader_timeout_s: float = Field(default=60, ge=1, le=600)
    """Seconds that one document may take to be read; one that takes longer is reported and skipped."""

    reader_memory_mib: int = Field(default=1_024, ge=256, le=65_536)
    """Memory (address space) of the process that reads documents; one that takes more is reported and skipped."""

    def passage_rules(self) -> PassageRules:
        """How documents are cut."""
        return PassageRules(
            words=self.passage_words,
            table_words=self.table_words,
            overlap_words=self.overlap_words,
            pack_words=self.passage_words,
        )
