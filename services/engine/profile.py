"""Profiles: named, versioned sets of engine options and sampling, kept as files beside this module.

A profile names its base and holds only what it changes, so that a rung of the ladder shows its one change.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from argo.errors import InvalidArgumentError
from services.engine.port import EngineOptionError

__all__ = ["Change", "Profile", "RoleSampling", "changes", "check_options", "load_profile", "profile_names"]

_FOLDER: Final = Path(__file__).parent / "profiles"


class RoleSampling(BaseModel):
    """How one service draws its tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(ge=1, le=2_048)
    """Most tokens of one generation."""
    temperature: float = Field(ge=0, le=2)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Share of probability that is drawn from."""


class Profile(BaseModel):
    """A profile with all that its bases say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int = Field(ge=1)
    base: str | None = None
    """Profile that it changes; None for one of its own."""
    summary: str
    """What it does, in a line."""
    avoid_when: str = ""
    """When not to use it."""
    source: str = ""
    """Where its options are described."""
    status: str = Field(default="", pattern=r"^$|^(default|removed) since version \d")
    """Where vLLM does it by default, or no longer has it: since which version."""
    effect: str = ""
    """What was measured, and on what; empty where nothing was."""
    model: str
    decomposer: RoleSampling
    synthesizer: RoleSampling
    engine: Mapping[str, Any]
    """vLLM's AsyncEngineArgs options by name."""

    @property
    def label(self) -> str:
        """Name and version, such as "params@1"."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting in which two profiles differ."""

    setting: str
    """Such as "model", "synthesizer.max_tokens" or "dtype"."""
    before: Any
    """None where the first does not set it."""
    after: Any
    """None where the second does not set it."""

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.setting}={_json(self.after)}"
        return f"{self.setting} {_json(self.before)} -> {'unset' if self.after is None else _json(self.after)}"


def changes(before: Profile, after: Profile) -> tuple[Change, ...]:
    """What the second profile does otherwise than the first: model, sampling, then options by name."""
    one, other = _settings(before), _settings(after)
    return tuple(
        Change(name, one.get(name), other.get(name))
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    )


def _settings(profile: Profile) -> dict[str, Any]:
    flat: dict[str, Any] = {"model": profile.model}
    for role in ("decomposer", "synthesizer"):
        flat |= {f"{role}.{name}": value for name, value in getattr(profile, role).model_dump().items()}
    return flat | dict(sorted(profile.engine.items()))


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def profile_names() -> tuple[str, ...]:
    """Every profile there is, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@cache
def load_profile(name: str) -> Profile:
    """A profile by name, on top of its bases.

    Raises:
        InvalidArgumentError: There is none of this name; the message lists those there are.
    """
    if name not in profile_names():
        raise InvalidArgumentError(f"profile must be one of {', '.join(profile_names())}, got {name!r}")
    own = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    merged = dict(own)
    if own["base"] is not None:
        base = load_profile(own["base"])
        for field in ("decomposer", "synthesizer"):
            merged[field] = {**getattr(base, field).model_dump(), **own.get(field, {})}
        merged["engine"] = {**base.engine, **own.get("engine", {})}
        merged.setdefault("model", base.model)
    # A null takes an option of the base out again.
    merged["engine"] = {option: value for option, value in merged["engine"].items() if value is not None}
    try:
        return Profile.model_validate(merged)
    except ValidationError as error:
        raise InvalidArgumentError(f"profile {name!r} is wrong: {error}") from None


def check_options(options: Collection[str], known: Collection[str], engine: str) -> None:
    """Refuse options that the installed engine lacks.

    Raises:
        EngineOptionError: Names them, and the engine.
    """
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise EngineOptionError(
            f"the installed {engine} has no option {', '.join(unknown)}; take it out of the profile or engine_options"
        )
