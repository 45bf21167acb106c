"""The engine without a model: extractive answers, and choices by evidence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from argo.errors import NotReadyError
from argo.v1 import types_pb2
from services.lexicon.glossary import Glossary
from services.lexicon.thesaurus import Thesaurus
from services.synthesizer.choice import ChoiceRules, strip_enumerator, weigh_options
from services.synthesizer.confidence import answer_confidence
from services.synthesizer.engine import Answer, Citation, EvidencePassage, Focus, Note, SynthesisRequest
from services.synthesizer.extractive import (
    ExtractiveRules,
    answer_extractively,
    cite,
    count_tokens,
    not_found,
    read_evidence,
    repaired,
)
from services.synthesizer.ranking import Ranker
from services.synthesizer.statement import Statement

__all__ = ["BuiltinEngine"]


class BuiltinEngine:
    """Answers from sentences of the evidence; deterministic, and ready at once."""

    name = "builtin"
    model = ""

    def __init__(
        self, extractive: ExtractiveRules, choice: ChoiceRules, glossary: Glossary, thesaurus: Thesaurus
    ) -> None:
        self._extractive = extractive
        self._choice = choice
        self._glossary = glossary
        self._thesaurus = thesaurus

    async def warm_up(self) -> None:
        """Load the stemmer and compile the rules with one small answer of each kind."""
        passage = EvidencePassage("warm-up", "The O-DU hosts the RLC and MAC layers.", relevance=1.0)
        for options in ((), ("RLC", "PDCP")):
            self.answer(SynthesisRequest("Which layers does the O-DU host?", options, evidence=(passage,)))

    async def reason(
        self,
        question: str,
        options: Sequence[str],
        focus: Focus,
        passages: Sequence[str],
        time_limit_s: float | None = None,
    ) -> Note:
        """Refuse: thinking needs a model.

        Raises:
            NotReadyError: Always.
        """
        raise NotReadyError("Reason needs a language model; the builtin engine has none")

    async def synthesize(self, request: SynthesisRequest) -> AsyncIterator[str | Answer]:
        """Yield the answer sentence by sentence, and whole at the end."""
        answer = self.answer(request)
        for delta in answer.deltas:
            yield delta
            # Each sentence may leave before the next is queued, and a cancelled call ends here.
            await asyncio.sleep(0)
        yield answer

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Nothing can break by itself."""

    def describe(self) -> types_pb2.EngineInfo:
        """Its name."""
        return types_pb2.EngineInfo(name=self.name)

    async def close(self) -> None:
        """Nothing is held."""

    def ranker(self, statements: Sequence[Statement]) -> Ranker:
        """What ranks statements by how well they answer a text."""
        return Ranker(statements, self._glossary, self._thesaurus)

    def answer(self, request: SynthesisRequest) -> Answer:
        """The whole answer: free, or a choice where the question has options."""
        if request.options:
            return self._choose(request)
        return answer_extractively(request, self._extractive, self._glossary, self._thesaurus)

    def _choose(self, request: SynthesisRequest) -> Answer:
        """Pick an option with the statements that support it."""
        statements = read_evidence(request.evidence)
        ranker = self.ranker(statements)
        support = weigh_options(request.question, request.options, statements, ranker, self._glossary, self._choice)
        sure = answer_confidence(request.question, request.evidence, statements)
        if support.choice is None or sure < self._choice.abstain_confidence:
            refused = not_found(request)
            return Answer(
                refused.deltas,
                option_probabilities=support.probabilities,
                abstained=True,
                open_focus_ids=refused.open_focus_ids,
            )
        option = strip_enumerator(request.options[support.choice])
        deltas = [option if option.endswith((".", "!", "?")) else f"{option}."]
        citations: list[Citation] = []
        numbers: dict[str, int] = {}
        used = count_tokens(deltas[0])
        for index in support.statements:
            passage = request.evidence[statements[index].passage]
            shown, quote = repaired(statements, index, set())
            number = numbers.get(passage.id, len(numbers) + 1)
            delta = f" {shown} [{number}]"
            if citations and used + count_tokens(delta) > request.max_tokens:
                break
            used += count_tokens(delta)
            deltas.append(delta)
            cite(citations, number, passage, quote)
            numbers[passage.id] = number
        return Answer(tuple(deltas), tuple(citations), support.choice, support.probabilities)
