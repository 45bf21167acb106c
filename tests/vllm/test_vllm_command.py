"""`python -m services.engine` on real vLLM, as a process: what is on which stream, and what a mistake leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.plan import ROOT

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:::(torch|transformers|vllm)"),
]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "services.engine", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_bench_writes_json_alone_to_standard_output_and_ends_cleanly(tiny_qwen2: Path) -> None:
    lengths = ("--prompt-tokens", "40", "--completion-tokens", "8")
    load = ("--in-flight", "1,2", "--count", "3", *lengths)
    done = _run("bench", "--model", str(tiny_qwen2), "--profile", "cpu", *load)
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["in_flight"], second["in_flight"]) == (1, 2)
    assert first["completion_tokens"] == second["completion_tokens"] == 8
    # Prompts have the tokens asked for, but for the template's own and the rounding to words.
    assert 30 <= first["prompt_tokens"] <= 60
    assert "Traceback" not in done.stderr
    # vLLM tells there what would break with a later version of it.
    assert "Passing raw prompts" not in done.stderr


def test_a_model_that_is_not_to_be_had_is_named_without_a_traceback() -> None:
    done = _run("bench", "--model", "argo/there-is-none", "--profile", "cpu", "--count", "1")
    assert done.returncode == 1
    assert "cannot find model 'argo/there-is-none'" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
