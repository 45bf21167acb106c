"""Page furniture: what stands on a page without being part of what it says."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_furniture", "is_toc_line"]

# Phrases of the Apache-2.0, Creative Commons and SPDX headers; any one of them marks the paragraph.
_LICENCE: Final = re.compile(
    r"SPDX-License-Identifier|licensed under the (?:apache|creative|mit|bsd)|you may not use this file except"
    r"|without warranties or conditions of any kind|this work is licensed under|unless required by applicable law"
    r"|^\W*copyright\b.{0,12}(?:\(c\)|\u00a9|\d{4})|all rights reserved|see the license for the specific language"
    r"|creativecommons\.org/licenses|apache\.org/licenses/LICENSE",
    re.IGNORECASE,
)
_LONGEST_LICENCE_WORDS: Final = 250
"""Licence texts come in paragraphs; a longer block that names a licence says more than that."""
_NAVIGATION: Final = re.compile(
    r"^\W*(?:table of contents|contents|back to (?:the )?top|next|previous|edit this page|skip to (?:main )?content"
    r"|indices and tables|genindex|modindex|search page|toc|home)\W*$",
    re.IGNORECASE,
)
_TOC_HEADING: Final = re.compile(r"^\W*(?:table of )?contents\W*$|^\W*toc\W*$", re.IGNORECASE)
_TOC_LINE: Final = re.compile(r"(?:\.\s?){4,}\s*\d+\s*$|\u2026+\s*\d+\s*$")


def is_furniture(text: str, headings: tuple[str, ...] = ()) -> bool:
    """Whether a block is a licence header, navigation, or the table of contents.

    Args:
        text: The block, without markup.
        headings: Its heading path; all that stands under "Table of contents" is furniture.
    """
    if headings and _TOC_HEADING.match(headings[-1]):
        return True
    if _NAVIGATION.match(text):
        return True
    lines = text.splitlines()
    if len(lines) > 2 and sum(map(is_toc_line, lines)) > len(lines) / 2:
        return True
    return bool(_LICENCE.search(text)) and len(text.split()) <= _LONGEST_LICENCE_WORDS


def is_toc_line(line: str) -> bool:
    """Whether a line is an entry of a printed table of contents: dots, then a page number."""
    return bool(_TOC_LINE.search(line))
