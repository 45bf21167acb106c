"""The predecessor's way on this GPU: transformers.generate, three subqueries one after another, then one answer.

Random weights of the real shapes in bf16; prompts of 600 and 1,200 tokens; min_new_tokens = max_new_tokens; temperature
0.7 for subqueries and 0.3 for answers, as it had them. One JSON object a line, written as it is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from shape import SHAPES
from transformers import Qwen2Config, Qwen2ForCausalLM

RUNGS = {"3B 128/512": ("3B", 128, 512), "3B 50/200": ("3B", 50, 200), "1.5B 50/200": ("1.5B", 50, 200)}
ATTENTION = ("sdpa", "sdpa_flash", "flash_attention_2", "eager")
"""sdpa_flash is PyTorch's own FlashAttention-2 kernel and no other; flash_attention_2 needs the package flash_attn."""
_SUBQUERIES, _SUBQUERY_PROMPT, _ANSWER_PROMPT = 3, 600, 1_200
_WARM_UP_TOKENS = 16


def make_model(shape: str, attention: str, device: str) -> Qwen2ForCausalLM:
    """Random weights in bf16."""
    implementation = "sdpa" if attention == "sdpa_flash" else attention
    config = Qwen2Config(
        **SHAPES[shape], max_position_embeddings=32768, rope_theta=1e6, attn_implementation=implementation
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return model.eval()


@contextlib.contextmanager
def kernels(attention: str) -> Iterator[None]:
    """PyTorch's choice among its attention kernels."""
    if attention != "sdpa_flash":
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        yield


@torch.inference_mode()
def generate(model: Qwen2ForCausalLM, prompt_tokens: int, new_tokens: int, temperature: float) -> float:
    """Seconds of one generation."""
    ids = torch.randint(10, 2000, (1, prompt_tokens), device=model.device)
    began = time.perf_counter()
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        temperature=temperature,
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        pad_token_id=0,
    )
    out.cpu()
    seconds = time.perf_counter() - began
    if out.shape[1] != prompt_tokens + new_tokens:
        raise RuntimeError(f"{out.shape[1] - prompt_tokens} tokens instead of {new_tokens}")
    return seconds


def question(model: Qwen2ForCausalLM, subquery: int, answer: int) -> tuple[float, float]:
    """Seconds of the subqueries together, and of the answer."""
    subqueries = sum(generate(model, _SUBQUERY_PROMPT, subquery, 0.7) for _ in range(_SUBQUERIES))
    return subqueries, generate(model, _ANSWER_PROMPT, answer, 0.3)


def measure(rung: str, attention: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One rung with one kind of attention."""
    shape, subquery, answer = RUNGS[rung]
    shape = "tiny" if arguments.tiny else shape
    model = make_model(shape, attention, arguments.device)
    with kernels(attention):
        for prompt in (_SUBQUERY_PROMPT, _ANSWER_PROMPT):
            generate(model, prompt, _WARM_UP_TOKENS, 0.7)
        runs = [question(model, subquery, answer) for _ in range(arguments.repeats)]
    totals = [sum(run) for run in runs]
    return {
        "bench": "predecessor",
        "rung": rung,
        "shape": shape,
        "attention": attention,
        "question_s": totals,
        "subqueries_s": [run[0] for run in runs],
        "answer_s": [run[1] for run in runs],
        "median_s": statistics.median(totals),
        "least_s": min(totals),
        "token_ms": [total / (_SUBQUERIES * subquery + answer) * 1000 for total in totals],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "command": " ".join(sys.argv),
    }


def main() -> None:
    """Measure each rung that was asked for, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rung", action="append", choices=RUNGS)
    parser.add_argument("--attention", action="append", choices=ATTENTION)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=300.0, help="no rung is begun after it")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the tiny shape, for a rehearsal")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    began = time.monotonic()

    def write(record: dict[str, Any]) -> None:
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)

    for attention in arguments.attention or ATTENTION[:3]:
        for rung in arguments.rung or RUNGS:
            label = {"bench": "predecessor", "rung": rung, "attention": attention}
            if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
                write({**label, "skipped": "flash_attn is not installed on this machine"})
            elif time.monotonic() - began > arguments.limit_s:
                write({**label, "skipped": "no time left"})
            else:
                try:
                    write(measure(rung, attention, arguments))
                except RuntimeError as error:
                    write({**label, "failed": str(error)[:300]})
                torch.cuda.empty_cache() if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
