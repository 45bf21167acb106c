"""Records that are read back."""

import gzip
from pathlib import Path

import pytest

from argo.errors import InvalidArgumentError
from bench.record import RecordFile, read_record


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    with RecordFile(tmp_path, "latency", {"settings": {"questions": 2}}) as records:
        records.write("question", {"latency_ms": 1.5})
    run = read_record(records.path, "latency", "overhead")
    assert run.bench == "latency"
    assert run.head["settings"] == {"questions": 2}
    assert {"commit", "command", "versions", "hardware", "at"} <= run.head.keys()
    assert run.of_kind("question") == [{"kind": "question", "latency_ms": 1.5}]


def test_a_packed_record_is_read_as_it_was_and_its_tables_lie_beside_it(tmp_path: Path) -> None:
    with RecordFile(tmp_path, "latency", {}) as records:
        records.write("question", {"latency_ms": 1.5})
    plain = read_record(records.path)
    packed_path = records.path.with_name(f"{records.path.name}.gz")
    packed_path.write_bytes(gzip.compress(records.path.read_bytes()))
    packed = read_record(packed_path)
    assert (packed.head, packed.rows) == (plain.head, plain.rows)
    assert packed.stem == plain.stem == records.path.with_suffix("")
    before = packed_path.read_bytes()
    with pytest.raises(InvalidArgumentError, match="resume must be a record that is not packed"):
        RecordFile.resume(packed_path)
    assert packed_path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b'{"kind":"run"}')[:-9], gzip.compress(b"\xff\xfe")],
    # Without names the time in a header would be one, and two workers of pytest-xdist would not agree on it.
    ids=["no gzip", "cut off", "no text"],
)
def test_a_packed_record_that_is_broken_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="record must be a readable file"):
        read_record(path)


def test_a_run_is_gone_on_with_behind_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "killed.jsonl"
    path.write_text('{"kind":"run","bench":"latency"}\n{"kind":"question","n":1}\n{"kind":"que', encoding="utf-8")
    with RecordFile.resume(path) as records:
        records.write("question", {"n": 2})
    assert [row["n"] for row in read_record(path).rows] == [1, 2]
    assert records.head["bench"] == "latency"


def test_a_last_line_cut_short_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "killed.jsonl"
    path.write_text('{"kind":"run","bench":"latency"}\n{"kind":"question","n":1}\n{"kind":"que', encoding="utf-8")
    assert [row["n"] for row in read_record(path).rows] == [1]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", 'must begin with the line of kind "run"'),
        ('{"kind":"question"}\n', 'must begin with the line of kind "run"'),
        ('{"kind":"run","bench":"latency"}\n[1]\n{"kind":"question"}\n', "line 2"),
        ('{"kind":"run","bench":"latency"}\n{"a":1}\n{"kind":"question"}\n', "line 2"),
        ('{"kind":"run","bench":"retrieval"}\n', "must be of bench latency, got retrieval"),
    ],
)
def test_what_is_no_record_of_the_benchmark_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidArgumentError, match=named):
        read_record(path, "latency")


def test_a_field_that_a_record_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text('{"kind":"run","bench":"latency","settings":{"seed":1}}\n{"kind":"question"}\n', encoding="utf-8")
    run = read_record(path, "latency")
    assert (run.head["settings"]["seed"], run.head.get("stack")) == (1, None)
    with pytest.raises(
        InvalidArgumentError, match=r"record must hold 'budget_ms', got none in .*record\.jsonl: line 1"
    ):
        run.head["settings"]["budget_ms"]
    with pytest.raises(InvalidArgumentError, match=r"record must hold 'error', got none in .*record\.jsonl: line 2"):
        run.rows[0]["error"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"record must be a readable file of JSON lines, got .*none\.jsonl"):
        read_record(tmp_path / "none.jsonl")
