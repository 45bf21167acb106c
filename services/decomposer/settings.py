"""Settings of the decomposer, and the engine that they name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from argo.telemetry import Telemetry
from services.decomposer.builtin import BuiltinEngine
from services.decomposer.engine import DecomposerEngine
from services.decomposer.model import ModelEngine
from services.decomposer.subquery_cache import SubqueryCache
from services.engine.served import ServedModel
from services.engine.settings import EngineSettings
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus

__all__ = ["DecomposerSettings", "make_engine"]


class DecomposerSettings(EngineSettings):
    """Where the decomposer listens and which engine words its subqueries."""

    model_config = SettingsConfigDict(env_prefix="ARGO_DECOMPOSER_", frozen=True, extra="forbid")

    port: int = Field(default=50052, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    mode: Literal["auto", "model"] = "auto"
    """With a language model: "auto" lets the rules word the subqueries of questions with one focus, which takes no
    time; "model" has the model word all of them."""

    max_tokens: int | None = Field(default=None, ge=4, le=400)
    """Most tokens of a subquery; None takes the profile's."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 is greedy; None takes the profile's."""

    cached_subqueries: int = Field(default=0, ge=0, le=16_384)
    """With a language model at temperature 0: subqueries of first steps that are kept in memory, 8 KiB each, and used
    again for a focus much like theirs, which takes 0.3 ms in place of a generation. 0 keeps none; leave it so wherever
    times, throughput or answers are measured, since one question is then searched in the words of another."""

    cache_similarity: float = Field(default=0.95, ge=0.5, le=1)
    """Least cosine of the hashed vectors of the two questions, and of the two foci, at which a subquery is used again;
    names, numbers and words such as "not" must be the same at any. On 30 questions of O-RAN documents 0.95 finds 34 of
    40 foci of questions in which a few words differ, and 1 of 41 where those words ask for something else; 0.9 finds 35
    and 7, 0.98 finds 33 and 1 (docs/results/subquery-cache). Questions reworded throughout are found by none."""


def make_engine(settings: DecomposerSettings, telemetry: Telemetry | None = None) -> DecomposerEngine:
    """The engine that the settings name.

    Raises:
        ArgoError: The profile or the script is wrong.
    """
    rules = BuiltinEngine(load_glossary(), load_thesaurus())
    if settings.engine == "builtin":
        return rules
    served = ServedModel(settings, telemetry)
    own = {"max_tokens": settings.max_tokens, "temperature": settings.temperature}
    sampling = served.profile.decomposer.model_copy(
        update={name: value for name, value in own.items() if value is not None}
    )
    cache = SubqueryCache(settings.cached_subqueries, settings.cache_similarity, load_glossary())
    return ModelEngine(served, rules, sampling, always=settings.mode == "model", cache=cache)
