"""Token ids of a conversation, with the parts that many prompts share encoded once.

A tokenizer cuts a text at its control tokens before anything else, so what stands between two of them has the same ids
in every prompt. The system's message and the examples, most of a short prompt, are such parts; encoding them anew for
each of the two hundred subqueries that a batch words together would keep the event loop busy for longer than the batch.
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
_KEPT_PARTS: Final = 512
_CHECKED: Final = 8
"""Prompts that are encoded whole as well, and compared."""


class ConversationEncoder:
    """Encodes conversations by the model's own chat template.

    Where a tokenizer turns out not to cut at its control tokens, prompts are encoded whole from then on.

    Args:
        tokenizer: A Hugging Face tokenizer.
        special_tokens: Texts that it reads as control tokens.
    """

    def __init__(self, tokenizer: Any, special_tokens: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        longest_first = sorted(filter(None, special_tokens), key=len, reverse=True)
        self._start = re.compile(f"(?={'|'.join(map(re.escape, longest_first))})") if longest_first else None
        self._checks_left = _CHECKED
        self._part = functools.lru_cache(_KEPT_PARTS)(self._encoded)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a prompt that the model is to continue."""
        text = self._tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            tokenize=False,
            # Read by templates of models that think before they answer, such as Qwen3's; others pass over it.
            enable_thinking=False,
        )
        if self._start is None:
            return list(self._encoded(text))
        ids = [token for part in self._start.split(text) if part for token in self._part(part)]
        if self._checks_left:
            self._checks_left -= 1
            whole = list(self._encoded(text))
            if whole != ids:
                _LOG.warning("this model's tokenizer does not cut at its control tokens; prompts are encoded whole")
                self._start = None
                return whole
        return ids

    def _encoded(self, text: str) -> tuple[int, ...]:
        # The template has written the control tokens already.
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))
