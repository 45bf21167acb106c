"""Models of a real shape without its weights: speed is that of the shape, what they write is noise.

The tokenizer is trained on the primer, since the machine reaches no hub; its ids lie within the real vocabulary.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

# Published config.json of Qwen2.5-*-Instruct; the head size is 64 in the smallest and 128 in the others.
SHAPES: dict[str, dict[str, int | bool]] = {
    "tiny": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 2048, "tie_word_embeddings": True},
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "3B": {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False},
}  # fmt: skip

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_folder(folder: Path, shape: str, documents: Path) -> Path:
    """Write config and tokenizer of a shape; weights are left to the loader."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048, special_tokens=_SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train([str(path) for path in sorted(documents.rglob("*.md"))], trainer)
    # Random weights draw from the whole vocabulary; every id must be some word, or answers would be empty.
    trained = json.loads(bpe.to_str())
    vocabulary = trained["model"]["vocab"]
    for number in range(len(vocabulary), int(SHAPES[shape]["vocab_size"])):
        vocabulary[f"\u0120w{number}"] = number
    bpe = Tokenizer.from_str(json.dumps(trained))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=_SPECIAL[2], pad_token=_SPECIAL[0], additional_special_tokens=[_SPECIAL[1]]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "torch_dtype": "bfloat16",
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **SHAPES[shape],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="1.5B")
    parser.add_argument("--documents", type=Path, default=Path("examples/oran"))
    arguments = parser.parse_args()
    make_folder(arguments.folder, arguments.shape, arguments.documents)
