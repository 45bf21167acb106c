"""Distinct questions about the primer, from a seed: its headings and short forms in templates, some with options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from services.lexicon.glossary import load_glossary

_ONE = (
    "What is {0}?",
    "What is the purpose of {0}?",
    "Explain {0}.",
    "Which components take part in {0}?",
    "Why does O-RAN need {0}?",
    "How does {0} work?",
)
_TWO = (
    "What is the difference between {0} and {1}?",
    "How do {0} and {1} depend on each other?",
    "What is {0}, and which part does {1} play in it?",
)
_OPTIONS = 4


@dataclass(frozen=True)
class AskedOf:
    """A question and how it is to be asked."""

    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """As :meth:`argo.Client.ask` takes them."""


class QuestionMaker:
    """Draws questions, none of them twice.

    Args:
        documents: Folder of Markdown documents.
        rng: Where the draws come from.
    """

    def __init__(self, documents: Path, rng: np.random.Generator) -> None:
        text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(documents.glob("*.md")))
        words = set(re.findall(r"[A-Z][\w.-]+", text))
        self._full = {entry.short: entry.expansions[0] for entry in load_glossary().entries if entry.short in words}
        self._terms = sorted({*re.findall(r"^## (.+)$", text, re.MULTILINE), *self._full})
        self._rng = rng
        self._made: set[str] = set()

    def draw(self, share_of_options: float = 0.3) -> AskedOf:
        """One that was not drawn before; with options in so many of them, whose right one is among them."""
        while True:
            asked = self._choice() if self._rng.random() < share_of_options else AskedOf(self._free())
            if asked.text not in self._made:
                self._made.add(asked.text)
                return asked

    def _free(self) -> str:
        first, second = self._rng.choice(self._terms, 2, replace=False)
        templates = _ONE if self._rng.random() < 0.5 else _TWO
        return templates[self._rng.integers(len(templates))].format(first, second)

    def _choice(self) -> AskedOf:
        shorts = [str(short) for short in self._rng.choice(sorted(self._full), _OPTIONS, replace=False)]
        options = list(dict.fromkeys(self._full[short] for short in shorts))
        where = " and ".join(shorts[1:3])
        return AskedOf(f"What does {shorts[0]} stand for, where {where} are used too?", {"options": sorted(options)})
