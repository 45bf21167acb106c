"""Subqueries worded by a language model, read strictly, with the rules behind it."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from argo.errors import InvalidArgumentError, UnavailableError
from argo.v1 import types_pb2
from services.decomposer.builtin import BuiltinEngine
from services.decomposer.engine import Subquery, SubqueryRequest
from services.decomposer.plan import Focus
from services.decomposer.prompt import subquery_messages
from services.decomposer.subquery import EarlierPassage, EarlierSearch, History
from services.decomposer.subquery_cache import SubqueryCache
from services.engine.port import EngineDeadError, GenerationRequest, Sampling
from services.engine.profile import RoleSampling
from services.engine.served import ServedModel

__all__ = ["ModelEngine", "parse_subquery"]

_LOG = logging.getLogger(__name__)

# A digit behind the mark makes it part of a word: "38.401 handover", "-40 dBm".
_LABEL: Final = re.compile(r"(?:[-*\u2022](?!\d)|\d{1,2}[.)](?!\d)|(?:search|sub-?query|query)\s*\d*\s*[:=])", re.I)
_QUOTES: Final = "\"'`\u201c\u201d\u2018\u2019"
_REFUSAL: Final = re.compile(r"\b(?:as an ai|i (?:cannot|can't|am unable|don't)|sorry|here (?:is|are) )", re.IGNORECASE)
_MARKUP: Final = re.compile(r"[<>{}\[\]|\\]|\*\*|^#|https?://")
_WORDS: Final = (1, 40)
_MARGIN_S: Final = 0.005
_LEAST_TOKENS: Final = 8
"""Tokens without which no time is spent on a subquery. Chosen: a search of the four words that the prompt asks for at
least, at two tokens a word, which O-RAN's acronyms take."""


def parse_subquery(text: str) -> str | None:
    """The search in what a model wrote: its first line, without labels, list marks and quotes, white space folded.

    Returns:
        None where that is no search: empty, too long, markup, a refusal, or no word at all.
    """
    line = _bare(next((line for line in text.splitlines() if line.strip()), ""))
    words = [word for word in line.split() if any(character.isalnum() for character in word)]
    if not _WORDS[0] <= len(words) <= _WORDS[1] or len(line) < 3 or len(line) > 400:
        return None
    if _MARKUP.search(line) or _REFUSAL.search(line) or not line.isprintable():
        return None
    # A model that has lost its way says one thing again and again.
    if len(words) >= 8 and Counter(words).most_common(1)[0][1] > len(words) // 2:
        return None
    return line


def _bare(line: str) -> str:
    """A line without what stands around a search, however often and in whichever order."""
    before = ""
    line = " ".join(line.split())
    while line != before:
        before, line = line, line.strip(_QUOTES).strip()
        if label := _LABEL.match(line):
            line = line[label.end() :].strip()
    return line


class ModelEngine:
    """Words subqueries with a language model.

    Args:
        served: The model; it is started by the warm-up.
        rules: What words a subquery where the model does not.
        sampling: How tokens are drawn.
        always: Use the model for questions of one focus as well, which the rules word as well and faster.
        cache: What the model worded before.
    """

    def __init__(
        self,
        served: ServedModel,
        rules: BuiltinEngine,
        sampling: RoleSampling,
        *,
        always: bool,
        cache: SubqueryCache | None = None,
    ) -> None:
        self._served = served
        self._model = served.model
        self._rules = rules
        self._sampling = Sampling(
            max_tokens=sampling.max_tokens, temperature=sampling.temperature, top_p=sampling.top_p, stop=("\n",)
        )
        self._always = always
        # What is drawn is another subquery each time, which no cache may freeze.
        self._cache = cache if sampling.temperature == 0 else None
        self.fallbacks = 0
        """Subqueries that the rules worded because what the model wrote was none, or came too late."""

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self._model.name

    @property
    def model(self) -> str:
        """Name or path of the language model."""
        return self._model.model

    async def warm_up(self) -> None:
        """Load the model and run its paths."""
        await self._rules.warm_up()
        focus = Focus("f1", "What is the A1 interface used for", ())
        history = History((EarlierSearch("f1", "A1 interface"),), (EarlierPassage("A1 carries policies.", ()),))
        plain = SubqueryRequest("What is the A1 interface used for?", focus, foci=(focus,))
        later = dataclasses.replace(plain, history=history)
        # The special tokens are known only once the model is loaded, and this text has none.
        await self._served.start([self._request(request) for request in (plain, later)])

    async def word_subquery(self, request: SubqueryRequest) -> Subquery:
        """Word one search for one focus.

        Raises:
            EngineDeadError: The model is gone for good, and this process with it.
            ResourceExhaustedError: The engine takes no more for now; what asks for the rules' words gets them.
        """
        if len(request.foci) <= 1 and not self._always:
            return await self._rules.word_subquery(request)
        if self._cache is not None and (known := self._cache.find(request)) is not None:
            return known
        if request.by_rules or not self._fits(request.time_limit_s):
            by_rules = await self._rules.word_subquery(request)
            return dataclasses.replace(
                by_rules, degradation="too little time for the model; the rules worded the search"
            )
        try:
            generated = await self._served.whole(self._request(request))
        except EngineDeadError:
            raise
        except (UnavailableError, InvalidArgumentError) as error:
            # Also a prompt too long for the model, which is not the caller's doing: its bounds are ours.
            _LOG.warning("the model worded no subquery: %s", error)
            by_rules = await self._rules.word_subquery(request)
            return dataclasses.replace(by_rules, degradation="the model failed; the rules worded the search")
        # A search that the time limit cut off may lack the very word that it was for.
        late = generated.finish_reason == "time"
        text = None if late else parse_subquery(generated.text)
        subquery = Subquery(
            text or "",
            prompt_tokens=generated.prompt_tokens,
            completion_tokens=generated.completion_tokens,
            cached_tokens=generated.cached_tokens,
            timing=generated.timing,
        )
        if text is not None:
            if self._cache is not None:
                self._cache.keep(request, subquery)
            return subquery
        self.fallbacks += 1
        by_rules = await self._rules.word_subquery(request)
        degradation = "the model ran out of time; the rules worded the search" if late else ""
        return dataclasses.replace(subquery, text=by_rules.text, degradation=degradation)

    def _fits(self, time_limit_s: float | None) -> bool:
        """Whether the shortest subquery worth having can be there in time, at the pace of late."""
        pace = self._served.pace
        if time_limit_s is None or pace is None:
            return True
        return pace.answer_s(min(_LEAST_TOKENS, self._sampling.max_tokens)) <= time_limit_s - _MARGIN_S

    def _request(self, request: SubqueryRequest) -> GenerationRequest:
        limit_s = None if request.time_limit_s is None else max(_MARGIN_S, request.time_limit_s - _MARGIN_S)
        messages = subquery_messages(request, self._model.special_tokens)
        least = min(_LEAST_TOKENS, self._sampling.max_tokens)
        return GenerationRequest(messages, self._sampling, time_limit_s=limit_s, least_tokens=least, kind="subquery")

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Watch over the engine; see :class:`ServedModel`."""
        await self._served.watch(set_serving)

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        info = self._served.describe()
        info.subquery_tokens, info.margin_s = self._sampling.max_tokens, _MARGIN_S
        info.least_foci = 1 if self._always else 2
        return info

    def describe_cache(self) -> types_pb2.CacheInfo | None:
        """What GetInfo says of the subquery cache."""
        return self._cache.describe() if self._cache is not None else None

    async def close(self) -> None:
        """Stop the engine."""
        await self._served.close()
