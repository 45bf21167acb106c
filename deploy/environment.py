"""What the user set that has no effect under the launcher, which is told: a setting dropped in silence misleads."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from deploy.plan import StackPlan
from deploy.roster import CHROMA, SERVICES

__all__ = ["without_effect"]

_PREFIXES: Final = (*(f"ARGO_{service.upper()}_" for service in SERVICES), "ARGO_TELEMETRY_", "ARGO_CLIENT_")
_OWN: Final = "ARGO_DEPLOY_"
# Makefile's own, on its way to this launcher.
_MAKE: Final = "ARGO_MAKE_"
_STATE: Final = "ARGO_DEPLOY_STATE_DIR, the folder of all state"
_INSTEAD: Final = {
    "_METRICS_PORT": "ARGO_DEPLOY_METRICS_OFFSET",
    "_METRICS_HOST": "ARGO_DEPLOY_HOST",
    "_HOST": "ARGO_DEPLOY_HOST",
    "_SESSION_PATH": _STATE,
    "_INDEX_PATH": _STATE,
    "_SPAN_DIR": _STATE,
}


def without_effect(environ: Mapping[str, str], plan: StackPlan) -> list[str]:
    """Lines on the variables that the launcher sets itself, and on those that nothing reads.

    What stands under the prefix of a service, and is unknown, ends that service with a message of its own.

    Args:
        environ: The user's environment.
        plan: What is to run.
    """
    return [*_overruled(environ, plan), *_unread(environ)]


def _overruled(environ: Mapping[str, str], plan: StackPlan) -> Iterator[str]:
    own: dict[str, set[str]] = {}
    for process in plan.services:
        for name, value in process.environment.items():
            own.setdefault(name, set()).add(value)
    for name in sorted(own):
        if name.startswith("ARGO_") and name in environ and {environ[name]} != own[name]:
            yield f"{name}={environ[name]} has no effect: the launcher sets it itself; {_instead(name)}"


def _instead(name: str) -> str:
    for ending, setting in _INSTEAD.items():
        if name.endswith(ending):
            return f"use {setting}"
    service = name.removeprefix("ARGO_").partition("_")[0]
    if name.endswith("_PORT"):
        return f"use ARGO_DEPLOY_{service}_PORT"
    if name.endswith("_TARGET"):
        callee = name.removesuffix("_TARGET").rpartition("_")[2]
        return f"its own {callee.lower()} listens at ARGO_DEPLOY_HOST and ARGO_DEPLOY_{callee}_PORT"
    return f"`python -m deploy env` shows what each process is given, {CHROMA}'s and Redis's addresses too"


def _unread(environ: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(environ):
        if name.startswith("ARGO_") and not name.startswith((*_PREFIXES, _OWN, _MAKE)):
            yield f"{name} has no effect: {_meant(name)}"


def _meant(name: str) -> str:
    known = [*_PREFIXES, _OWN]
    head, _, rest = name.removeprefix("ARGO_").partition("_")
    near = difflib.get_close_matches(f"ARGO_{head}_", known, n=1, cutoff=0.8)
    if near:
        return f"did you mean {near[0]}{rest}?"
    return f"names of settings begin with one of {', '.join(known)}"
