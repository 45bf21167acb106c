"""Language models of real architectures, small enough to make on the spot: random weights, a tokenizer of their own.

What they write is noise. It is printable noise, since the rows of the output layer that would write anything else are
zero, and at greedy decoding some other row always wins.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from deploy.plan import ROOT

__all__ = ["make_qwen2", "make_qwen3"]

_PRIMER: Final = ROOT / "examples" / "oran"
_WORD: Final = re.compile("\u0120?[a-z]{2,}")  # U+0120 is how byte-level tokenizers write a space
_SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_THINKING: Final = ("<think>", "</think>")
_SHAPE: Final = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}

_TURNS: Final = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
"""
_QWEN2: Final = _TURNS + "{%- endif %}\n"
# The end of Qwen3's own template: unless told not to think, it leaves the answer to begin with <think>.
_QWEN3: Final = (
    _TURNS
    + """\
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}
"""
)


def make_qwen2(folder: Path) -> Path:
    """Write a Qwen2 into a folder."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return _make(folder, Qwen2Config, Qwen2ForCausalLM, _QWEN2, ())


def make_qwen3(folder: Path) -> Path:
    """Write a Qwen3, which thinks unless its template is told otherwise, into a folder."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return _make(folder, Qwen3Config, Qwen3ForCausalLM, _QWEN3, _THINKING)


def _make(folder: Path, config_class: type, model_class: type, template: str, more_tokens: tuple[str, ...]) -> Path:
    import torch

    tokenizer = _tokenizer(template, more_tokens)
    tokenizer.save_pretrained(folder)
    vocabulary = tokenizer.get_vocab()
    config = config_class(
        **_SHAPE,
        head_dim=_SHAPE["hidden_size"] // _SHAPE["num_attention_heads"],
        vocab_size=len(vocabulary),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(7)
    model = model_class(config).to(torch.float32)
    words = torch.tensor(
        [_WORD.fullmatch(token) is not None for token in sorted(vocabulary, key=vocabulary.__getitem__)]
    )
    with torch.no_grad():
        model.lm_head.weight[~words] = 0
    model.save_pretrained(folder)
    return folder


def _tokenizer(template: str, more_tokens: tuple[str, ...]):  # type: ignore[no-untyped-def]  # transformers is not here
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train([str(path) for path in sorted(_PRIMER.glob("*.md"))], trainer)
    # As in Qwen3: one token each, and yet not special.
    bpe.add_tokens([AddedToken(token, normalized=False) for token in more_tokens])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=["<|im_start|>"]
    )
    tokenizer.chat_template = template
    return tokenizer
