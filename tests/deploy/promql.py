"""Which metrics and labels a PromQL expression asks for: enough of its grammar for what is in deploy/observability."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["labels_of", "metrics_of", "panels_of", "rules_of"]

_WORDS = {
    *("by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"),
    *("sum", "avg", "min", "max", "count", "rate", "increase", "changes", "time", "absent", "histogram_quantile"),
    *("avg_over_time", "label_replace"),
}
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHERS = re.compile(r"\{([^}]*)\}")


def metrics_of(expression: str) -> set[str]:
    """Names of the series that are asked for."""
    bare = _GROUPED.sub(" ", _MATCHERS.sub(" ", re.sub(r'"[^"]*"', " ", _MATCHERS.sub(" ", expression))))
    bare = re.sub(r"\[[^]]*\]", " ", bare)
    bare = re.sub(r"\boffset\s+\w+", " ", bare)
    return set(re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r"\b\d[\w.]*", " ", bare))) - _WORDS


def labels_of(expression: str) -> set[str]:
    """Labels that are matched or grouped by."""
    matched = {name for inside in _MATCHERS.findall(expression) for name in re.findall(r"(\w+)\s*(?:=|!)", inside)}
    grouped = {name.strip() for inside in _GROUPED.findall(expression) for name in inside.split(",")}
    return (matched | grouped) - {""}


def rules_of(rules: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every rule of a rules file."""
    for group in rules["groups"]:
        yield from group["rules"]


def panels_of(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel of a dashboard that shows something."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")
