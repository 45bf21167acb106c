"""Token ids of a conversation, with the parts that many prompts share encoded once.

A tokenizer cuts a text at its control tokens before anything else, and most never join a line with the one before it;
so what stands between such places has the same ids in every prompt. The system's message, the examples and the lines of
popular passages are such parts: of a prompt of a thousand tokens, the question is often all that is new. Encoding every
prompt whole kept the event loop busy for longer than the batch that its prompts were to join.
"""

from __future__ import annotations

import functools
import logging
import re
from array import array
from collections.abc import Sequence
from typing import Any, Final

from services.engine.port import Message

__all__ = ["ConversationEncoder"]

_LOG = logging.getLogger(__name__)
_KEPT_PARTS: Final = 8_192
_LONGEST_KEPT: Final = 4_000
"""Characters of a part that is kept: longer ones are somebody's question with its passages, and do not come back. At
four bytes a token, the parts together stay below 64 MiB, and with lines of the usual length at a few."""
_CHECKED: Final = 32
"""Prompts that are encoded whole as well, and compared, before parts are trusted."""
_CHECKED_AGAIN: Final = 256
"""After them, one prompt of so many."""
_LINE: Final = r"(?<=\n)(?=\S)"
_PROBES: Final = (
    "A line.\nAnother line",
    "A heading:\n\n- an item;\n- another (with brackets)\n1. a number\n2\n3\n",
    "spaces at the end  \nand a tab\t\nthen \u201cquotes\u201d\n\u2026\n\u00e9t\u00e9\n\u4e2d\u6587\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n[1] a.md\n[2] b.md\n'it\n'll\n's\n_x\n#y\n\n\nend",
    "The log says:\n/var/log/ric.log\n//\nif x:\n    return 1\n   - three\n        eight\n\ttab\n",
)
"""Lines that begin and end in whatever a rule of a tokenizer might join over a line end."""


class ConversationEncoder:
    """Encodes conversations by the model's own chat template.

    Whether this tokenizer cuts where the parts do is tried on probes first and on the first prompts after; where it
    does not, the parts are those between control tokens, and where it does not cut there either, prompts stay whole.

    Args:
        tokenizer: A Hugging Face tokenizer.
        special_tokens: Texts that it reads as control tokens.
    """

    def __init__(self, tokenizer: Any, special_tokens: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._kept = functools.lru_cache(_KEPT_PARTS)(self._encoded)
        control = _starts_of(special_tokens)
        cuts = [f"{_LINE}|{control}" if control else _LINE, control]
        self._cuts = [re.compile(cut) for cut in cuts if cut]
        while self._cuts and not all(self._in_parts(probe) == self._whole(probe) for probe in _PROBES):
            self._cuts.pop(0)
        self._until_check = 0
        self._trusted = 0

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a prompt that the model is to continue."""
        text = self._tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            tokenize=False,
            # Read by templates of models that think before they answer, such as Qwen3's; others pass over it.
            enable_thinking=False,
        )
        if not self._cuts:
            return self._whole(text)
        if self._until_check:
            self._until_check -= 1
            return self._in_parts(text)
        whole = self._whole(text)
        while self._cuts and self._in_parts(text) != whole:
            _LOG.warning("this model's tokenizer joins tokens over what prompts were cut at; larger parts from now")
            self._cuts.pop(0)
            self._trusted = 0
        self._trusted += 1
        self._until_check = 0 if self._trusted < _CHECKED else _CHECKED_AGAIN
        return whole

    def _in_parts(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self._cuts[0].split(text):
            if part:
                ids.extend(self._kept(part) if len(part) <= _LONGEST_KEPT else self._encoded(part))
        return ids

    def _whole(self, text: str) -> list[int]:
        return self._encoded(text).tolist()

    def _encoded(self, text: str) -> array[int]:
        # The template has written the control tokens already.
        return array("i", self._tokenizer.encode(text, add_special_tokens=False))


def _starts_of(special_tokens: Sequence[str]) -> str:
    """A rule for the places where one of some texts begins; empty where there are none.

    Blank ones are runs of spaces that a tokenizer counts as one token, which no template writes.
    """
    longest_first = sorted({token for token in special_tokens if token.strip()}, key=len, reverse=True)
    if not longest_first:
        return ""
    # Looked for at every character, a thousand texts would take longer than the tokenizer.
    first = "".join(sorted({re.escape(token[0]) for token in longest_first}))
    return f"(?=[{first}])(?={'|'.join(map(re.escape, longest_first))})"
