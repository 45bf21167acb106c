"""The predecessor's way on this GPU: transformers.generate, three subqueries one after another, then one answer.

Random weights of the real shapes; prompts of 600 and 1,200 tokens; min_new_tokens = max_new_tokens; temperature 0.7 for
subqueries and 0.3 for answers, as it had them. One JSON object a line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from pathlib import Path

import torch
import transformers
from shape import SHAPES
from transformers import Qwen2Config, Qwen2ForCausalLM

RUNGS = {"3B 128/512": ("3B", 128, 512), "3B 50/200": ("3B", 50, 200), "1.5B 50/200": ("1.5B", 50, 200)}
_SUBQUERIES, _SUBQUERY_PROMPT, _ANSWER_PROMPT = 3, 600, 1_200


def make_model(shape: str, attention: str, device: str) -> Qwen2ForCausalLM:
    """Random weights in bf16."""
    config = Qwen2Config(**SHAPES[shape], max_position_embeddings=32768, rope_theta=1e6, attn_implementation=attention)
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        model = Qwen2ForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    return model.eval()


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
    assert out.shape[1] == prompt_tokens + new_tokens
    return seconds


def question(model: Qwen2ForCausalLM, subquery: int, answer: int) -> tuple[float, float]:
    """Seconds of the subqueries together, and of the answer."""
    subqueries = sum(generate(model, _SUBQUERY_PROMPT, subquery, 0.7) for _ in range(_SUBQUERIES))
    return subqueries, generate(model, _ANSWER_PROMPT, answer, 0.3)


def main() -> None:
    """Measure each rung that was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rung", action="append", choices=RUNGS)
    parser.add_argument("--attention", action="append", choices=["sdpa", "flash_attention_2"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the tiny shape, for a rehearsal")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for attention in arguments.attention or ["sdpa", "flash_attention_2"]:
        if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
            record = {"attention": attention, "skipped": "flash_attn is not installed on this machine"}
            with arguments.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            continue
        for rung in arguments.rung or RUNGS:
            shape, subquery, answer = RUNGS[rung]
            model = make_model("tiny" if arguments.tiny else shape, attention, arguments.device)
            generate(model, 64, 8, 0.7)
            runs = [question(model, subquery, answer) for _ in range(arguments.repeats)]
            totals = [sum(run) for run in runs]
            record = {
                "bench": "predecessor",
                "rung": rung,
                "shape": "tiny" if arguments.tiny else shape,
                "attention": attention,
                "question_s": totals,
                "subqueries_s": [run[0] for run in runs],
                "answer_s": [run[1] for run in runs],
                "mean_s": statistics.fmean(totals),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
            }
            with arguments.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(json.dumps(record), flush=True)
            del model
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
