"""The collection that the bench searches: text like the primer's, drawn with a fixed seed."""

from __future__ import annotations

import random
import re
from pathlib import Path

__all__ = ["topics", "write_documents"]

_SECTIONS_PER_DOCUMENT = 20
_SENTENCES_PER_SECTION = 9


def _text(primer: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8") for path in sorted(primer.rglob("*.md")))


def write_documents(folder: Path, primer: Path, passages: int, seed: int = 0) -> None:
    """Write documents whose sections make one passage each, of about 200 words from the primer's sentences."""
    plain = re.sub(r"[#*`|]", " ", _text(primer))
    sentences = [one.strip() for one in re.split(r"(?<=[.])\s+", plain) if 40 < len(one) < 300]
    drawn = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, passages, _SECTIONS_PER_DOCUMENT):
        lines = [f"# Document {first // _SECTIONS_PER_DOCUMENT}"]
        for section in range(first, min(first + _SECTIONS_PER_DOCUMENT, passages)):
            lines.append(f"\n## Section {section}\n\n" + " ".join(drawn.sample(sentences, _SENTENCES_PER_SECTION)))
        path = folder / f"document-{first // _SECTIONS_PER_DOCUMENT:03d}.md"
        path.write_text("\n".join(lines), encoding="utf-8")


def topics(primer: Path) -> list[str]:
    """Words of the primer that a search can be about, in alphabetical order."""
    return sorted({word.lower() for word in re.findall(r"[A-Za-z][A-Za-z0-9-]{6,}", _text(primer))})
