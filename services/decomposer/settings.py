"""Settings of the decomposer, and the engines that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from argo.settings import ServerSettings
from services.decomposer.builtin import BuiltinEngine
from services.decomposer.engine import DecomposerEngine
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus

__all__ = ["ENGINES", "DecomposerSettings", "make_engine"]


class DecomposerSettings(ServerSettings):
    """Where the decomposer listens and which engine words its subqueries."""

    model_config = SettingsConfigDict(env_prefix="ARGO_DECOMPOSER_", frozen=True, extra="forbid")

    port: int = Field(default=50052, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""

    engine: str = "builtin"
    """Engine by name: "builtin" is rules alone."""

    @field_validator("engine")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}")
        return name


ENGINES: Final[Mapping[str, Callable[[DecomposerSettings], DecomposerEngine]]] = MappingProxyType(
    {"builtin": lambda _: BuiltinEngine(load_glossary(), load_thesaurus())}
)
"""Engine name to what makes it."""


def make_engine(settings: DecomposerSettings) -> DecomposerEngine:
    """The engine that the settings name."""
    return ENGINES[settings.engine](settings)
