"""The profiles that a run goes through: which engine, with which settings, and what they are said to be.

A profile is asked for as NAME or NAME,VARIABLE=VALUE,...: NAME is an engine that needs no profile (builtin, scripted,
openai), or one of vLLM's profiles, as `python -m services.engine profiles` lists them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from argo.errors import InvalidArgumentError
from bench.stack import ROOT

__all__ = ["EngineProfile", "parse_profiles", "parse_setting", "without_secrets"]

_ENGINES: Final = ("builtin", "scripted", "openai")
_ROLES: Final = ("DECOMPOSER", "SYNTHESIZER")
_SETTING: Final = re.compile(r"(ARGO_[A-Z0-9_]+)=(.*)", re.DOTALL)
_SECRET: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_PATIENCE: Final = {"ARGO_DEPLOY_START_TIMEOUT_S": "900"}
"""A model that is loaded and compiled takes minutes; a service that dies meanwhile is told at once."""
_ASK_S: Final = 60.0


@dataclass(frozen=True)
class EngineProfile:
    """One profile of a run."""

    label: str
    """Its name, with "#2" behind it where it comes again, with other settings or to see how much a run repeats."""
    environment: Mapping[str, str]
    """Of the stack's services."""
    own: Mapping[str, str] = field(default_factory=dict)
    """What of it the user set for this one alone."""
    described: Mapping[str, Any] = field(default_factory=dict)
    """What the engine package says of a vLLM profile: label, summary, model, options, changes against its base."""


def parse_profiles(asked: Sequence[str], settings: Mapping[str, str]) -> list[EngineProfile]:
    """Read what was asked for, and look the profiles up.

    Args:
        asked: As the user wrote them, at least one.
        settings: Variables of all of them, over those of their engine.

    Raises:
        InvalidArgumentError: There is no such profile, or a setting is not VARIABLE=VALUE.
    """
    if not asked:
        raise InvalidArgumentError("profiles must name at least 1 profile, got none")
    seen: Counter[str] = Counter()
    found = []
    for text in asked:
        # A value may hold commas of its own, as a JSON object does.
        name, *texts = re.split(r",(?=ARGO_[A-Z0-9_]+=)", text)
        if name in _ENGINES:
            chosen, environment = {"ENGINE": name}, {}
        else:
            chosen, environment = {"ENGINE": "vllm", "PROFILE": name}, dict(_PATIENCE)
        environment |= {f"ARGO_{role}_{key}": value for role in _ROLES for key, value in chosen.items()}
        own = dict(map(parse_setting, texts))
        described = {} if name in _ENGINES else _described(name)
        seen[name] += 1
        label = name if seen[name] == 1 else f"{name} #{seen[name]}"
        found.append(EngineProfile(label, {**environment, **settings, **own}, own, described))
    return found


def parse_setting(text: str) -> tuple[str, str]:
    """A variable and its value.

    Raises:
        InvalidArgumentError: It is not VARIABLE=VALUE, or the variable is none of ARGO's.
    """
    found = _SETTING.fullmatch(text)
    if found is None:
        raise InvalidArgumentError(f"a setting must be ARGO_NAME=VALUE, got {text!r}")
    return found[1], found[2]


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for the record; the value of a key is not kept."""
    return {name: "***" if name.endswith(_SECRET) else value for name, value in environment.items()}


def _described(name: str) -> dict[str, Any]:
    """Asked of the command, since the engine package is a service's and not ours to import."""
    done = subprocess.run(
        # After "--" a name that begins with a dash is a name all the same.
        [sys.executable, "-m", "services.engine", "profiles", "--json", "--", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_ASK_S,
        check=False,
    )
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise InvalidArgumentError(f"{said}; engines that need no profile are {', '.join(_ENGINES)}")
    described: dict[str, Any] = json.loads(done.stdout)
    return described
