"""The prompt for one subquery. What all calls of a step share comes first, so that the engine computes it once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.decomposer.engine import SubqueryRequest
from services.engine.port import Message
from services.engine.prompt import escape_line

__all__ = ["subquery_messages"]

_RULES: Final = """\
You word searches over O-RAN documents. You are given a question, the things that must be known to answer it \
(foci), and what was searched and found before. Write one search for the one focus that is named last.

Rules:
- One line of 4 to 20 words: names, acronyms with their full forms, and the words a document would use.
- Search for the named focus alone, not for the others.
- Use names that earlier passages brought up where they are what the focus is about.
- Do not repeat an earlier search word for word.
- Write the search only: no quotes, no numbering, no explanation.

Examples:
Focus: What is the A1 interface used for
Search: A1 interface purpose policies enrichment information Non-RT RIC Near-RT RIC
Focus: Which timing configuration has GNSS at the O-RU
Search: LLS-C4 synchronisation topology GNSS receiver at the O-RU local clock"""
_PASSAGE_WORDS: Final = 60
_PASSAGES: Final = 4


def subquery_messages(request: SubqueryRequest, special_tokens: Sequence[str]) -> tuple[Message, ...]:
    """System rules, then the question with all that its foci share, and the one focus last."""

    def safe(text: str) -> str:
        return escape_line(text, special_tokens)

    lines = [f"Question: {safe(request.question)}"]
    if request.options:
        lines.append("Options: " + "; ".join(safe(option) for option in request.options))
    if len(request.foci) > 1:
        lines += ["Foci:", *(f"- {safe(focus.text)}" for focus in request.foci)]
    if request.history.searches:
        lines += ["Searched before:", *(f"- {safe(search.text)}" for search in request.history.searches)]
    if request.history.passages:
        # The latest are what a dependent focus waits for.
        latest = request.history.passages[-_PASSAGES:]
        lines.append("Found before:")
        lines += [f"- {safe(' '.join(passage.text.split()[:_PASSAGE_WORDS]))}" for passage in latest]
    lines += [f"Focus: {safe(request.focus.text)}", "Search:"]
    return (Message("system", _RULES), Message("user", "\n".join(lines)))
