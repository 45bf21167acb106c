"""Answers, choices and notes by a language model, with the extractive answer behind it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Final

from argo.errors import DeadlineExceededError, InvalidArgumentError, ResourceExhaustedError, UnavailableError
from argo.v1 import types_pb2
from services.engine.port import EngineDeadError, EngineStalledError, Generated, GenerationRequest, Message, Sampling
from services.engine.profile import RoleSampling
from services.engine.served import ServedModel
from services.synthesizer.answer_cache import AnswerCache
from services.synthesizer.builtin import BuiltinEngine
from services.synthesizer.citation import CitationStream
from services.synthesizer.engine import Answer, EvidencePassage, Focus, Note, SynthesisRequest, Work
from services.synthesizer.evidence import compress_evidence, fit_evidence, fit_texts
from services.synthesizer.extractive import not_found
from services.synthesizer.free_answer import FreeAnswer, fall_back
from services.synthesizer.model_choice import choice_request, choose, chosen_answer
from services.synthesizer.model_rule import Deadline, ModelRules, affordable_tokens
from services.synthesizer.prompt import (
    STOPS,
    VERDICTS,
    answer_messages,
    note_messages,
    refined_messages,
    verdict_messages,
)
from services.synthesizer.written_text import without_controls

__all__ = ["ModelEngine"]

_LOG = logging.getLogger(__name__)
_TOKEN_COUNTS: Final = 8_192
"""Texts whose tokens are remembered: popular passages come back with every other question."""
_PROMPT_RESERVE: Final = 256
"""Tokens of rules, examples and chat template beside what is counted."""


class ModelEngine:
    """Writes with a language model.

    Args:
        served: The model; it is started by the warm-up.
        extractive: Answers where the model does not.
        sampling: How tokens are drawn, and the length of an answer that the warm-up runs.
        rules: Lengths, budgets and switches.
        cached_answers: Answers that are kept to be given again; 0 for none.
    """

    def __init__(
        self,
        served: ServedModel,
        extractive: BuiltinEngine,
        sampling: RoleSampling,
        rules: ModelRules,
        *,
        cached_answers: int = 0,
    ) -> None:
        self._served = served
        self._model = served.model
        self._extractive = extractive
        self._sampling = Sampling(
            max_tokens=sampling.max_tokens, temperature=sampling.temperature, top_p=sampling.top_p
        )
        self._rules = rules
        scope = f"{self._model.name} {self._model.model} {served.profile.label} {self._sampling} {rules}"
        # What is drawn is another answer each time, which no cache may freeze.
        self._cache = AnswerCache(cached_answers if sampling.temperature == 0 else 0, scope)
        self._count_tokens = lru_cache(_TOKEN_COUNTS)(self._model.count_tokens)

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self._model.name

    @property
    def model(self) -> str:
        """Name or path of the language model."""
        return self._model.model

    async def warm_up(self) -> None:
        """Load the model and run its paths: note, verdict, choice and answer, and its refinement where that is on."""
        await self._extractive.warm_up()
        await self._served.start(self._warm_up_requests())

    def _warm_up_requests(self) -> list[GenerationRequest]:
        """One of each kind that is sent, the answer last: its pace is the one that is measured."""
        evidence = (EvidencePassage("warm-up", "The O-DU hosts the RLC and MAC layers.", relevance=1.0),)
        question = "Which layers does the O-DU host?"
        focus = Focus("f1", question)
        asked = note_messages(question, (), focus, [evidence[0].text], ())
        answer = answer_messages(question, (focus,), evidence, (), (), self._sampling.max_tokens)
        choice = SynthesisRequest(question, ("RLC and MAC", "PDCP"))
        requests = [
            self._note_request(asked, None),
            self._verdict_request(asked, "RLC and MAC.", None),
            choice_request(choice, evidence, (0, 1), (), None),
        ]
        if self._rules.draft_tokens:
            refined = refined_messages(answer, "RLC and MAC [1].", ())
            requests.append(GenerationRequest(refined, self._sampling, kind="answer"))
        return [*requests, GenerationRequest(answer, self._sampling, kind="answer")]

    async def reason(
        self,
        question: str,
        options: Sequence[str],
        focus: Focus,
        passages: Sequence[str],
        time_limit_s: float | None = None,
    ) -> Note:
        """Write a note, and ask the model once more, in one token, whether it settles the focus.

        The confidence is the probability of "yes" against "no": the model's own, uncalibrated belief. 0 where the
        verdict could not be had: such a note closes nothing.

        Raises:
            UnavailableError: The model failed.
            DeadlineExceededError: Its time was up before a word of the note.
            ResourceExhaustedError: The engine takes no more for now, or gives nothing.
        """
        deadline = Deadline(time_limit_s, self._rules.time_margin_s)
        most = self._evidence_tokens(self._rules.note_tokens, [question, *options, focus.text])
        fitting = fit_texts(passages, most, self._count_tokens)
        asked = note_messages(question, options, focus, fitting, self._model.special_tokens)
        try:
            written = await self._served.whole(self._note_request(asked, deadline.left_s()))
        except EngineStalledError as error:
            # Not UNAVAILABLE, for the reason given below: without its model the service still answers.
            raise ResourceExhaustedError(str(error)) from error
        work = Work().plus(written)
        # Numbers of this prompt's passages mean nothing in the prompt that the note goes into.
        text = " ".join(CitationStream(()).feed(without_controls(written.text)).split())
        if not text and written.finish_reason == "time":
            # Not UNAVAILABLE: that is tried again, and counts against a service that is well.
            raise DeadlineExceededError("the note's time was up before the model wrote a word")
        if not text:
            return Note(focus.id, "", 0.0, work)
        try:
            verdict = await self._served.whole(self._verdict_request(asked, text, deadline.left_s()))
        except EngineDeadError:
            raise
        except (UnavailableError, InvalidArgumentError, ResourceExhaustedError) as error:
            _LOG.warning("a note has no verdict: %s", error)
            return Note(focus.id, text, 0.0, work)
        return Note(focus.id, text, _confidence(verdict), work.plus(verdict))

    def _note_request(self, asked: Sequence[Message], left_s: float | None) -> GenerationRequest:
        sampling = dataclasses.replace(self._sampling, max_tokens=self._rules.note_tokens, stop=STOPS)
        return GenerationRequest(asked, sampling, time_limit_s=left_s, kind="note")

    def _verdict_request(self, asked: Sequence[Message], note: str, left_s: float | None) -> GenerationRequest:
        messages = verdict_messages(asked, note, self._model.special_tokens)
        return GenerationRequest(
            messages, Sampling(max_tokens=1), choices=VERDICTS, time_limit_s=left_s, kind="verdict"
        )

    async def synthesize(self, request: SynthesisRequest) -> AsyncIterator[str | Answer]:
        """Yield text deltas, and the answer last; its text is the deltas joined.

        Raises:
            EngineDeadError: The model is gone for good, and this process with it.
            ResourceExhaustedError: The engine takes no more for now, and nothing was written yet. The extractive answer
                is not given in its place: whoever asked may know of a better one.
        """
        deadline = Deadline(request.time_limit_s, self._rules.time_margin_s)
        if (known := self._cache.find(request)) is not None:
            answers = _events(known)
        elif request.options:
            answers = self._choice(request, deadline)
        elif not request.evidence and not request.notes:
            answers = _events(not_found(request))
        else:
            answers = self._free(request, deadline)
        async with contextlib.aclosing(answers) as events:
            async for event in events:
                yield event

    async def _free(self, request: SynthesisRequest, deadline: Deadline) -> AsyncGenerator[str | Answer, None]:
        shown = self._shown(request)
        free = FreeAnswer(self._served, self._extractive, self._sampling, self._rules, request, shown, deadline)
        async with contextlib.aclosing(free.write()) as events:
            async for event in events:
                if isinstance(event, Answer) and free.is_exact:
                    self._cache.keep(request, event)
                yield event

    async def _choice(self, request: SynthesisRequest, deadline: Deadline) -> AsyncGenerator[str | Answer, None]:
        answer = await self._chosen(request, deadline)
        if not answer.degradation:
            self._cache.keep(request, answer)
        async for event in _events(answer):
            yield event

    async def _chosen(self, request: SynthesisRequest, deadline: Deadline) -> Answer:
        """The model's choice, or the extractive one where it made none."""
        if affordable_tokens(1, self._served, self._rules, deadline) < 1:
            left_ms = (deadline.left_s() or 0.0) * 1000
            return fall_back(self._extractive, request, f"{left_ms:.0f} ms were left for a model")
        shown = self._shown(request)
        try:
            weighed = await choose(self._served, request, shown, self._rules.choice_permutations, deadline.left_s())
        except EngineDeadError:
            raise
        except (UnavailableError, InvalidArgumentError) as error:
            _LOG.warning("the model chose nothing: %s", error)
            return fall_back(self._extractive, request, "the model chose no option")
        if weighed is None:
            return fall_back(self._extractive, request, "the model chose no option in time")
        probabilities, work = weighed
        return chosen_answer(
            request, request.evidence, probabilities, work, self._rules.choice_margin, self._extractive.ranker
        )

    def _shown(self, request: SynthesisRequest) -> list[EvidencePassage]:
        """The passages of a prompt, in its order."""
        texts = [request.question, *request.options, *(focus.text for focus in request.foci)]
        texts += [note.text for note in request.notes]
        most = self._evidence_tokens(request.max_tokens, texts)
        if not self._rules.compressed_tokens:
            return fit_evidence(request.evidence, most, self._count_tokens)
        asked = [request.question, *(focus.text for focus in request.foci)]
        most = min(most, self._rules.compressed_tokens)
        return compress_evidence(request.evidence, asked, most, self._count_tokens, self._extractive.ranker)

    def _evidence_tokens(self, max_tokens: int, texts: Sequence[str]) -> int:
        """The budget of passages, and no more than the model has room for beside the other texts and the answer."""
        most_len = self._served.max_model_len
        if not most_len:
            return self._rules.evidence_tokens
        left = most_len - _PROMPT_RESERVE - max_tokens - self._rules.draft_tokens
        # No text has more tokens than bytes, so most need not be counted.
        if left - sum(len(text.encode()) for text in texts) >= self._rules.evidence_tokens:
            return self._rules.evidence_tokens
        return max(0, min(self._rules.evidence_tokens, left - sum(map(self._count_tokens, texts))))

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Watch over the engine; see :class:`ServedModel`."""
        await self._served.watch(set_serving)

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        info, rules = self._served.describe(), self._rules
        info.note_tokens, info.least_answer_tokens = rules.note_tokens, rules.least_tokens
        info.margin_s = rules.time_margin_s
        return info

    async def close(self) -> None:
        """Stop the engine."""
        await self._served.close()


async def _events(answer: Answer) -> AsyncGenerator[str | Answer, None]:
    for delta in answer.deltas:
        yield delta
    yield answer


def _confidence(verdict: Generated) -> float:
    """Probability of yes; where a server tells none, its letter alone."""
    if verdict.probabilities:
        return verdict.probabilities[0]
    return float(verdict.text.strip() == VERDICTS[0])
