"""Make the scripts that the scripted engines play: a 1.5B model on an H200 and on an RTX 3060.

    python docs/results/inside-budget/script.py docs/results/h200/data/gate.jsonl docs/results/inside-budget

H200: the first point is the speed of one request alone without a prefix cache; the others are the bare engines of that
record, at the mean number of requests that ran then (Little's law: rate times mean time in the engine), each role's
engine by itself while the other one shared the GPU. RTX 3060: computed from the card's published figures, since none
was at hand: see `_rtx_3060`.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

_SUBQUERY_TOKENS = 50
_ANSWER_TOKENS = 200
_ALONE_H200 = (0.024, 0.0021)
_ALONE_RTX_3060 = (0.100, 0.0086)
_DAY = "2026-11-21"


def _h200(record: Path, role: str, a_question: int, tokens: int) -> list[dict[str, Any]]:
    """Points of one role's engine.

    Args:
        record: Lines of the ladder; those of the bare engines are used.
        role: "subquery" or "answer".
        a_question: Requests of that role for each question.
        tokens: Completion tokens of each.
    """
    levels: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    for line in record.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["bench"] != "bare" or row["in_flight"] == 1:
            continue
        ttft_s, tpot_s = row[f"{role}_ttft_s"], row[f"{role}_tpot_s"]
        in_engine_s = ttft_s["mean"] + (tokens - 1) * tpot_s["mean"]
        running = row["questions_per_s"] * a_question * in_engine_s
        levels[row["in_flight"]].append((running, ttft_s["p50"], tpot_s["p50"]))
    points = [{"batch": 1, "ttft_s": _ALONE_H200[0], "tpot_s": _ALONE_H200[1]}]
    for _, found in sorted(levels.items()):
        running, ttft_s, tpot_s = (statistics.fmean(each) for each in zip(*found, strict=True))
        # A fuller batch is not faster; what was measured with a prefix cache may be, beside the point without.
        last = points[-1]
        points.append(
            {
                "batch": round(running),
                "ttft_s": round(max(ttft_s, last["ttft_s"]), 5),
                "tpot_s": round(max(tpot_s, last["tpot_s"]), 6),
            }
        )
    return points


def _rtx_3060(context: int) -> list[dict[str, Any]]:
    """Points by roofline: 360 GB/s and 25.5 Tflop/s (fp16, fp32 sums), 1.54e9 parameters of two bytes.

    A step reads the weights, which is the 8.6 ms of one request alone, and the keys and values of each running request,
    28 KiB a token; the arithmetic of up to 64 tokens hides behind that. Prefill is arithmetic and is done one prompt
    after another, so that of b prompts sent at once the median waits for (b + 1) / 2 of them.

    Args:
        context: Tokens of each running request.
    """
    points = []
    for batch in (1, 2, 4, 8, 16, 32, 64):
        kv_s = (batch - 1) * context * 28 * 1024 / 360e9
        points.append(
            {
                "batch": batch,
                "ttft_s": round(_ALONE_RTX_3060[0] * (batch + 1) / 2, 5),
                "tpot_s": round(_ALONE_RTX_3060[1] + kv_s, 6),
            }
        )
    return points


def _script(points: list[dict[str, Any]], origin: dict[str, Any]) -> dict[str, Any]:
    # As long as a model's answer may be, with a citation at the end of each sentence of twenty words.
    words = [f"word{number}" + (" [1]." if number % 20 == 0 else "") for number in range(1, _ANSWER_TOKENS + 1)]
    return {
        "origin": {"recorded_on": _DAY, "command": "python docs/results/inside-budget/script.py", **origin},
        "points": points,
        "max_num_seqs": min(256, points[-1]["batch"]),
        "queue": "deadline",
        "rules": [{"kind": "subquery", "text": "{words}"}, {"kind": "answer", "text": " ".join(words)}],
    }


def main(record: Path, folder: Path) -> None:
    """Write one script for each machine and role."""
    for role, a_question, tokens, prompt in (
        ("subquery", 3, _SUBQUERY_TOKENS, 600),
        ("answer", 1, _ANSWER_TOKENS, 1200),
    ):
        about = {"model": "Qwen2.5-1.5B shape", "prompt_tokens": prompt, "completion_tokens": tokens}
        h200 = {"hardware": "NVIDIA H200", "engine": "vLLM 0.26.0, profile default", "note": record.name}
        rtx = {"hardware": "NVIDIA GeForce RTX 3060", "engine": "computed", "note": "roofline, not measured"}
        for name, script in (
            ("h200", _script(_h200(record, role, a_question, tokens), {**about, **h200})),
            ("rtx-3060", _script(_rtx_3060(prompt + tokens), {**about, **rtx})),
        ):
            path = folder / f"{name}-{role}.json"
            path.write_text(json.dumps(script, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
