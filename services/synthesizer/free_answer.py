"""The free answer: a model's text as it streams, checked, and made whole where the model or the time gives out."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Final, cast

from argo.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from services.engine.coalesce import coalesced
from services.engine.port import EngineDeadError, Generated, GenerationRequest, Message, Sampling
from services.engine.prompt_canary import LeakedPromptError
from services.engine.served import ServedModel
from services.synthesizer.builtin import BuiltinEngine
from services.synthesizer.citation import CitationStream
from services.synthesizer.engine import Answer, Citation, EvidencePassage, SynthesisRequest, Work
from services.synthesizer.extractive import ExtractiveRules, cite, not_found, read_evidence
from services.synthesizer.model_rule import Deadline, ModelRules, affordable_tokens
from services.synthesizer.prompt import STOPS, answer_messages, draft_messages, refined_messages
from services.synthesizer.written_text import WrittenText

__all__ = ["FreeAnswer", "fall_back"]

_LOG = logging.getLogger(__name__)
_ELLIPSIS: Final = " \N{HORIZONTAL ELLIPSIS}"
_CITED: Final = re.compile(r"\[(\d+)\]$")
_ATTRIBUTED: Final = 0.5
"""Share of an uncited answer's terms, by weight, that a statement must have to be cited for it."""
_OPEN_RELEVANCE: Final = ExtractiveRules().open_relevance
_AFTER_REFUSAL: Final = 16
"""Characters behind a refusal for which its end is waited for."""


def fall_back(extractive: BuiltinEngine, request: SynthesisRequest, why: str, work: Work | None = None) -> Answer:
    """The extractive answer, flagged with the reason in one line."""
    return dataclasses.replace(
        extractive.answer(request),
        work=work or Work(),
        degradation=f"{why}; the answer quotes the passages instead",
    )


class FreeAnswer:
    """Writes one free answer with a language model.

    Where the model fails or the time is up, what was streamed stays if it holds a whole sentence, and ends in an
    ellipsis if it stops inside another; else the extractive answer follows as a paragraph of its own. Both are flagged.
    An answer that reaches its token limit inside a sentence ends in an ellipsis as well; that is no fault.

    Args:
        served: The model.
        extractive: What answers where the model does not.
        sampling: How tokens are drawn; its length is the request's.
        rules: Lengths and switches.
        request: What is asked.
        shown: Passages as the prompt numbers them.
        deadline: When it should be finished.
    """

    def __init__(
        self,
        served: ServedModel,
        extractive: BuiltinEngine,
        sampling: Sampling,
        rules: ModelRules,
        request: SynthesisRequest,
        shown: Sequence[EvidencePassage],
        deadline: Deadline,
    ) -> None:
        self._served = served
        self._extractive = extractive
        self._sampling = sampling
        self._rules = rules
        self._request = request
        self._shown = shown
        self._deadline = deadline
        whole = {passage.id: passage for passage in request.evidence}
        self._originals = [whole.get(passage.id, passage) for passage in shown]
        self._written = WrittenText(CitationStream(self._originals))
        self._work = Work()
        self._fault = ""
        self._leaked = False
        self._cut = False
        self._raw = ""
        self.is_exact = False
        """Whether neither a failure nor the time had a part in the answer, so that it may be given again."""

    async def write(self) -> AsyncGenerator[str | Answer, None]:
        """Yield the deltas, and the answer last. Closing it aborts the generation.

        Raises:
            EngineDeadError: The model is gone for good.
            ResourceExhaustedError: The engine takes no more, and nothing was written yet.
        """
        request = self._request
        tokens = self._affordable(request.max_tokens)
        self.is_exact = tokens == request.max_tokens
        if tokens < min(self._rules.least_tokens, request.max_tokens):
            left_ms = (self._deadline.left_s() or 0.0) * 1000
            ending = self._replaced(fall_back(self._extractive, request, f"{left_ms:.0f} ms were left for a model"))
        else:
            async with contextlib.aclosing(self._stages(tokens)) as deltas:
                async for delta in deltas:
                    yield delta
            ending = self._ending()
        for event in ending:
            yield event

    def _affordable(self, asked: int) -> int:
        return affordable_tokens(asked, self._served, self._rules, self._deadline)

    async def _stages(self, tokens: int) -> AsyncGenerator[str, None]:
        """The answer; or a short one, and the details in a second paragraph if time is left."""
        request, special = self._request, self._served.model.special_tokens
        asked = (request.question, request.foci, self._shown, request.notes, special)
        draft = self._rules.draft_tokens
        whole = not draft or tokens <= draft
        prompt = answer_messages(*asked, tokens) if whole else draft_messages(*asked)
        async with contextlib.aclosing(self._generated(prompt, tokens if whole else draft)) as deltas:
            async for delta in deltas:
                yield delta
        if whole or self._fault or self._written.refused or not self._written.text:
            return
        tokens = self._affordable(request.max_tokens - self._work.completion_tokens)
        if tokens < self._rules.least_tokens:
            self.is_exact = False
            return
        if self._cut and not self._written.is_ended:
            for delta in self._written.add(_ELLIPSIS):
                yield delta
        self._written.begin_paragraph()
        refined = refined_messages(prompt, self._raw, special)
        async with contextlib.aclosing(self._generated(refined, tokens)) as deltas:
            async for delta in deltas:
                yield delta

    async def _generated(self, messages: Sequence[Message], tokens: int) -> AsyncGenerator[str, None]:
        """What may be shown of one generation; how it ended is noted."""
        asked = GenerationRequest(
            messages,
            dataclasses.replace(self._sampling, max_tokens=tokens, stop=STOPS),
            time_limit_s=self._deadline.left_s(),
            # Where lengths are not fitted to the time, none is too short.
            least_tokens=min(self._rules.least_tokens, tokens) if self._rules.fit_length else 1,
            shortens=self._rules.fit_length,
            kind="answer",
        )
        try:
            written = cast("AsyncGenerator[str | Generated, None]", self._served.model.generate(asked))
            async with contextlib.aclosing(coalesced(written, self._rules.delta_interval_s)) as parts:
                async for part in parts:
                    if isinstance(part, Generated):
                        self._ended(part)
                        # Fitted once more, to what the wait for the engine left of the time.
                        self.is_exact &= not self._cut or part.completion_tokens >= tokens
                    elif delta := self._written.feed(part):
                        yield delta
                    elif self._written.beyond_refusal > _AFTER_REFUSAL:
                        break
        except EngineDeadError:
            raise
        except ResourceExhaustedError:
            if not self._written.text:
                raise
            # The short answer is there, and only its details are not.
            self._fault = "the engine was full"
        except LeakedPromptError as error:
            _LOG.warning("an answer was withheld: %s", error)
            self._leaked, self._fault = True, "the model wrote of its instructions"
        except (UnavailableError, InvalidArgumentError) as error:
            _LOG.warning("the model wrote no whole answer: %s", error)
            self._fault = "the model failed"
        if rest := self._written.finish():
            yield rest

    def _ended(self, generated: Generated) -> None:
        self._served.note(generated)
        self._work = self._work.plus(generated)
        self._raw = generated.text
        self._cut = generated.finish_reason != "stop"
        self._fault = ""
        if generated.finish_reason == "time":
            self._fault = "its time was up" if generated.begun else "its turn would have come too late"

    def _ending(self) -> list[str | Answer]:
        """What is still to be shown behind the model's words, and the answer."""
        request, written = self._request, self._written
        self.is_exact = self.is_exact and not self._fault
        if written.refused:
            return self._replaced(dataclasses.replace(not_found(request), work=self._work))
        if not written.text.strip():
            why = self._fault or "the model wrote nothing"
            return self._replaced(fall_back(self._extractive, request, why, self._work))
        if self._leaked or (self._fault and not written.has_sentence):
            quoted = self._extractive.answer(request)
            if not quoted.abstained:
                return self._continued(quoted)
        return self._finished()

    def _replaced(self, answer: Answer) -> list[str | Answer]:
        """Another answer than the model's, which showed blanks at most."""
        self.is_exact = self.is_exact and not answer.degradation
        return [*answer.deltas, dataclasses.replace(answer, deltas=(*self._written.deltas, *answer.deltas))]

    def _finished(self) -> list[str | Answer]:
        """The model's answer, marked where it stops inside a sentence, and attributed where it cites nothing."""
        written = self._written
        citations = written.stream.citations(written.text, self._extractive.ranker)
        added: list[str] = []
        if (self._cut or self._fault) and not written.is_ended:
            added = written.add(_ELLIPSIS)
        elif not citations and (citation := self._attributed(written.text)):
            citations = [citation]
            added = written.add(f" [{citation.number}]")
        answer = Answer(
            tuple(written.deltas),
            tuple(citations),
            open_focus_ids=_open_focus_ids(self._request),
            work=self._work,
            degradation=f"the answer ends early: {self._fault}" if self._fault else "",
        )
        return [*added, answer]

    def _continued(self, extractive: Answer) -> list[str | Answer]:
        """The words that were shown, and the extractive answer behind them, its citations counted on."""
        written = self._written
        citations = written.stream.citations(written.text, self._extractive.ranker)
        numbers: dict[int, int] = {}
        for cited in extractive.citations:
            numbers[cited.number] = number = written.stream.number(cited.passage_id)
            passage = next(each for each in self._request.evidence if each.id == cited.passage_id)
            cite(citations, number, passage, cited.quote)
        quoted = [_CITED.sub(lambda found: f"[{numbers[int(found[1])]}]", delta) for delta in extractive.deltas]
        added = written.add(f"{_ELLIPSIS}\n\n", *quoted)
        answer = dataclasses.replace(
            extractive,
            deltas=tuple(written.deltas),
            citations=tuple(citations),
            work=self._work,
            degradation=f"{self._fault}; the answer quotes the passages instead",
        )
        return [*added, answer]

    def _attributed(self, text: str) -> Citation | None:
        """A citation for an answer without any, where a passage says what it says."""
        statements = read_evidence(self._originals)
        shares = self._extractive.ranker(statements).coverages(text)
        if max(shares, default=0.0) < _ATTRIBUTED:
            return None
        best = statements[shares.index(max(shares))]
        passage = self._originals[best.passage]
        number = self._written.stream.number(passage.id)
        return Citation(number, passage.id, passage.source, passage.section, best.quote)


def _open_focus_ids(request: SynthesisRequest) -> tuple[str, ...]:
    """Foci of several on which there is no note, and to which no passage is relevant."""
    noted = {note.focus_id for note in request.notes}
    if len(request.foci) < 2:
        return ()
    return tuple(
        focus.id
        for focus in request.foci
        if focus.id not in noted
        and max((passage.focus_relevance.get(focus.id, passage.relevance) for passage in request.evidence), default=0.0)
        < _OPEN_RELEVANCE
    )
