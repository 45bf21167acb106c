"""Prompts encoded in parts have the ids of the whole, and shared parts are encoded once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine.encoder import ConversationEncoder
from services.engine.port import Message

_START, _END = "<|start|>", "<|end|>"
_SPECIAL = (_END, _START)
_CONTROL = rf"{re.escape(_START)}|{re.escape(_END)}"
_LINES = rf"{_CONTROL}|\s*\n+|[^\S\n]*[^\s<]+|[^\S\n]+|<"
"""Line ends are pieces of their own, as in the tokenizers of Qwen and Llama 3."""
_WORDS = rf"{_CONTROL}|\s*[^\s<]+|\s+|<"
"""A word takes the blanks before it, line ends too; a control token is a piece of its own."""
_JOINED = rf"\n{re.escape(_START)}|\S+?|\s+"
"""A line end and the control token behind it are one piece."""
_SYSTEM = "You word searches for O-RAN.\nUse few words."


class Tokenizer:
    """Cuts by a rule, and numbers the pieces as they come."""

    def __init__(self, rule: str) -> None:
        self._rule = re.compile(rule)
        self._ids: dict[str, int] = {}
        self.encoded: list[str] = []

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], **options: bool) -> str:
        assert options == {"add_generation_prompt": True, "tokenize": False, "enable_thinking": False}
        return "".join(f"{_START}{one['role']}\n{one['content']}{_END}\n" for one in messages) + f"{_START}assistant\n"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        self.encoded.append(text)
        return [self._ids.setdefault(piece, len(self._ids)) for piece in self._rule.findall(text)]


def _messages(question: str) -> tuple[Message, ...]:
    return Message("system", _SYSTEM), Message("user", question)


def _whole(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    text = tokenizer.apply_chat_template(
        [{"role": one.role, "content": one.content} for one in messages],
        add_generation_prompt=True,
        tokenize=False,
        enable_thinking=False,
    )
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("rule", [_LINES, _WORDS, _JOINED])
@given(questions=st.lists(st.text(st.sampled_from("ab -.\n\t<1")), min_size=1, max_size=40))
def test_ids_are_those_of_the_whole_prompt(rule: str, questions: list[str]) -> None:
    tokenizer = Tokenizer(rule)
    encoder = ConversationEncoder(tokenizer, _SPECIAL)
    for question in questions:
        assert encoder.encode(_messages(question)) == _whole(tokenizer, _messages(question))


@pytest.mark.parametrize(
    ("rule", "shared"),
    [(_LINES, "A passage of many prompts.\n"), (_WORDS, f"{_START}system\n{_SYSTEM}")],
)
def test_what_prompts_share_is_encoded_once(rule: str, shared: str) -> None:
    tokenizer = Tokenizer(rule)
    encoder = ConversationEncoder(tokenizer, _SPECIAL)
    for number in range(100):
        encoder.encode(_messages(f"[1]\nA passage of many prompts.\nWhat is E2, case {number}?"))
    # Once as a part; the first prompts were encoded whole as well.
    assert tokenizer.encoded.count(shared) == 1
    assert sum(len(text) > len(shared) + 60 for text in tokenizer.encoded) < 50


def test_without_control_tokens_prompts_are_still_cut_at_lines() -> None:
    tokenizer = Tokenizer(_LINES)
    encoder = ConversationEncoder(tokenizer, ())
    for number in range(50):
        messages = _messages(f"What is E2, case {number}?")
        assert encoder.encode(messages) == _whole(tokenizer, messages)
    assert "Use few words.<|end|>\n" in tokenizer.encoded


def test_a_thousand_control_tokens_cost_no_more_than_three() -> None:
    many = [f"<SPECIAL_{number}>" for number in range(1_000)] + ["[INST]", "[/INST]"]
    encoder = ConversationEncoder(Tokenizer(_LINES), many)
    # Only where one may begin are they looked for: the rule fails at once everywhere else.
    assert all(cut.search("a" * 50 + " plain text, " * 50) is None for cut in encoder._cuts)
    assert [cut.pattern.count("(?=[") for cut in encoder._cuts] == [1, 1]


def test_long_parts_are_not_kept() -> None:
    tokenizer = Tokenizer(_WORDS)
    encoder = ConversationEncoder(tokenizer, _SPECIAL)
    for number in range(100):
        encoder.encode(_messages(f"case {number} " + "of many words " * 400))
    kept = encoder._kept.cache_info().currsize
    assert kept < 20  # the system's message, the assistant's turn, and the probes
