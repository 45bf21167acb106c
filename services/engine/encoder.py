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
from collections.abc import Sequence
from typing import Any, Final

from services.engine.port import Message

__all__ = ["ConversationEncoder"]

_LOG = logging.getLogger(__name__)
_KEPT_PARTS: Final = 16_384
"""Parts that are kept: at about thirty tokens a line, some ten megabytes."""
_CHECKED: Final = 32
"""Prompts that are encoded whole as well, and compared, before parts are trusted."""
_LINE: Final = r"(?<=\n)(?=\S)"
_PROBES: Final = (
    "A line.\nAnother line",
    "A heading:\n\n- an item;\n- another (with brackets)\n1. a number\n2\n3\n",
    "spaces at the end  \nand a tab\t\nthen \u201cquotes\u201d\n\u2026\n\u00e9t\u00e9\n\u4e2d\u6587\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n[1] a.md\n[2] b.md\n'it\n'll\n's\n_x\n#y\n\n\nend",
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
        self._part = functools.lru_cache(_KEPT_PARTS)(self._encoded)
        longest_first = sorted(filter(None, special_tokens), key=len, reverse=True)
        control = f"(?={'|'.join(map(re.escape, longest_first))})" if longest_first else ""
        cuts = [f"{_LINE}|{control}" if control else _LINE, control]
        self._cuts = [re.compile(cut) for cut in cuts if cut]
        while self._cuts and not all(self._in_parts(probe) == self._whole(probe) for probe in _PROBES):
            self._cuts.pop(0)
        self._checks_left = _CHECKED

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a prompt that the model is to continue."""
        text = self._tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            tokenize=False,
            # Read by templates of models that think before they answer, such as Qwen3's; others pass over it.
            enable_thinking=False,
        )
        if self._cuts and self._checks_left:
            self._checks_left -= 1
            whole = self._whole(text)
            while self._cuts and self._in_parts(text) != whole:
                _LOG.warning("this model's tokenizer joins tokens over what prompts were cut at; larger parts from now")
                self._cuts.pop(0)
            return whole
        return self._in_parts(text) if self._cuts else self._whole(text)

    def _in_parts(self, text: str) -> list[int]:
        return [token for part in self._cuts[0].split(text) if part for token in self._part(part)]

    def _whole(self, text: str) -> list[int]:
        return list(self._encoded(text))

    def _encoded(self, text: str) -> tuple[int, ...]:
        # The template has written the control tokens already.
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))
