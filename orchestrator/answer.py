"""The end of a question: the synthesizer's answer, or, where it is gone, the best passages quoted, or the notes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Final

from argo import limits
from argo.errors import ArgoError, ResourceExhaustedError, UnavailableError
from argo.v1 import orchestrator_pb2, synthesizer_pb2, types_pb2
from orchestrator.peer import FATAL, HopLog, Peers
from orchestrator.question import Question
from orchestrator.state import QuestionState

__all__ = ["REDUCED", "answer_event", "write_answer"]

_LOG = logging.getLogger(__name__)
_QUOTED_PASSAGES: Final = 3
_QUOTED_WORDS: Final = 60
_EVIDENCE_BYTES: Final = limits.REQUEST_BYTES * 3 // 4
"""Most of a request that passages may take; the rest is for question, options, foci and notes."""
_NO_TIME_MS: Final = 1
"""As the time limit of an answer: too little for any model, so that the extractive way is taken at once."""
REDUCED: Final = types_pb2.Degradation(
    kind=types_pb2.DEGRADATION_KIND_OVERLOAD,
    detail="the orchestrator was full; one search with the question itself, and the extractive answer",
)
"""Flag of a question that is answered as cheaply as can be."""
_ENGINE_FULL: Final = types_pb2.Degradation(
    kind=types_pb2.DEGRADATION_KIND_EXTRACTIVE,
    detail="the synthesizer's engine was full; the answer quotes the passages instead",
)
"""Flag of an answer that the model had no place for."""
_LATE_S: Final = 0.5
"""How far past a soft budget the synthesizer is waited for before passages are quoted instead of its answer."""


async def write_answer(
    question: Question,
    state: QuestionState,
    peers: Peers,
    hops: HopLog,
    on_delta: Callable[[str], None],
) -> synthesizer_pb2.SynthesizedAnswer:
    """Let the synthesizer write the answer from the kept passages; where it cannot, quote them, or give the notes.

    Raises:
        UnavailableError: The synthesizer is gone, and there is neither passage nor note.
    """
    kept = _fitting(state.evidence.kept())
    time_left_s = question.time_left_s()
    request = synthesizer_pb2.SynthesizeRequest(
        question=question.text,
        options=question.options,
        evidence=kept,
        notes=state.notes,
        foci=state.foci,
        max_tokens=question.max_answer_tokens,
    )
    if time_left_s is not None:
        request.time_limit_ms = max(1, int(time_left_s * 1000))
    if question.reduced:
        request.time_limit_ms = _NO_TIME_MS
    writing = _Writing(question, peers, hops, on_delta)
    answer = await writing.answer(request)
    if answer is None and writing.was_refused:
        # Not the same call again: this one needs no engine.
        request.time_limit_ms = _NO_TIME_MS
        answer = await writing.answer(request)
        if answer is not None:
            answer.degradation.CopyFrom(_ENGINE_FULL)
    if answer is None:
        return _quote(question, kept, state.notes, writing.fault)
    if question.reduced:
        # Asked for, not lost: the question's own flag says so.
        answer.ClearField("degradation")
    _keep_known_citations(answer, {passage.id for passage in kept})
    return answer


class _Writing:
    """Asks the synthesizer for the answer of one question.

    Args:
        question: The question.
        peers: The services.
        hops: Where calls are recorded.
        on_delta: Takes the text as it streams.
    """

    def __init__(self, question: Question, peers: Peers, hops: HopLog, on_delta: Callable[[str], None]) -> None:
        self._question = question
        self._peers = peers
        self._hops = hops
        self._on_delta = on_delta
        self.fault = ""
        """Status of the last call, where it failed."""
        self.was_refused = False
        """Whether the last call was refused for want of a place, before a word of the answer."""

    async def answer(self, request: synthesizer_pb2.SynthesizeRequest) -> synthesizer_pb2.SynthesizedAnswer | None:
        """The answer; None where the call failed."""
        answer: synthesizer_pb2.SynthesizedAnswer | None = None
        self.was_refused, shown = False, False
        time_left_s, timeout_s = self._question.time_left_s(), self._question.hard_left_s()
        if time_left_s is not None and request.evidence:
            # Without passages nothing that is cited could be given instead: then a late answer is better.
            timeout_s = min(timeout_s, max(0.0, time_left_s) + _LATE_S)
        try:
            async for event in self._peers.synthesize(request, max(timeout_s, 0.001), self._hops):
                if event.HasField("delta"):
                    shown = True
                    self._on_delta(event.delta)
                else:
                    answer = event.answer
                    if time_left_s is not None:
                        self._peers.lateness.note(-(self._question.time_left_s() or 0.0))
        except FATAL:
            raise
        except ArgoError as error:
            # An answer that came whole is used, whatever became of its stream.
            self.fault = error.code.name
            self.was_refused = isinstance(error, ResourceExhaustedError) and not shown
            if self.was_refused:
                _LOG.info("the synthesizer had no place for the answer")
            else:
                _LOG.warning("the synthesizer failed: %s", self.fault)
        return answer


def _fitting(kept: Sequence[types_pb2.Passage]) -> list[types_pb2.Passage]:
    """The first passages that fit one request together: the cap on words does not bound bytes."""
    sizes = itertools.accumulate(passage.ByteSize() for passage in kept)
    return [passage for passage, size in zip(kept, sizes, strict=True) if size <= _EVIDENCE_BYTES]


def _keep_known_citations(answer: synthesizer_pb2.SynthesizedAnswer, known: set[str]) -> None:
    strangers = [citation.number for citation in answer.citations if citation.passage_id not in known]
    if not strangers:
        return
    _LOG.error("the synthesizer cited %d passages that were not sent to it; they are dropped", len(strangers))
    citations = [citation for citation in answer.citations if citation.number not in strangers]
    del answer.citations[:]
    answer.citations.extend(citations)
    for number in strangers:
        answer.text = answer.text.replace(f"[{number}]", "")


def _quote(
    question: Question, kept: Sequence[types_pb2.Passage], notes: Sequence[types_pb2.Note], reason: str
) -> synthesizer_pb2.SynthesizedAnswer:
    """The best passages; without any, the notes."""
    if not kept and not notes:
        raise UnavailableError("the synthesizer could not be reached and no passage was found that could be quoted")
    instead = "the best passages are quoted instead" if kept else "its notes are given instead"
    answer = synthesizer_pb2.SynthesizedAnswer(
        # An option cannot be chosen without a synthesizer; what was found is shown so that the reader can.
        abstained=bool(question.options),
        degradation=types_pb2.Degradation(
            kind=types_pb2.DEGRADATION_KIND_SYNTHESIZER, detail=f"the synthesizer failed ({reason}); {instead}"
        ),
    )
    if question.options:
        answer.option_probabilities.extend([1.0 / len(question.options)] * len(question.options))
    if not kept:
        told = "The answer could not be written; these are the notes made on the way."
        answer.text = "\n".join([told, *(note.text for note in notes)])
        return answer
    lines = ["The answer could not be written; these are the best passages found."]
    best = sorted(kept, key=lambda passage: -_relevance(passage))[:_QUOTED_PASSAGES]
    for number, passage in enumerate(best, start=1):
        words = passage.text.split()
        quote = " ".join(words[:_QUOTED_WORDS]) + (" ..." if len(words) > _QUOTED_WORDS else "")
        lines.append(f'"{quote}" [{number}]')
        answer.citations.append(
            synthesizer_pb2.Citation(
                number=number, passage_id=passage.id, source=passage.source, section=passage.section, quote=quote
            )
        )
    answer.text = "\n".join(lines)
    return answer


def _relevance(passage: types_pb2.Passage) -> float:
    """To what was searched or to the focus that it answers best; calibrated, so comparable over searches."""
    return max([passage.relevance, *(entry.relevance for entry in passage.focus_relevance)])


def answer_event(
    question: Question,
    state: QuestionState,
    written: synthesizer_pb2.SynthesizedAnswer,
    end_reason: orchestrator_pb2.EndReason,
    timing: orchestrator_pb2.QuestionTiming,
) -> orchestrator_pb2.Answer:
    """Assemble the last event of a question."""
    state.add_usage(written.usage)
    degradations = list(state.degradations)
    if written.HasField("degradation"):
        degradations.append(written.degradation)
    answer = orchestrator_pb2.Answer(
        text=written.text,
        citations=written.citations,
        passages=state.evidence.kept(),
        option_probabilities=written.option_probabilities,
        abstained=written.abstained,
        degradations=degradations,
        end_reason=end_reason,
        foci=state.foci,
        open_focus_ids=[focus.id for focus in state.open_foci],
        searches=state.searches,
        steps=len(state.steps),
        progress=state.progress,
        usage=state.usage,
        timing=timing,
        budget_ms=question.budget_ms,
        strategy=question.strategy.name,
    )
    if written.HasField("choice") and not written.abstained:
        answer.choice = written.choice
    if question.budget_s is not None:
        answer.within_budget = timing.total_s <= question.budget_s
    return answer
