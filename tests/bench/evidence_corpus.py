"""A small folder of documents in the layout of a real one, written by the tests that need it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BOILERPLATE", "COPIED", "SHARED", "write_corpus"]

_PARTS = (
    "Alarm Router",
    "Beam Planner",
    "Cell Monitor",
    "Drift Watcher",
    "Energy Broker",
    "Fault Ledger",
    "Grant Keeper",
    "Hop Planner",
)
_DATA = (
    "beam tables",
    "cell alarms",
    "slot counters",
    "energy records",
    "handover logs",
    "timing offsets",
    "grant maps",
    "hop sequences",
)
_KINDS = (
    "binary archives",
    "relational schemas",
    "compressed journals",
    "columnar stores",
    "memory maps",
    "ring files",
    "flat pages",
    "sparse trees",
)
COPIED = "The Gamma Store keeps every snapshot in encrypted tertiary volumes."
"""Stands in two files of one repository."""
SHARED = "When the omega watchdog expires twice, the platform restarts all dependent pods."
"""Stands in files of the first four repositories."""
BOILERPLATE = "The build pipeline requires credentials of the central artifact mirror."
"""Stands in more files than five."""


def write_corpus(docs: Path, repositories: int = 8) -> Path:
    """Write Markdown and reStructuredText files of a few repositories."""
    for number in range(repositories):
        folder = docs / "acme" / f"repo-{number}"
        folder.mkdir(parents=True)
        part, data, kind = (names[number % len(names)] for names in (_PARTS, _DATA, _KINDS))
        (folder / "overview.md").write_text(_markdown(number, part, data, kind), encoding="utf-8")
        (folder / "guide.rst").write_text(_restructuredtext(number, part, data, kind), encoding="utf-8")
        (folder / "release-notes.md").write_text(f"# Notes\n\nThe {part} stores {data} in new {kind}.\n", "utf-8")
    for name in ("one.md", "two.md"):
        path = docs / "acme" / "repo-0" / name
        path.write_text(f"# Gamma Store\n\n{COPIED}\n\n## Pipeline\n\n{BOILERPLATE}\n", encoding="utf-8")
    return docs


def _markdown(number: int, part: str, data: str, kind: str) -> str:
    return f"""# {part} {number}

The {part} {number} stores {data} of region {number} in {kind}.

## Recovery of {data}

When the disk of unit {number} overheats, the {part} {number} moves {data} elsewhere.

{SHARED if number < 4 else ""}

## Settings {number}

| Name | Meaning |
|------|---------|
| purge_{number} | Longest hours for which {data} stay in {kind} {number} |

## Pipeline

{BOILERPLATE}

## License

The {part} requires the acceptance of licence {number} by all operators.
"""


def _restructuredtext(number: int, part: str, data: str, kind: str) -> str:
    title = f"{part} {number} Guide"
    return f"""{title}
{"=" * len(title)}

Tuning
------

To shrink {data} for customer {number}, operators lower the {kind} quota of {part} {number}.

The {part} {number} is responsible for merging late {data} from site {number}.
"""
