"""The commands as a user types them, against an orchestrator of our own on real gRPC."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc, retriever_pb2, retriever_pb2_grpc, types_pb2
from bench.__main__ import main

_PASSAGES = {
    # Strategy to kept passages: (source, text, relevance).
    "mdp": [("b.md", "beta holds the second fact here", 0.8), ("a.md", "alpha: the FIRST fact.", 0.6)],
    "single_shot": [("a.md", "alpha: the FIRST fact.", 0.6)],
}


class _Orchestrator(orchestrator_pb2_grpc.OrchestratorServiceServicer, retriever_pb2_grpc.RetrieverServiceServicer):
    """Answers from a table; a question that begins with "Unknown" is refused, "Broken" fails."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[orchestrator_pb2.AskRequest] = []

    def Ask(self, request: Any, context: Any) -> Iterator[orchestrator_pb2.AskEvent]:
        self.asked.append(request)
        if request.question.startswith("Broken"):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "index is empty")
        yield orchestrator_pb2.AskEvent(session_id=request.session_id, sequence=1, answer_delta="It is")
        unknown = request.question.startswith("Unknown")
        strategy = request.strategy or "mdp"
        yield orchestrator_pb2.AskEvent(
            session_id=request.session_id,
            sequence=2,
            answer=orchestrator_pb2.Answer(
                text="not found in these documents" if unknown else "It is.",
                passages=[
                    types_pb2.Passage(id=str(rank), source=source, text=text, relevance=0.1 if unknown else relevance)
                    for rank, (source, text, relevance) in enumerate(_PASSAGES[strategy])
                ],
                abstained=unknown,
                searches=3 if strategy == "mdp" else 1,
                steps=1,
                strategy=strategy,
                budget_ms=1000,
                within_budget=True,
                timing=orchestrator_pb2.QuestionTiming(
                    total_s=0.004,
                    hops=[
                        orchestrator_pb2.Hop(
                            service="retriever",
                            name="Search",
                            start_s=0.001,
                            duration_s=0.002,
                            timing=types_pb2.Timing(work_s=0.0015),
                        )
                    ],
                ),
            ),
        )

    def GetInfo(self, request: Any, context: Any) -> orchestrator_pb2.OrchestratorInfo:
        collection = types_pb2.CollectionInfo(name="docs", embedder="hashing", documents=2, passages=2)
        retriever = orchestrator_pb2.PeerInfo(
            service="retriever",
            target=f"127.0.0.1:{self.port}",
            health="SERVING",
            info=types_pb2.ServiceInfo(service="retriever", collection=collection),
        )
        return orchestrator_pb2.OrchestratorInfo(
            info=types_pb2.ServiceInfo(service="orchestrator", version="0"), peers=[retriever]
        )

    def ListDocuments(self, request: Any, context: Any) -> Iterator[retriever_pb2.Document]:
        for source in ("a.md", "b.md"):
            yield retriever_pb2.Document(source=source, passages=1)


@pytest.fixture
def orchestrator() -> Iterator[_Orchestrator]:
    servicer = _Orchestrator()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    servicer.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("a.md", "b.md"):
        (docs / name).write_text("text", encoding="utf-8")
    first, second = {"path": "a.md", "support": "first fact"}, {"path": "b.md", "support": "Second fact"}
    questions: list[dict[str, Any]] = [
        {"id": "one", "difficulty": "lookup", "question": "Which first fact?", "evidence": [first]},
        {"id": "two", "difficulty": "multi-hop", "question": "Which facts?", "evidence": [first, second]},
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    (tmp_path / "unknown.jsonl").write_text('{"id": "u", "question": "Unknown thing?"}', encoding="utf-8")
    return tmp_path


def _arguments(files: Path, orchestrator: _Orchestrator, *more: str) -> list[str]:
    return [
        "retrieval",
        *("--docs", str(files / "docs")),
        *("--questions", str(files / "questions.jsonl")),
        *("--target", f"127.0.0.1:{orchestrator.port}"),
        *("--out", str(files / "out")),
        *more,
    ]


def test_retrieval_ends_with_one_json_object_and_keeps_raw_records(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unanswerable = ("--unanswerable", str(files / "unknown.jsonl"))
    assert main(_arguments(files, orchestrator, "--strategy", "mdp", *unanswerable, "--budget-ms", "700")) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["recall_at_10"] == 1.0
    assert result["by_difficulty"]["multi-hop"]["found"] == 1
    assert result["mean_searches"] == 3
    assert result["refused_answerable"] == 0.0
    assert result["refused_unanswerable"] == 1.0
    # Passages 0.8 and 0.6 for each question; "one" is carried by 0.6 alone, "two" by both:
    # (0.64 + 0.16 + 0.04 + 0.16) / 4 = 0.25.
    assert result["brier"] == pytest.approx(0.25)
    # Best relevance 0.8 and both found; 0.1 and not answered: (0.04 + 0.04 + 0.01) / 3.
    assert result["relevance"]["best_of_question"]["brier"] == pytest.approx(0.03)
    assert result["collection"]["embedder"] == "hashing"
    measured = [request for request in orchestrator.asked if request.HasField("budget_ms")]
    assert [(request.question, request.budget_ms, request.strategy) for request in measured] == [
        ("Which first fact?", 700, "mdp"),
        ("Which facts?", 700, "mdp"),
        ("Unknown thing?", 700, "mdp"),
    ]
    head, *records = [json.loads(line) for line in Path(result["record"]).read_text(encoding="utf-8").splitlines()]
    assert head["kind"] == "run"
    assert {"commit", "versions", "hardware", "settings", "command"} <= head.keys()
    assert [record["id"] for record in records] == ["one", "two", "u"]
    assert records[1]["evidence_rank"] == [2, 1]


def test_several_strategies_are_compared_question_by_question(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_arguments(files, orchestrator, "--strategy", "mdp", "--strategy", "single_shot", "--json")) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)  # the tables went to stderr
    assert "By difficulty" in output.err
    assert result["strategies"]["mdp"]["recall_at_10"] == 1.0
    assert result["strategies"]["single_shot"]["recall_at_10"] == 0.5
    assert result["comparison"][0]["only_first"] == ["two"]
    assert result["comparison"][0]["recall_difference"] == 0.5


def test_a_failed_question_counts_as_not_found_and_is_told(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files / "questions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("Which facts?", "Broken facts?"), encoding="utf-8")
    assert main(_arguments(files, orchestrator)) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["recall_at_10"], result["errors"], result["refused_answerable"]) == (0.5, 1, 0.0)
    assert "index is empty" in Path(result["record"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--embedder", "onnx-minilm"), "embedder must be that of the stack, hashing, got onnx-minilm"),
        (("--target", "nowhere"), "target must be host:port"),
        (("--questions", "/nonexistent.jsonl"), "questions must be a readable file"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(
    orchestrator: _Orchestrator,
    files: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert main(_arguments(files, orchestrator, *more)) == 2
    output = capsys.readouterr()
    assert message in " ".join(output.err.split())
    assert "Traceback" not in output.err
    assert output.out == ""


def test_a_stack_over_other_documents_is_refused(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "docs" / "c.md").write_text("text", encoding="utf-8")
    line = {"id": "c", "question": "What?", "evidence": [{"path": "c.md", "support": "text"}]}
    (files / "questions.jsonl").write_text(json.dumps(line), encoding="utf-8")
    assert main(_arguments(files, orchestrator)) == 1
    assert "holds none of the 1 documents" in " ".join(capsys.readouterr().err.split())


def test_overhead_reports_both_loads_and_where_the_time_went(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.perf_counter()
    code = main(
        [
            "overhead",
            *("--target", f"127.0.0.1:{orchestrator.port}"),
            *("--question-file", str(files / "questions.jsonl")),
            *("--questions", "12", "--one-at-a-time", "5", "--in-flight", "4", "--warm-up", "2"),
            *("--out", str(files / "out")),
        ]
    )
    wall_s = time.perf_counter() - began
    assert code == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(orchestrator.asked) == 2 + 5 + 12
    alone, loaded = result["phases"]["one at a time"], result["phases"]["loaded"]
    assert (alone["questions"], loaded["questions"], loaded["in_flight"]) == (5, 12, 4)
    assert 0 < alone["latency_ms"]["p50"] <= alone["latency_ms"]["p95"] < wall_s * 1000
    assert loaded["questions_per_s"] > 12 / wall_s
    # 4 ms in all; a call of 2 ms, of which 1.5 ms inside the service.
    assert alone["own_ms"]["orchestrator"] == pytest.approx(2.0)
    assert alone["own_ms"]["retriever.Search"] == pytest.approx(1.5)
    assert alone["own_ms"]["network"] == pytest.approx(0.5)
    assert sum(alone["own_ms"].values()) == pytest.approx(alone["latency_ms"]["mean"])
    assert "load generator" in alone["cpu_ms_per_question"]
    assert len(result["targets"]) == 3
    records = Path(result["record"]).read_text(encoding="utf-8").splitlines()
    assert sum('"kind":"question"' in line for line in records) == 17


def _latency(files: Path, orchestrator: _Orchestrator, *more: str) -> list[str]:
    return [
        "latency",
        *("--target", f"127.0.0.1:{orchestrator.port}"),
        *("--question-file", str(files / "questions.jsonl")),
        *("--count", "100", "--warm-up", "3", "--out", str(files / "out")),
        *more,
    ]


def test_latency_leaves_records_tables_and_a_figure_and_draws_them_again(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_latency(files, orchestrator, "--concurrency", "4", "--budget-ms", "60000")) == 0
    output = capsys.readouterr()
    result = json.loads(output.out.splitlines()[-1])
    assert len(orchestrator.asked) == 103
    assert {(request.budget_ms, request.seed) for request in orchestrator.asked} == {(60_000, 0)}
    assert (result["questions"], result["errors"], result["inside"]["value"]) == (100, 0, 1.0)
    components = {row["component"]: row["mean_ms"] for row in result["components"]}
    # 4 ms in all; a call of 2 ms, of which 1.5 ms inside the retriever.
    # By its own account, that is: whoever waited for less than those 4 ms clips them, as many do on a busy machine.
    assert 0.75 <= components["retriever"] <= 1.5 * (1 + 1e-9)
    assert components["orchestrator"] <= 2.0
    assert sum(components.values()) == pytest.approx(result["latency_ms"]["mean"]["value"])
    assert result["throughput"]["extrapolated_questions"] == 13_952
    assert "within 60,000 ms: 100.0 %" in output.out
    for name in ("record", "tables", "measurements", "summary", "figure"):
        assert Path(result[name]).stat().st_size > 0
    Path(result["figure"]).unlink()
    assert main(["latency", "--from", result["record"], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == result
    assert Path(result["figure"]).read_bytes().startswith(b"\x89PNG")
    assert len(orchestrator.asked) == 103


def test_latency_at_a_rate_counts_from_the_intended_start(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_latency(files, orchestrator, "--rate", "500", "--no-tell-budget", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert {request.budget_ms for request in orchestrator.asked} == {0}
    assert (result["settings"]["rate_per_s"], result["settings"]["concurrency"]) == (500.0, None)
    assert "not how fast the stack could go" in result["throughput"]["how"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--rate", "2", "--concurrency", "3"), "exactly one of concurrency and rate must be given, got 3 and 2.0"),
        (("--rate", "0"), "rate must be above 0 and finite, got 0.0"),
        (("--oran-bench", "/nonexistent"), "oran_bench must be a folder with one of fin_E.json"),
        (("--from", "/nonexistent.jsonl"), "record must be a readable file of JSON lines"),
    ],
)
def test_a_mistake_in_latency_is_named_without_a_traceback(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert main(_latency(files, orchestrator, *more)) == 2
    output = capsys.readouterr()
    assert message in " ".join(output.err.split())
    assert "Traceback" not in output.err
    assert not orchestrator.asked


def test_latency_of_failures_alone_leaves_the_record_and_fails(
    orchestrator: _Orchestrator, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files / "questions.jsonl"
    path.write_text('{"id": "x", "question": "Broken thing?"}', encoding="utf-8")
    assert main(_latency(files, orchestrator, "--count", "5")) == 1
    output = capsys.readouterr()
    result = json.loads(output.out.splitlines()[-1])
    assert (result["errors"], result["latency_ms"]) == (5, None)
    assert "none of 5 questions was answered" in " ".join(output.err.split())
    assert "of fewer than 100 questions" in " ".join(output.err.split())
    assert "index is empty" in Path(result["record"]).read_text(encoding="utf-8")


def test_a_record_without_its_fields_and_a_table_that_cannot_be_written_are_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "strategies.jsonl"
    record.write_text('{"kind":"run","bench":"strategies","settings":{}}\n', encoding="utf-8")
    assert main(["strategies", "--from", str(record)]) == 2
    assert "record must hold 'budgets_ms'" in capsys.readouterr().err

    sweep = Path(__file__).parents[2] / "docs" / "results" / "policy-sweep" / "course-constant-1-1000ms.jsonl"
    copy = tmp_path / "sweep.jsonl"
    copy.write_bytes(sweep.read_bytes())
    (tmp_path / "sweep.csv").mkdir()
    assert main(["policy", "sweep", "--from", str(copy)]) == 2
    assert "sweep.csv: Is a directory" in capsys.readouterr().err


def test_without_the_extra_one_line_names_it_and_how_to_install_it() -> None:
    # None stands for a package that is not installed.
    program = "import runpy, sys; sys.modules['matplotlib'] = None; runpy.run_module('bench', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "python -m bench needs the extra bench, and has no matplotlib: pip install -c constraints.txt -e '.[bench]'\n"
    )
