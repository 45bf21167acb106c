"""What of a model's streamed text is shown: no refusal phrase, no label, no citation that was not checked."""

from __future__ import annotations

import re
from typing import Final

from services.synthesizer.citation import CitationStream
from services.synthesizer.prompt import REFUSAL

__all__ = ["WrittenText", "without_controls"]

# A terminal would take them for commands.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LABEL: Final = "ANSWER:"
_BEFORE_OPENING: Final = " \n\t\"'*`"
_SENTENCE: Final = re.compile(r"[.!?][\"')]*(?:\s*\[\d+\])*(?=\s|$)")
_ENDED: Final = re.compile(r"[.!?:;][\"')*]*(?:\s*\[\d+\])*\s*$")


def without_controls(text: str) -> str:
    """A text without control characters but tab and line feed."""
    return _CONTROL.sub("", text)


class WrittenText:
    """What was shown of a text that streams: no refusal phrase, and citations as the stream passes them on.

    Args:
        stream: Checks and numbers citations.
    """

    def __init__(self, stream: CitationStream) -> None:
        self.stream = stream
        self.deltas: list[str] = []
        self.refused = False
        """The model said that the passages hold no answer, and nothing else."""
        self.beyond_refusal = 0
        """Characters that came behind the refusal."""
        self._opening: str | None = ""
        self._separator = ""
        self._muted = False

    @property
    def text(self) -> str:
        """All that was shown."""
        return "".join(self.deltas)

    @property
    def has_sentence(self) -> bool:
        """Whether a whole sentence was shown."""
        return _SENTENCE.search(self.text) is not None

    @property
    def is_ended(self) -> bool:
        """Whether what was shown ends where a sentence or a line does."""
        return _ENDED.search(self.text) is not None

    def add(self, *deltas: str) -> list[str]:
        """Show our own words behind the model's; returns them."""
        self.deltas += deltas
        return list(deltas)

    def begin_paragraph(self) -> None:
        """What comes next is another text: it begins a paragraph, and says nothing if it refuses."""
        self._opening, self._separator = "", "\n\n"

    def feed(self, delta: str) -> str:
        """What may be shown now. The opening waits until it can no more be a refusal or a label."""
        delta = without_controls(delta)
        if self._muted:
            self.beyond_refusal += len(delta)
            return ""
        if self._opening is not None:
            self._opening += delta
            return self._open(at_end=False)
        return self._shown(self.stream.feed(delta))

    def finish(self) -> str:
        """What is left at the end of a text."""
        shown = self._open(at_end=True) if self._opening is not None and not self._muted else ""
        self.stream.finish()
        return shown

    def _open(self, *, at_end: bool) -> str:
        opening = (self._opening or "").lstrip()
        bare = opening.lstrip(_BEFORE_OPENING).upper()
        if bare.startswith(_LABEL):
            self._opening = opening[opening.upper().index(_LABEL) + len(_LABEL) :]
            return self._open(at_end=at_end)
        if bare.startswith(REFUSAL):
            self._muted = True
            self.refused = not self.deltas
            return ""
        if not at_end and (REFUSAL.startswith(bare) or _LABEL.startswith(bare)):
            return ""
        self._opening = None
        return self._shown(self.stream.feed(opening))

    def _shown(self, text: str) -> str:
        if text and self._separator:
            text, self._separator = self._separator + text.lstrip(), ""
        if text:
            self.deltas.append(text)
        return text
