"""A policy file: parameters and times, fitted or chosen, that a running orchestrator can reload."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from argo.errors import InvalidArgumentError, NotReadyError
from orchestrator.action_time import ActionTimes
from orchestrator.parameter import MdpParameters, check_names

__all__ = ["PolicyFile", "dump_policy_file", "load_policy_file"]

_LARGEST_BYTES: Final = 64 * 1024
_LONGEST_ORIGIN: Final = 200


@dataclass(frozen=True)
class PolicyFile:
    """What a policy file holds: {"parameters": {...}, "times": {...}, "origin": "..."}, all optional."""

    parameters: MdpParameters
    times: ActionTimes | None = None
    """None: the file gives none, and those that the engines measure are in force."""
    origin: str = ""
    """What the values come from, such as the record that they were fitted to; shown beside the file's name."""


def load_policy_file(path: Path) -> PolicyFile:
    """Read a policy file; parameters that it leaves out have their defaults.

    Raises:
        NotReadyError: The file cannot be read.
        InvalidArgumentError: Not JSON, a name that is unknown or given twice, or a value outside its bound.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InvalidArgumentError(f"policy file {path} must have at most {_LARGEST_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotReadyError(f"policy file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"policy file {path} must be UTF-8 text: {error.reason}") from error
    try:
        return _parse(text)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"policy file {path}: {error}") from error


def dump_policy_file(content: PolicyFile) -> str:
    """Return the text of a policy file, which :func:`load_policy_file` reads back as it was."""
    document: dict[str, Any] = {"origin": content.origin} if content.origin else {}
    document["parameters"] = content.parameters.to_mapping()
    if content.times is not None:
        document["times"] = content.times.to_mapping()
    return json.dumps(document, indent=2) + "\n"


def _parse(text: str) -> PolicyFile:
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=float)
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"not JSON, line {error.lineno} column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise InvalidArgumentError("nested too deep") from error
    sections = _mapping("the file", document)
    check_names("the file", sections, ("parameters", "times", "origin"))
    parameters = MdpParameters.from_mapping(_mapping("parameters", sections.get("parameters", {})))
    times = ActionTimes.from_mapping(_mapping("times", sections["times"])) if "times" in sections else None
    return PolicyFile(parameters, times, _origin(sections.get("origin", "")))


def _origin(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_ORIGIN or not (value == "" or value.isprintable()):
        raise InvalidArgumentError(
            f"origin must be a line of at most {_LONGEST_ORIGIN} printable characters, got {value!r}"
        )
    return value


def _mapping(what: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{what} must be a JSON object, got {type(value).__name__}")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a field given twice, of which JSON would keep the last."""
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise InvalidArgumentError(f"field {name!r} is given twice")
        seen[name] = value
    return seen


def _no_constant(name: str) -> float:
    """Refuse what is a number to Python, but not to JSON."""
    raise InvalidArgumentError(f"numbers must be finite, got {name}")
