"""Settings of the synthesizer, and the engines that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from argo.limits import ANSWER_TOKENS
from argo.settings import ServerSettings
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus
from services.synthesizer.builtin import BuiltinEngine
from services.synthesizer.choice import ChoiceRules
from services.synthesizer.engine import SynthesizerEngine
from services.synthesizer.extractive import ExtractiveRules

__all__ = ["ENGINES", "SynthesizerSettings", "make_engine"]

_EXTRACTIVE: Final = ExtractiveRules()
_CHOICE: Final = ChoiceRules()


class SynthesizerSettings(ServerSettings):
    """Where the synthesizer listens, which engine writes, and when an answer is refused."""

    model_config = SettingsConfigDict(env_prefix="ARGO_SYNTHESIZER_", frozen=True, extra="forbid")

    port: int = Field(default=50054, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    engine: str = "builtin"
    """Engine by name: "builtin" quotes the evidence and needs no model."""

    max_tokens: int = Field(default=256, ge=ANSWER_TOKENS[0], le=ANSWER_TOKENS[1])
    """Most tokens of an answer when the request leaves it unset."""

    abstain_confidence: float = Field(default=_EXTRACTIVE.abstain_confidence, ge=0, le=1)
    """Less sure than this that the documents answer: not found in these documents. On the scale of the retriever's
    relevance, so set it anew with another embedder."""

    abstain_coverage: float = Field(default=_EXTRACTIVE.abstain_coverage, ge=0, le=1)
    """No sentence with this share of the question's words, the rarer the heavier: the same."""

    sentences: int = Field(default=_EXTRACTIVE.sentences, ge=1, le=12)
    """Most sentences of an extractive answer."""

    choice_margin: float = Field(default=_CHOICE.margin, ge=0, le=1)
    """Least lead in probability of the chosen option over the next one."""

    choice_support: float = Field(default=_CHOICE.least_support, ge=0, le=1)
    """Least support by the evidence for any option to be chosen."""

    @field_validator("engine")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}")
        return name

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


def _make_builtin(settings: SynthesizerSettings) -> SynthesizerEngine:
    return BuiltinEngine(settings.extractive_rules(), settings.choice_rules(), load_glossary(), load_thesaurus())


ENGINES: Final[Mapping[str, Callable[[SynthesizerSettings], SynthesizerEngine]]] = MappingProxyType(
    {"builtin": _make_builtin}
)
"""Engine name to what makes it."""


def make_engine(settings: SynthesizerSettings) -> SynthesizerEngine:
    """The engine that the settings name."""
    return ENGINES[settings.engine](settings)
