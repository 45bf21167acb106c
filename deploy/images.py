"""`python -m deploy.images`: prove without a container engine that each image's extras suffice, and tell their size.

For each target of the Dockerfile the step that installs it is run in a clean environment, the packages that the target
copies are laid beside it, and every module that the target is there to run is started from them until it is SERVING.
Extras and packages are read from the Dockerfile, so that the check is of what an image is made of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["TARGETS", "Stage", "read_stages"]

TARGETS: Final = ("orchestrator", "builtin", "retriever", "all-in-one", "llm")
"""Targets that are images; the other stages build them."""

_FROM: Final = re.compile(r"^FROM (?P<base>\S+) AS (?P<name>\S+)$")
_COPY_APP: Final = re.compile(r"^COPY --from=app /app(?:/(?P<package>\S+))? \S+$")
_COPY_BUILD: Final = re.compile(r"^COPY --from=(?P<stage>\S+-build) /opt/argo /opt/argo$")
_EXTRAS: Final = re.compile(r"'(?:\.|/src)\[(?P<extras>[a-z,-]+)\]'")


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile.

    Args:
        name: Its name.
        base: The image or stage that it begins with.
        extras: Extras of the distribution that are installed, by the stage itself or by the one it copies them from.
        packages: Top-level packages of the checkout that it holds.
        instructions: Its own instructions, joined where they go over several lines; without comments.
    """

    name: str
    base: str
    extras: tuple[str, ...]
    packages: tuple[str, ...]
    instructions: tuple[str, ...]


def read_stages(text: str) -> dict[str, Stage]:
    """The stages of a Dockerfile, by name."""
    stages: dict[str, Stage] = {}
    for base, name, instructions in _split(text):
        extras: tuple[str, ...] = ()
        packages: list[str] = []
        for line in instructions:
            if copied := _COPY_BUILD.match(line):
                extras = stages[copied["stage"]].extras
            elif installed := _EXTRAS.search(line):
                extras = tuple(installed["extras"].split(","))
            elif copied := _COPY_APP.match(line):
                packages += [copied["package"]] if copied["package"] else stages["app"].packages
            elif name == "app" and line.startswith("COPY "):
                packages.append(line.split()[1].partition("/")[0])
        stages[name] = Stage(name, base, extras, tuple(packages), tuple(instructions))
    return stages


def _split(text: str) -> list[tuple[str, str, list[str]]]:
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    found: list[tuple[str, str, list[str]]] = []
    for line in (re.sub(r"\s+", " ", each).strip() for each in joined.splitlines()):
        if begun := _FROM.match(line):
            found.append((begun["base"], begun["name"], []))
        elif line and found:
            found[-1][2].append(line)
    return found
