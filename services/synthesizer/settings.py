"""Settings of the synthesizer, and the engines that they name."""

from __future__ import annotations

from typing import Final

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from argo.limits import ANSWER_TOKENS
from argo.telemetry import Telemetry
from services.engine.profile import load_profile
from services.engine.served import ServedModel
from services.engine.settings import EngineSettings
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus
from services.synthesizer.builtin import BuiltinEngine
from services.synthesizer.choice import ChoiceRules
from services.synthesizer.engine import SynthesizerEngine
from services.synthesizer.extractive import ExtractiveRules
from services.synthesizer.model import ModelEngine
from services.synthesizer.model_rule import ModelRules

__all__ = ["SynthesizerSettings", "make_engine"]

_EXTRACTIVE: Final = ExtractiveRules()
_CHOICE: Final = ChoiceRules()
_BUILTIN_TOKENS: Final = 256


class SynthesizerSettings(EngineSettings):
    """Where the synthesizer listens, which engine writes, and when an answer is refused."""

    model_config = SettingsConfigDict(env_prefix="ARGO_SYNTHESIZER_", frozen=True, extra="forbid")

    port: int = Field(default=50054, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    max_tokens: int | None = Field(default=None, ge=ANSWER_TOKENS[0], le=ANSWER_TOKENS[1])
    """Most tokens of an answer when the request leaves it unset; None takes the profile's, and 256 for builtin."""

    abstain_confidence: float = Field(default=_EXTRACTIVE.abstain_confidence, ge=0, le=1)
    """Extractive answers: less sure than this that the documents answer, they do not. On the scale of the retriever's
    relevance, so set it anew with another embedder."""

    abstain_coverage: float = Field(default=_EXTRACTIVE.abstain_coverage, ge=0, le=1)
    """No sentence with this share of the question's words, the rarer the heavier: the same."""

    sentences: int = Field(default=_EXTRACTIVE.sentences, ge=1, le=12)
    """Most sentences of an extractive answer."""

    choice_margin: float = Field(default=_CHOICE.margin, ge=0, le=1)
    """Least lead in probability of the chosen option over the next one."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """With a language model: 0 is greedy; None takes the profile's."""

    evidence_tokens: int = Field(default=1_500, ge=100, le=32_000)
    """With a language model: most tokens of passages in a prompt, the most relevant first."""

    compressed_evidence_tokens: int = Field(default=0, ge=0, le=32_000)
    """With a language model: show of each passage only the sentences nearest to the question, so many tokens of all
    together. A shorter prompt is computed faster, but what the ranker does not see the model does not either, and
    prompts of different questions share less. 0 shows whole passages; leave it so where answers are evaluated, unless
    this is what is evaluated."""

    fit_answer_length: bool = True
    """With a language model: fit the answer's length to the time left, at the measured pace. Switch it off where
    answers are compared with each other, since the load of the machine would then shape them."""

    least_answer_tokens: int = Field(default=24, ge=1, le=ANSWER_TOKENS[1])
    """With a language model: an answer that has time for fewer tokens quotes the passages instead."""

    draft_tokens: int = Field(default=0, ge=0, le=512)
    """With a language model: write a short answer of at most so many tokens first, and the details as a second
    paragraph if time is left. What a reader can use comes early; the whole takes a second prompt, most of which the
    prefix cache holds. 0 is off; leave it so where answers are scored, since the two may say a thing twice."""

    cached_answers: int = Field(default=0, ge=0, le=100_000)
    """With a language model at temperature 0: answers that are kept in memory and given again to the very same request,
    with the same evidence. 0 keeps none; leave it so wherever times or throughput are measured."""

    delta_interval_ms: int = Field(default=40, ge=0, le=1_000)
    """With a language model: least time between two pieces of a streamed answer, the first of which goes out at once.
    What comes in between is joined; 0 sends every token by itself, which a model of 2 ms a token makes the largest
    part of the processor time of a question."""

    note_tokens: int = Field(default=80, ge=8, le=512)
    """With a language model: most tokens of a note."""

    choice_permutations: int = Field(default=1, ge=1, le=10)
    """With a language model: rotations of the options over which a choice is averaged, which takes out a model's liking
    for a letter. Each costs one prompt more, of which the passages come from the prefix cache."""

    choice_support: float = Field(default=_CHOICE.least_support, ge=0, le=1)
    """Least support by the evidence for any option to be chosen."""

    def extractive_rules(self) -> ExtractiveRules:
        """How extractive answers are made under these settings."""
        return ExtractiveRules(
            abstain_confidence=self.abstain_confidence,
            abstain_coverage=self.abstain_coverage,
            sentences=self.sentences,
            sentences_one_focus=min(self.sentences, _EXTRACTIVE.sentences_one_focus),
        )

    def choice_rules(self) -> ChoiceRules:
        """When an option is chosen under these settings."""
        return ChoiceRules(margin=self.choice_margin, least_support=self.choice_support)

    def answer_tokens(self) -> int:
        """Most tokens of an answer where the request does not say.

        Raises:
            InvalidArgumentError: There is no such profile.
        """
        if self.max_tokens is not None:
            return self.max_tokens
        return _BUILTIN_TOKENS if self.engine == "builtin" else load_profile(self.profile).synthesizer.max_tokens

    def model_rules(self) -> ModelRules:
        """How a language model is made to answer under these settings."""
        return ModelRules(
            evidence_tokens=self.evidence_tokens,
            compressed_tokens=self.compressed_evidence_tokens,
            least_tokens=self.least_answer_tokens,
            fit_length=self.fit_answer_length,
            draft_tokens=self.draft_tokens,
            note_tokens=self.note_tokens,
            choice_permutations=self.choice_permutations,
            choice_margin=self.choice_margin,
            delta_interval_s=self.delta_interval_ms / 1000,
        )

    def model_info(self) -> dict[str, str]:
        """The settings of the language model that matter to a reader of answers; none with builtin."""
        if self.engine == "builtin":
            return {}
        names = (
            "evidence_tokens",
            "compressed_evidence_tokens",
            "fit_answer_length",
            "draft_tokens",
            "cached_answers",
            "choice_permutations",
        )
        return {name: str(getattr(self, name)).lower() for name in names}


def make_engine(settings: SynthesizerSettings, telemetry: Telemetry | None = None) -> SynthesizerEngine:
    """The engine that the settings name.

    Raises:
        ArgoError: The profile or the script is wrong.
    """
    extractive = BuiltinEngine(settings.extractive_rules(), settings.choice_rules(), load_glossary(), load_thesaurus())
    if settings.engine == "builtin":
        return extractive
    served = ServedModel(settings, telemetry)
    own = {"max_tokens": settings.answer_tokens(), "temperature": settings.temperature}
    sampling = served.profile.synthesizer.model_copy(
        update={name: value for name, value in own.items() if value is not None}
    )
    return ModelEngine(served, extractive, sampling, settings.model_rules(), cached_answers=settings.cached_answers)
