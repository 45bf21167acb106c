"""Prompts encoded in parts have the ids of the whole, and shared parts are encoded once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.engine.encoder import ConversationEncoder
from services.engine.port import Message

_START, _END = "<|start|>", "<|end|>"
_SPECIAL = (_END, _START)


class Tokenizer:
    """Cuts at control tokens first, as byte-level BPE tokenizers do; then words with the blank before them."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self._ids: dict[str, int] = {}

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], **options: bool) -> str:
        assert options == {"add_generation_prompt": True, "tokenize": False, "enable_thinking": False}
        return "".join(f"{_START}{one['role']}\n{one['content']}{_END}\n" for one in messages) + f"{_START}assistant\n"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        self.encoded.append(text)
        return [self._ids.setdefault(piece, len(self._ids)) for piece in self.pieces(text)]

    def pieces(self, text: str) -> list[str]:
        return re.findall(rf"{re.escape(_START)}|{re.escape(_END)}|\s*[^\s<]+|\s+|<", text)


class Joining(Tokenizer):
    """Takes the line end behind a message and what follows it for one piece, over the control token."""

    def pieces(self, text: str) -> list[str]:
        return re.findall(rf"\n{re.escape(_START)}|\S+?|\s+", text)


def _messages(question: str) -> tuple[Message, ...]:
    return Message("system", "You word searches for O-RAN."), Message("user", question)


def _whole(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    text = tokenizer.apply_chat_template(
        [{"role": one.role, "content": one.content} for one in messages],
        add_generation_prompt=True,
        tokenize=False,
        enable_thinking=False,
    )
    return tokenizer.encode(text, add_special_tokens=False)


@given(st.lists(st.text(), min_size=1, max_size=12))
def test_ids_are_those_of_the_whole_prompt(questions: list[str]) -> None:
    tokenizer = Tokenizer()
    encoder = ConversationEncoder(tokenizer, _SPECIAL)
    for question in questions:
        assert encoder.encode(_messages(question)) == _whole(tokenizer, _messages(question))


def test_what_prompts_share_is_encoded_once() -> None:
    tokenizer = Tokenizer()
    encoder = ConversationEncoder(tokenizer, _SPECIAL)
    for number in range(50):
        encoder.encode(_messages(f"What is E2, case {number}?"))
    assert sum(text == f"{_START}system\nYou word searches for O-RAN." for text in tokenizer.encoded) == 1
    assert sum("case 49" in text for text in tokenizer.encoded) == 1


def test_a_tokenizer_that_joins_over_control_tokens_is_given_whole_prompts() -> None:
    tokenizer = Joining()
    encoder = ConversationEncoder(tokenizer, _SPECIAL)
    for number in range(20):
        messages = _messages(f"What is E2, case {number}?")
        assert encoder.encode(messages) == _whole(tokenizer, messages)


def test_without_control_tokens_the_prompt_is_encoded_whole() -> None:
    tokenizer = Tokenizer()
    assert ConversationEncoder(tokenizer, ()).encode(_messages("What is E2?")) == _whole(
        tokenizer, _messages("What is E2?")
    )
