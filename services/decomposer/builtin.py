"""The engine without a model: subqueries by rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from argo.v1 import types_pb2
from services.decomposer.engine import Subquery, SubqueryRequest
from services.decomposer.plan import plan_foci
from services.decomposer.subquery import word_subquery
from services.lexicon.glossary import Glossary
from services.lexicon.thesaurus import Thesaurus

__all__ = ["BuiltinEngine"]


class BuiltinEngine:
    """Words subqueries from the focus, glossary, thesaurus and earlier evidence; deterministic, and ready at once."""

    name = "builtin"
    model = ""

    def __init__(self, glossary: Glossary, thesaurus: Thesaurus) -> None:
        self._glossary = glossary
        self._thesaurus = thesaurus

    async def warm_up(self) -> None:
        """Load the stemmer and the regular expressions with one small question."""
        question = "Compare the near-RT RIC and the non-RT RIC."
        for focus in plan_foci(question):
            await self.word_subquery(SubqueryRequest(question, focus))

    async def word_subquery(self, request: SubqueryRequest) -> Subquery:
        """Word one search for one focus."""
        return Subquery(
            word_subquery(
                request.question,
                request.options,
                request.focus,
                request.foci,
                request.history,
                self._glossary,
                self._thesaurus,
            )
        )

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Nothing can break by itself."""

    def describe(self) -> types_pb2.EngineInfo:
        """Its name."""
        return types_pb2.EngineInfo(name=self.name)

    def describe_cache(self) -> types_pb2.CacheInfo | None:
        """None: the rules are faster than a cache."""
        return None

    async def close(self) -> None:
        """Nothing is held."""
