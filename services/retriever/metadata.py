"""Document number, version and working group, where a specification states them on its first page or in its name."""

from __future__ import annotations

import re
from typing import Final

from services.retriever.document import ParsedDocument

__all__ = ["read_metadata"]

_HEAD_CHARACTERS: Final = 3_000
"""Title page and foreword; later mentions are of other documents."""
_ORAN_NUMBER: Final = re.compile(r"\bO-RAN[.-](WG\d{1,2}|TIFG|SFG|nGRG|OSFG|SuFG)\.[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*")
_3GPP_NUMBER: Final = re.compile(r"\b(?:3GPP\s+)?(T[SR])\s?(\d{2}\.\d{3}(?:-\d)?)\b")
_NUMBER_TAIL: Final = re.compile(r"[-_.](?:R\d{3}|v?\d+\.\d+(?:\.\d+)?|v\d+)(?=[-_.]|$).*$")
_VERSION_IN_NUMBER: Final = re.compile(r"[-_.]v(\d+(?:\.\d+)+)", re.IGNORECASE)
_VERSION: Final = re.compile(r"^\W*(?:version|release version|document version)\W{1,3}v?(\d+(?:\.\d+)+)\b", re.I | re.M)
_WORKING_GROUP: Final = re.compile(
    r"\bO-RAN (?:ALLIANCE )?(?:Working Group|WG)\s?(\d{1,2})\b|\bWorking Group (\d{1,2})\b"
)


def read_metadata(source: str, document: ParsedDocument) -> tuple[str, str, str]:
    """Document number, version and working group; each empty where the document does not state it.

    Source: O-RAN ALLIANCE file names, for example O-RAN.WG4.CUS.0-R003-v15.00.
    """
    name = source.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    head = f"{name}\n{document.title}\n" + "\n".join(_head_lines(document))
    number = version = working_group = ""
    if match := _ORAN_NUMBER.search(head):
        number = _NUMBER_TAIL.sub("", match.group())
        working_group = match.group(1) if match.group(1).startswith("WG") else ""
        if tail := _VERSION_IN_NUMBER.search(head[match.start() : match.end() + 40].partition("\n")[0]):
            version = tail.group(1)
    elif match := _3GPP_NUMBER.search(f"{name}\n{document.title}"):
        # Only in the name or title: prose refers to 3GPP specifications all the time.
        number = f"3GPP {match.group(1)} {match.group(2)}"
    if not version and (match := _VERSION.search(head)):
        version = match.group(1)
    if not working_group and (match := _WORKING_GROUP.search(head)):
        working_group = f"WG{match.group(1) or match.group(2)}"
    return number, version, working_group


def _head_lines(document: ParsedDocument) -> list[str]:
    """Text of the first blocks, up to the head's length."""
    lines: list[str] = []
    left = _HEAD_CHARACTERS
    for block in document.blocks:
        if left <= 0:
            break
        lines.append(block.text[:left])
        left -= len(block.text)
    return lines
