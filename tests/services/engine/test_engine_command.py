"""`python -m services.engine`, run as a process would run it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from argo.server import start
from argo.telemetry import Telemetry
from argo.v1 import types_pb2
from services.decomposer.servicer import Decomposer
from services.decomposer.settings import DecomposerSettings
from services.engine import doctor
from services.engine.__main__ import app
from services.engine.doctor import machine_checks, model_checks, service_checks, service_info
from services.engine.option import known_options
from services.engine.profile import load_profile, profile_names


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def _lines(*arguments: str) -> list[dict[str, Any]]:
    result = _run(*arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


# --- profiles --------------------------------------------------------------------------------------------------------


def test_every_profile_is_listed_after_its_base() -> None:
    listed = [line["name"] for line in _lines("profiles", "--json")]
    assert sorted(listed) == list(profile_names())
    for name in listed:
        base = load_profile(name).base
        assert base is None or listed.index(base) < listed.index(name)


def test_a_listed_profile_says_what_it_changes_and_which_vllm_has_it_all() -> None:
    by_name = {line["name"]: line for line in _lines("profiles", "--json")}
    assert by_name["block_32"]["changes"] == [{"setting": "block_size", "before": None, "after": 32}]
    assert by_name["default"]["vllm"] == list(known_options())
    assert by_name["swap_space"]["vllm"] == []
    assert by_name["baseline"]["label"] == "baseline@1"


def test_the_list_has_each_label_once_and_unbroken() -> None:
    begins = [line.split(" ")[0] for line in _run("profiles").stdout.splitlines()]
    assert [begins.count(load_profile(name).label) for name in profile_names()] == [1] * len(profile_names())


def test_one_profile_is_shown_with_what_it_inherits() -> None:
    shown = _run("profiles", "params").stdout
    assert "not when" in shown and "max_tokens 50, temperature 0.7" in shown and "enforce_eager" in shown


def test_two_profiles_are_compared() -> None:
    (line,) = _lines("profiles", "params", "--against", "baseline", "--json")
    assert (line["before"], line["after"]) == ("baseline@1", "params@1")
    assert [change["setting"] for change in line["changes"]] == ["decomposer.max_tokens", "synthesizer.max_tokens"]
    shown = _run("profiles", "params", "--against", "baseline").stdout
    assert "128" in shown and "512" in shown
    assert "do the same" in _run("profiles", "params", "--against", "params").stdout


def test_an_unknown_profile_is_a_mistake_without_a_traceback() -> None:
    result = _run("profiles", "fastest")
    assert result.exit_code == 2
    assert "profile must be one of" in result.stderr and "Traceback" not in result.output
    assert _run("profiles", "--against", "baseline").exit_code == 2


# --- size ------------------------------------------------------------------------------------------------------------


def test_size_as_json_and_as_a_table_agree() -> None:
    arguments = ("size", "--model", "Qwen2.5-1.5B-Instruct", "--gpu-memory", "24GiB", "--concurrency", "64")
    (line,) = _lines(*arguments, "--json")
    assert line["kv_bytes_per_token"] == 28_672
    assert line["demand"]["max_len"] == 4_096
    shown = _run(*arguments).stdout
    assert f"{line['largest_max_len']:,}" in shown and f"{line['kv_cache_tokens']:,}" in shown


def test_what_cannot_fit_leaves_with_what_would() -> None:
    result = _run("size", "--model", "Qwen2.5-7B", "--gpu-memory", "16GiB")
    assert result.exit_code == 2
    assert "What would fit: " in result.stderr and "--quantization fp8_per_tensor" in result.stderr
    fitting = ("--quantization", "fp8_per_tensor", "--max-len", "2048", "--json")
    assert _lines("size", "--model", "Qwen2.5-7B", "--gpu-memory", "16GiB", *fitting)


def test_what_cannot_fit_is_json_too() -> None:
    result = _run("size", "--model", "Qwen2.5-7B", "--gpu-memory", "16GiB", "--json")
    (line,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 2 and line["fits"] is False
    assert "--quantization fp8_per_tensor" in line["would_fit"]


def test_a_memory_without_a_unit_is_refused() -> None:
    result = _run("size", "--model", "Qwen2.5-7B", "--gpu-memory", "24")
    assert result.exit_code == 2 and "size with its unit" in result.stderr


# --- doctor ----------------------------------------------------------------------------------------------------------


def _gpu(**fields: Any) -> types_pb2.Gpu:
    return types_pb2.Gpu(
        index=1, name="NVIDIA H200", memory_bytes=140 * 2**30, memory_used_bytes=40 * 2**30, utilisation=0.25, **fields
    )


def test_a_gpu_is_shown_with_its_free_memory_use_and_links() -> None:
    found = doctor.gpu_check(_gpu(links=["0: NVLink"])).found
    assert found == "NVIDIA H200, 100.0 GiB free of 140.0 GiB, 25% busy, to 0: NVLink"


def test_gpus_that_are_not_there_are_a_problem() -> None:
    # Neither this machine's driver nor its lack of one has a GPU of this number.
    assert [check.name for check in machine_checks([999]) if check.ok is False] == ["GPUs"]
    assert _run("doctor", "--gpus", "999").exit_code == 1


def test_a_machine_without_gpus_and_vllm_is_no_problem_but_is_said() -> None:
    result = _run("doctor", "--json")
    names = [json.loads(line)["name"] for line in result.stdout.splitlines()]
    assert {"GPUs", "vllm", "torch", "profiles"} <= set(names)
    assert result.exit_code == 0, result.output


def test_a_folder_that_is_no_model_is_a_problem(tmp_path: Path) -> None:
    result = _run("doctor", "--model", str(tmp_path))
    assert result.exit_code == 1
    assert "config.json is missing" in " ".join(result.stdout.split())
    assert [check.ok for check in model_checks(tmp_path)] == [False, None]


def test_what_a_service_reports_is_shown_in_words() -> None:
    info = types_pb2.ServiceInfo(service="synthesizer", version="0.1", uptime_s=12)
    info.engine.CopyFrom(
        types_pb2.EngineInfo(
            name="vllm",
            version="0.32.0",
            language_model=True,
            model="tiny",
            profile="default@1",
            dtype="bfloat16",
            kv_cache_tokens=2_048,
            kv_cache_bytes=2**30,
            capture_sizes=[1, 2, 4],
            gpu_memory_share=0.45,
            prefix_hit_rate=0.73,
            gpus=[_gpu()],
        )
    )
    found = {check.name: check.found for check in service_checks(info)}
    assert found["engine"] == "vllm 0.32.0"
    assert found["KV cache"] == "2,048 tokens, 1.0 GiB"
    assert found["capture sizes"] == "3, from 1 to 4"
    assert found["quantisation"] == "none"
    assert found["prefix hits"] == "73% of prompt tokens"
    assert "GPU 1" in found and "GPUs" not in found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpus", "x"), """gpus must be indexes parted by commas, such as "0" or "1,2", got 'x'"""),
        (("--gpus", "0,0"), "gpus must name each GPU once, got '0,0'"),
        (("--target", "127.0.0.1:1", "--gpus", "0"), "target asks a running service"),
        (("--hashes",), "hashes needs model"),
    ],
)
def test_a_check_that_cannot_be_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = _run("doctor", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr and "Traceback" not in result.output


@pytest.fixture
async def target() -> AsyncIterator[str]:
    settings = DecomposerSettings(port=0)
    running = await start(Decomposer(settings, Telemetry(None)), settings, Telemetry(None))
    yield f"127.0.0.1:{running.port}"
    await running.stop(0)


async def test_a_running_service_is_asked_over_grpc(target: str) -> None:
    info = await service_info(target)
    assert (info.service, info.engine.name) == ("decomposer", "builtin")
    assert {check.name for check in service_checks(info)} >= {"service", "engine", "GPUs"}


def test_a_service_that_is_not_there_is_an_error_without_a_traceback() -> None:
    result = _run("doctor", "--target", "127.0.0.1:1")
    assert result.exit_code == 1 and "could not reach 127.0.0.1:1" in result.stderr
    assert _run("doctor", "--target", "nowhere").exit_code == 2


# --- bench -----------------------------------------------------------------------------------------------------------


def test_the_mix_of_a_question_is_three_subqueries_and_an_answer(tmp_path: Path) -> None:
    script = tmp_path / "fast.json"
    origin = {
        "model": "scripted",
        "hardware": "none",
        "engine": "none",
        "command": "none",
        "recorded_on": "2026-01-31",
        "prompt_tokens": 600,
        "completion_tokens": 50,
    }
    points = [{"batch": 1, "ttft_s": 0.01, "tpot_s": 0.0002}, {"batch": 8, "ttft_s": 0.01, "tpot_s": 0.0002}]
    script.write_text(json.dumps({"origin": origin, "points": points, "max_num_seqs": 8}))
    arguments = ("--engine", "scripted", "--script", str(script), "--role-mix", "--in-flight", "1,2", "--count", "3")
    first, second = _lines("bench", *arguments)
    assert (first["in_flight"], second["in_flight"]) == (1, 2)
    assert first["completion_tokens"] == 3 * 50 + 200
    # A word is a token to this engine: lengths are met to the word.
    assert first["prompt_tokens"] == 3 * 600 + 1_200
    assert len(first["samples"]) == first["count"] == 3
    # Two stages after each other, each of them as long as its script says.
    assert first["latency_s"]["p50"] >= 2 * 0.01 + 249 * 0.0002
    assert first["ttft_s"]["p50"] < first["latency_s"]["p50"]
    assert first["latency_s"]["p50"] <= first["latency_s"]["p95"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--in-flight", "0"), "in_flight must be numbers"),
        (("--engines", "2"), "engines 2 needs --role-mix"),
        (("--engine", "abacus"), "engine must be one of"),
        (("--profile", "fastest"), "profile must be one of"),
        (("--shared", "1.5", "--engine", "scripted"), "shared must be in 0..1"),
        (("--shared", "1.5"), "shared must be in 0..1"),  # before the package vllm is missed, or loads
        (("--share", "2"), "gpu_memory_share should be less than or equal to 1, got 2.0"),
        (("--engine-options", "[1]"), "engine_options must be a JSON object, got '[1]'"),
        (("--engine", "openai", "--api-key", "sk-secret"), "engine openai needs base_url and model"),
        (("--engines", "2", "--role-mix"), "share must be at most 0.5 where two engines are on the same GPUs, got 0.9"),
    ],
)
def test_a_bench_that_cannot_be_is_refused(arguments: tuple[str, ...], said: str) -> None:
    result = _run("bench", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr and "Traceback" not in result.output
    # One line in our words, neither pydantic's page nor a key.
    assert "pydantic" not in result.output and "sk-secret" not in result.output


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = _run("profile", "--out", str(tmp_path / "file" / "below"))
    assert result.exit_code == 1
    assert f"{tmp_path / 'file'}" in result.stderr and "Traceback" not in result.output


def test_a_trace_needs_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    result = _run("profile", "--out", str(tmp_path), "--model", "nowhere")
    assert result.exit_code == 2 and "out must be an empty folder" in result.stderr
