"""Prompts in parts against real tokenizers: the rules of Qwen and of GPT-2 over a vocabulary with line ends in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.plan import ROOT
from services.engine.encoder import ConversationEncoder
from services.engine.port import Message

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore:::(torch|transformers|vllm)")]

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 and Qwen3 cut a text into words, from their tokenizer.json."""
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _tokenizer(rule: str | None) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule is None)
    split = [pre_tokenizers.Split(Regex(rule), "isolated")] if rule else []
    bpe.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level])
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2_000, special_tokens=list(_SPECIAL), initial_alphabet=alphabet)
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples" / "oran").rglob("*.md"))]
    # Enough line ends in a row that the vocabulary gets a token for them, as the real ones have.
    bpe.train_from_iterator([*texts, *["a.\n\nb\n\n\nc:\n\n- d\n" * 50] * 20], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=_SPECIAL[2], additional_special_tokens=[_SPECIAL[1]])
    made.chat_template = _TEMPLATE
    return made


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {"qwen": _tokenizer(_QWEN), "gpt2": _tokenizer(None)}


def _encoded_whole(tokenizer: Any, messages: tuple[Message, ...]) -> list[int]:
    asked = [{"role": one.role, "content": one.content} for one in messages]
    return list(tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=False))


@pytest.mark.parametrize("name", ["qwen", "gpt2"])
@settings(max_examples=60)
@given(st.lists(st.text(st.sampled_from("aB1 .,:-'s\n\t\u00e9\u4e2d<|[]")), min_size=40, max_size=60))
def test_ids_are_those_of_the_whole_prompt(tokenizers: dict[str, Any], name: str, questions: list[str]) -> None:
    tokenizer = tokenizers[name]
    encoder = ConversationEncoder(tokenizer, _SPECIAL)
    for question in questions:
        messages = (Message("system", "Answer.\n\nBriefly."), Message("user", question))
        assert encoder.encode(messages) == _encoded_whole(tokenizer, messages)


def test_the_rule_of_qwen_lets_lines_be_shared(tokenizers: dict[str, Any]) -> None:
    encoder = ConversationEncoder(tokenizers["qwen"], _SPECIAL)
    for number in range(100):
        encoder.encode((Message("user", f"Passage one.\n\nPassage two.\n\nWhat is E2, case {number}?"),))
    info = encoder._kept.cache_info()
    # Of each prompt past the checked ones, only the line with its number is new.
    assert info.hits > 3 * 68 and info.misses < 180
