"""The command line, as a process and through its runner, against a fake of our own wire."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stack import TRACE_ID, FakeStack
from typer.testing import CliRunner, Result

import argo
from argo.cli import app
from argo.v1 import orchestrator_pb2

ROOT = Path(__file__).parents[2]


def run(stack: FakeStack | None, *arguments: str, width: int = 80) -> Result:
    target = ["--target", stack.target, "--retriever-target", stack.retriever_target] if stack else []
    return CliRunner().invoke(app, [*target, *arguments], env={"COLUMNS": str(width)}, prog_name="argo")


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_ask_shows_the_steps_the_reason_the_answer_its_source_and_the_budget(threaded_stack: FakeStack) -> None:
    result = run(threaded_stack, "ask", "What does A1 carry?")
    assert result.exit_code == 0
    for told in (
        "mdp on 1 focus, budget 1000 ms",
        "f1 What A1 carries",
        "step 1  retrieve f1  U 0.00, 998 ms left",
        "why     retrieve 1 is worth 0.61, terminate 0.00",
        "search  f1            A1 policies",
        "found   f1 (5)        0.90  interfaces.md > Interfaces > A1",
        "U 0.00 > 1.00, closed f1, 2 searches, 5 new passages, 8.1 ms",
        "A1 carries policies from the Non-RT RIC to the Near-RT RIC [1].",
        "[1] interfaces.md > Interfaces > A1",
        "20.0 ms of 1000 ms: budget met",
        "ended by policy",
        "650 tokens, 2 cached subqueries",
        f"trace {TRACE_ID}",
    ):
        assert told in result.stdout, told


@pytest.mark.parametrize("width", [80, 120])
def test_the_waterfall_fits_its_width_and_its_bars_stand_where_the_calls_were(
    threaded_stack: FakeStack, width: int
) -> None:
    result = run(threaded_stack, "ask", "What does A1 carry?", width=width)
    rows = [line for line in result.stdout.splitlines() if "\u2588" in line]
    assert max(len(line) for line in result.stdout.splitlines()) <= width
    assert [" ".join(row.split()[:2]) for row in rows] == [
        "question 0.0",
        "decomposer PlanFoci",
        "step 1",
        "decomposer GenerateSubquery",
        "retriever Search",
        "retriever Search",
        "synthesizer Synthesize",
    ]
    whole = rows[0].index("\u2588"), rows[0].rindex("\u2588") + 1
    # The answer was written from 13 to 18 of 20 ms.
    bar = rows[-1].index("\u2588"), rows[-1].rindex("\u2588") + 1
    scale = (whole[1] - whole[0]) / 20
    assert abs(bar[0] - (whole[0] + 13 * scale)) <= 1
    assert abs(bar[1] - (whole[0] + 18 * scale)) <= 1
    # start, time, exclusive (two calls in parallel share 2 ms), network
    assert rows[3].split()[2:6] == ["4.0", "4.0", "2.0", "1.0"]


def test_piped_output_holds_no_escape_codes(threaded_stack: FakeStack) -> None:
    assert "\x1b" not in run(threaded_stack, "ask", "What does A1 carry?").stdout


def test_multiple_choice_shows_the_chosen_option_and_every_probability(threaded_stack: FakeStack) -> None:
    result = run(threaded_stack, "ask", "Which plane?", "--options", "C-plane | U-plane|S-plane|M-plane")
    assert "> 0.25  U-plane" in result.stdout.replace(">  ", "> ")
    assert list(threaded_stack.orchestrator.requests[0].options) == ["C-plane", "U-plane", "S-plane", "M-plane"]
    run(threaded_stack, "ask", "Which plane?", "-o", "C|x", "--option", "U")
    assert list(threaded_stack.orchestrator.requests[1].options) == ["C|x", "U"]


def test_json_is_one_event_a_line_and_the_answer_last(threaded_stack: FakeStack) -> None:
    result = run(threaded_stack, "ask", "What does A1 carry?", "--json")
    events = lines(result)
    assert [event["event"] for event in events][:2] == ["policy", "step_started"]
    assert events[-1]["event"] == "answer"
    assert events[-1]["citations"][0]["source"] == "interfaces.md"
    assert events[-1]["within_budget"] is True
    assert events[-1]["usage"] == {
        "prompt_tokens": 600,
        "completion_tokens": 50,
        "cached_tokens": 512,
        "cached_subqueries": 2,
    }


def test_every_option_of_ask_arrives(threaded_stack: FakeStack) -> None:
    command = "--budget-ms 0 --strategy random --session-id mine --seed 4 --max-steps 2 --fan-out 3 --top-k 4"
    assert run(threaded_stack, "ask", "q", *command.split(), "--max-answer-tokens", "9").exit_code == 0
    request = threaded_stack.orchestrator.requests[0]
    assert (request.budget_ms, request.strategy, request.session_id, request.seed) == (0, "random", "mine", 4)
    sent = request.limits
    assert (sent.max_steps, sent.fan_out, sent.top_k, sent.max_answer_tokens) == (2, 3, 4, 9)


def test_an_abstention_is_an_answer_unless_asked_otherwise(threaded_stack: FakeStack) -> None:
    threaded_stack.orchestrator.abstains = True
    assert run(threaded_stack, "ask", "q").exit_code == 0
    assert run(threaded_stack, "ask", "q", "--exit-unanswered").exit_code == 3


@pytest.mark.parametrize("width", [80, 120])
def test_control_characters_of_documents_never_reach_the_terminal(threaded_stack: FakeStack, width: int) -> None:
    threaded_stack.orchestrator.extra.append(
        orchestrator_pb2.AskEvent(
            step_started=orchestrator_pb2.StepStarted(
                index=1, reason="be\x1b[2Jware\x07 [bold]not markup[/bold] :smile:"
            )
        )
    )
    result = run(threaded_stack, "ask", "q", width=width)
    assert "\x1b" not in result.stdout and "\x07" not in result.stdout
    assert "[bold]not markup[/bold] :smile:" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ask", ""), "question must not be empty"),
        (("ask", "q", "--option", "one"), "options must be empty or hold 2..10 entries, got 1"),
        (("ask", "q", "--budget-ms", "49"), "budget_ms must be 0 (none) or in 50..60000, got 49"),
        (("ask", "q", "--budget-ms", "-5"), "got -5"),
        (("sessions", "show", "nope"), "session_id must name a recorded session, got 'nope'"),
        (("sessions", "resume", "nope"), "got 'nope'"),
        (("ingest", "/nowhere/at/all"), "/nowhere/at/all: it does not exist"),
        (("trace", "last"), "ARGO_CLIENT_SPAN_DIR"),
        (("trace", "list", "--dir", "/nowhere/at/all"), "/nowhere/at/all: there is none"),
    ],
)
def test_a_users_mistake_leaves_with_2_and_one_line(
    threaded_stack: FakeStack, arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(threaded_stack, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.startswith("argo: ") and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("ask",), ("ask", "q", "--budget-ms", "soon"), ("nonsense",), ("ask", "q", "--options", "a|b", "--option", "c")],
)
def test_wrong_usage_leaves_with_2(arguments: tuple[str, ...]) -> None:
    assert run(None, *arguments).exit_code == 2


def test_an_error_is_json_too_where_json_was_wanted(threaded_stack: FakeStack) -> None:
    result = run(threaded_stack, "ask", "", "--session-id", "mine", "--json")
    assert result.exit_code == 2
    (told,) = lines(result)
    assert (told["event"], told["code"], told["session_id"]) == ("error", "INVALID_ARGUMENT", "mine")


def test_a_stack_that_is_not_there_leaves_with_1_and_says_how_to_start_one() -> None:
    result = CliRunner().invoke(app, ["--target", "127.0.0.1:1", "ask", "q"])
    assert result.exit_code == 1
    assert "Ask could not reach 127.0.0.1:1" in result.stderr
    assert "make up" in result.stderr


def test_a_lost_question_names_the_command_that_goes_on_with_it(threaded_stack: FakeStack) -> None:
    threaded_stack.orchestrator.raises = argo.UnavailableError("the orchestrator is stopping")
    threaded_stack.orchestrator.raises_after = 2
    result = run(threaded_stack, "ask", "q", "--session-id", "mine")
    assert result.exit_code == 1
    assert "argo sessions resume mine" in result.stderr
    assert "Ask again" not in result.stderr


def test_a_question_that_failed_is_to_be_asked_again_and_not_to_be_resumed(threaded_stack: FakeStack) -> None:
    threaded_stack.orchestrator.raises = argo.UnavailableError("the retriever could not be reached")
    threaded_stack.orchestrator.raises_after = 2
    threaded_stack.orchestrator.fails = True
    result = run(threaded_stack, "ask", "q", "--session-id", "mine")
    assert result.exit_code == 1
    assert result.stderr == (
        "Ask again once argo health shows all SERVING.\nargo: the retriever could not be reached\n"
    )


def test_an_unknown_setting_leaves_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_CLIENT_TARGT", "x")
    result = run(None, "health")
    assert result.exit_code == 2
    assert "did you mean ARGO_CLIENT_TARGET?" in result.stderr


def test_ingest_reports_what_became_of_every_document(threaded_stack: FakeStack, tmp_path: Path) -> None:
    for name, text in (("a.md", "A"), ("b.pdf", "broken"), ("c.py", "x")):
        (tmp_path / name).write_text(text)
    result = run(threaded_stack, "ingest", str(tmp_path))
    assert result.exit_code == 0
    assert "failed   b.pdf: it is no PDF" in result.stdout
    assert "1 indexed, 1 failed, 1 files with other endings left out; 2 passages" in result.stdout
    assert result.stderr == ""
    report = lines(run(threaded_stack, "ingest", str(tmp_path), "--sync", "--json"))
    assert [line["event"] for line in report] == ["progress", "progress", "report"]
    assert [outcome["status"] for outcome in report[-1]["outcomes"]] == ["unchanged", "failed"]


def test_ingest_of_broken_documents_only_leaves_with_1(threaded_stack: FakeStack, tmp_path: Path) -> None:
    (tmp_path / "b.pdf").write_text("broken")
    assert run(threaded_stack, "ingest", str(tmp_path)).exit_code == 1


def test_documents_and_search(threaded_stack: FakeStack, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("A")
    run(threaded_stack, "ingest", str(tmp_path))
    assert "1 document, 2 passages" in run(threaded_stack, "documents").stdout
    assert lines(run(threaded_stack, "documents", "--json"))[0]["documents"][0]["source"] == "a.md"
    assert "1  0.90  interfaces.md > Interfaces > A1" in run(threaded_stack, "search", "A1", "--top-k", "2").stdout
    assert len(lines(run(threaded_stack, "search", "A1", "--json"))[0]["passages"]) == 5


def test_policy_alone_shows_bands_thresholds_verdict_and_parameters(threaded_stack: FakeStack) -> None:
    result = run(threaded_stack, "policy")
    for told in ("retrieve 3", "theta_cont 0.667, theta_star 0.667, verdict one action", "cost_weight", "0.6"):
        assert told in result.stdout, told
    shown = [" ".join(row.split()) for row in result.stdout.splitlines()]
    assert any(row.endswith("answer_free 20 measured") for row in shown)
    assert any(row.endswith("retrieve_1 10 builtin") for row in shown)
    again = shown.index("progress U action, every open focus searched once before")
    assert shown[again + 1] == "0.000 to 1.000 terminate"


def test_policy_with_progress_shows_q_values_at_the_time_left(threaded_stack: FakeStack) -> None:
    result = run(threaded_stack, "policy", "--progress", "0.5", "--progress", "1", "--time-left-ms", "200")
    assert result.exit_code == 0
    assert "0.500  0.5000  terminate" in result.stdout
    states = threaded_stack.orchestrator.requests[-1].states
    assert [(state.progress, state.time_left_ms) for state in states] == [(0.5, 200.0), (1.0, 200.0)]
    run(threaded_stack, "policy", "show", "--progress", "0", "--time-left-ms", "0")
    assert not threaded_stack.orchestrator.requests[-1].states[0].HasField("time_left_ms")


def test_policy_reload(threaded_stack: FakeStack) -> None:
    assert "policy.json" in run(threaded_stack, "policy", "reload").stdout
    assert lines(run(threaded_stack, "policy", "reload", "--json")) == [{"origin": "policy.json", "solve_s": 0.012}]


def test_sessions_alone_lists_them_and_one_can_be_shown_resumed_and_deleted(threaded_stack: FakeStack) -> None:
    run(threaded_stack, "ask", "Which plane?", "--options", "C|U", "--session-id", "mine")
    assert "mine     finished" in run(threaded_stack, "sessions").stdout
    assert lines(run(threaded_stack, "sessions", "--json"))[0]["sessions"][0]["session_id"] == "mine"
    assert "no sessions" in run(threaded_stack, "sessions", "list", "--status", "failed").stdout
    shown = run(threaded_stack, "sessions", "show", "mine").stdout
    assert "Which plane?" in shown and "why     retrieve 1 is worth 0.61" in shown and "budget met" in shown
    assert lines(run(threaded_stack, "sessions", "show", "mine", "--json"))[0]["answer"]["event"] == "answer"
    resumed = run(threaded_stack, "sessions", "resume", "mine", "--budget-ms", "500")
    assert resumed.exit_code == 0 and "U" in resumed.stdout
    assert run(threaded_stack, "sessions", "delete", "mine").stdout == "deleted mine\n"
    assert run(threaded_stack, "sessions", "delete", "mine").exit_code == 2


def test_health_leaves_with_0_where_all_serve_and_with_1_where_one_does_not(threaded_stack: FakeStack) -> None:
    assert run(threaded_stack, "health").exit_code == 0
    threaded_stack.orchestrator.peers.append(
        orchestrator_pb2.PeerInfo(service="synthesizer", target="127.0.0.1:2", health="UNREACHABLE")
    )
    result = run(threaded_stack, "health", "--wait", "0.2")
    assert result.exit_code == 1
    assert "UNREACHABLE" in result.stdout
    assert lines(run(threaded_stack, "health", "--json"))[0]["serving"] is False


def test_info_names_strategies_and_limits(threaded_stack: FakeStack) -> None:
    assert "mdp, single_shot" in run(threaded_stack, "info").stdout
    assert lines(run(threaded_stack, "info", "--json"))[0]["limits"] == {"top_k_max": 20}


def test_a_question_asked_here_can_be_traced_here(threaded_stack: FakeStack, tmp_path: Path) -> None:
    environ = {"ARGO_CLIENT_SPAN_DIR": str(tmp_path / "spans"), "COLUMNS": "80"}
    target = ["--target", threaded_stack.target]
    CliRunner().invoke(app, [*target, "ask", "What does A1 carry?"], env=environ)
    result = CliRunner().invoke(app, ["trace"], env=environ)
    assert result.exit_code == 0
    assert "argo.ask" in result.stdout and "orchestrator Ask" in result.stdout and "crit" in result.stdout
    (listed,) = lines(CliRunner().invoke(app, ["trace", "list", "--json"], env=environ))[0]["traces"]
    shown = CliRunner().invoke(app, ["trace", "show", listed["trace_id"][:8], "--json"], env=environ)
    spans = lines(shown)[0]["spans"]
    assert [span["name"] for span in spans] == ["argo.ask", "argo.v1.OrchestratorService/Ask"]
    assert sum(span["exclusive_s"] for span in spans) == pytest.approx(spans[0]["duration_s"])
    unknown = CliRunner().invoke(app, ["trace", "show", "ffff"], env=environ)
    assert unknown.exit_code == 2
    assert "trace_id must name one trace, got 'ffff': no trace begins with it" in unknown.stderr


@pytest.mark.parametrize("command", ["", "ask", "ingest", "documents", "search", "health", "info"])
def test_every_command_has_help(command: str) -> None:
    result = run(None, *command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage: argo" in result.stdout


def test_the_traces_of_a_checkouts_stack_are_found_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".argo" / "span").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "got .argo/span: none there yet" in CliRunner().invoke(app, ["trace"]).stderr


@pytest.mark.parametrize("group", ["policy", "sessions", "trace"])
def test_every_group_has_help_of_its_own(group: str) -> None:
    result = run(None, group, "--help")
    assert result.exit_code == 0
    assert f"Usage: argo {group} [OPTIONS] COMMAND" in result.stdout


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option: str) -> None:
    assert run(None, option).stdout == f"argo {argo.__version__}\n"


def process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "argo.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal's child has it: one that a shell put into the background inherits it as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_with_130_and_no_traceback(threaded_stack: FakeStack) -> None:
    threaded_stack.orchestrator.hangs = True
    with process("--target", threaded_stack.target, "ask", "q", "--budget-ms", "0", "--json") as running:
        assert running.stdout is not None and running.stderr is not None
        assert json.loads(running.stdout.readline())["event"] == "policy"
        running.send_signal(signal.SIGINT)
        told = running.stderr.read()
        running.wait(timeout=20)
    assert (running.returncode, told) == (130, "")
    assert threaded_stack.orchestrator.cancelled.is_set()


def test_a_terminal_without_unicode_gets_an_answer_and_no_traceback(threaded_stack: FakeStack) -> None:
    environ = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    with process("--target", threaded_stack.target, "ask", "What does A1 carry?", env=environ) as running:
        shown, told = running.communicate(timeout=30)
    assert (running.returncode, told) == (0, "")
    assert "####" in shown


def test_a_reader_that_leaves_early_gets_no_traceback(threaded_stack: FakeStack) -> None:
    with process("--target", threaded_stack.target, "ask", "What does A1 carry?", "--json") as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        told = running.stderr.read()
        running.wait(timeout=20)
    assert "Traceback" not in told


def test_importing_the_package_loads_nothing_of_the_command_line() -> None:
    program = (
        "import sys, argo; from argo import Client, BlockingClient; "
        "print([name for name in ('rich', 'typer', 'chromadb', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
    light = "import sys, argo; print([name for name in ('grpc', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_can_be_had() -> None:
    assert [name for name in argo.__all__ if not hasattr(argo, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        argo.nonsense  # noqa: B018


def test_span_files_of_past_runs_do_not_pile_up(threaded_stack: FakeStack, tmp_path: Path) -> None:
    for number in range(120):
        path = tmp_path / f"cli-{number}.jsonl"
        path.write_text("")
        os.utime(path, (number, number))
    (tmp_path / "orchestrator-1.jsonl").write_text("")
    CliRunner().invoke(
        app, ["--target", threaded_stack.target, "ask", "q"], env={"ARGO_CLIENT_SPAN_DIR": str(tmp_path)}
    )
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 102  # 100 older ones, this run's own, and the orchestrator's
    assert {"cli-119.jsonl", "cli-20.jsonl", "orchestrator-1.jsonl"} <= left and "cli-19.jsonl" not in left
