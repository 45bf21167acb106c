"""The exact answer cache: a request that was answered before, word for word, gets the same answer again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace

from argo.identity import current_tenant
from services.synthesizer.engine import Answer, SynthesisRequest, Work

__all__ = ["AnswerCache"]


class AnswerCache:
    """The latest answers, by all that determines them.

    Args:
        most: Answers kept; the one that was asked for least recently goes first. 0 keeps none.
        scope: What determines answers besides the request: model, profile, sampling, settings.
    """

    def __init__(self, most: int, scope: str) -> None:
        self._most = most
        self._scope = scope
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()

    def find(self, request: SynthesisRequest) -> Answer | None:
        """The answer that the same request was given, with no tokens used; None where there is none."""
        if not self._most:
            return None
        key = self._key(request)
        answer = self._answers.get(key)
        if answer is None:
            return None
        self._answers.move_to_end(key)
        return replace(answer, deltas=(answer.text,), work=Work())

    def keep(self, request: SynthesisRequest, answer: Answer) -> None:
        """Remember an answer. One that time or a failure shaped is for the caller not to hand in."""
        if not self._most:
            return
        self._answers[self._key(request)] = answer
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def _key(self, request: SynthesisRequest) -> bytes:
        """A digest of everything but the time limit, which shapes no answer that is kept."""
        parts = (
            self._scope,
            # What one tenant was answered is not shown to another, not even by how fast it comes.
            current_tenant(),
            request.question,
            tuple(request.options),
            [(focus.id, focus.text, focus.depends_on) for focus in request.foci],
            [
                (
                    passage.id,
                    passage.text,
                    passage.source,
                    passage.section,
                    passage.relevance,
                    sorted(passage.focus_relevance.items()),
                )
                for passage in request.evidence
            ],
            [(note.focus_id, note.text, note.confidence) for note in request.notes],
            request.max_tokens,
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
