from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.error import DocumentsError, StackRunningError
from deploy.layout import Layout, check_documents
from deploy.record import StackRecord, process_start, publish, read_record


def _record(pid: int, started: str) -> StackRecord:
    return StackRecord(pid=pid, started=started, docs="/d", index="/i", targets={"orchestrator": "127.0.0.1:1"})


@pytest.fixture
def own() -> StackRecord:
    return _record(os.getpid(), process_start(os.getpid()) or "")


def test_each_documents_folder_has_its_own_index_and_sessions(tmp_path: Path) -> None:
    one, other = Layout(tmp_path, Path("/a/docs")), Layout(tmp_path, Path("/b/docs"))
    assert one.index_dir != other.index_dir
    assert one.session_path != other.session_path
    assert one.index_dir == Layout(tmp_path, Path("/a/docs")).index_dir
    assert one.key.startswith("docs-")


def test_another_embedder_has_another_index(tmp_path: Path) -> None:
    assert Layout(tmp_path, Path("/d")).index_dir != Layout(tmp_path, Path("/d"), "onnx-minilm").index_dir


def test_key_is_a_plain_file_name_whatever_the_folder_is_called(tmp_path: Path) -> None:
    key = Layout(tmp_path, Path("/x/" + "..ä é$/'\"".replace("/", "") * 20)).key
    assert len(key) <= 60
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert key[0] not in ".-"


def test_made_folders_are_their_owners_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state", tmp_path)
    layout.make()
    assert layout.index_dir.stat().st_mode & 0o077 == 0
    assert layout.session_path.parent.stat().st_mode & 0o077 == 0


def test_the_oldest_span_files_are_forgotten_when_a_stack_starts(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state", tmp_path)
    layout.make()
    for age in range(300):
        path = layout.span_dir / f"cli-{age}.jsonl"
        path.touch()
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    layout.make()
    kept = {int(path.stem.removeprefix("cli-")) for path in layout.span_dir.iterdir()}
    assert kept == set(range(250))


@pytest.mark.parametrize(
    ("make", "words"), [("missing", "does not exist"), ("file", "is a file"), ("empty", "is empty")]
)
def test_a_folder_without_documents_is_refused_by_name(tmp_path: Path, make: str, words: str) -> None:
    path = tmp_path / make
    if make == "file":
        path.write_text("text")
    if make == "empty":
        (path / "inner").mkdir(parents=True)
    with pytest.raises(DocumentsError, match=words) as caught:
        check_documents(path)
    assert str(path) in str(caught.value)


def test_an_index_has_one_owner_and_is_free_after_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / "docs")
    with layout.hold():
        with pytest.raises(StackRunningError, match="docs"), Layout(tmp_path, tmp_path / "docs").hold():
            raise AssertionError("held twice")
        with Layout(tmp_path, tmp_path / "other").hold():
            pass
    with layout.hold():
        pass


def test_a_published_record_is_read_back_and_removed_at_the_end(tmp_path: Path, own: StackRecord) -> None:
    with publish(tmp_path, own, pytest.fail):
        assert read_record(tmp_path) == own
    assert read_record(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_record_of_a_dead_launcher_is_stale(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_start(process.pid)
    assert started is not None
    with publish(tmp_path, _record(process.pid, started), pytest.fail):
        assert read_record(tmp_path) is not None
        process.kill()
        process.communicate()
        assert read_record(tmp_path) is None


def test_a_pid_that_was_given_out_again_is_stale(tmp_path: Path, own: StackRecord) -> None:
    with publish(tmp_path, replace(own, started="1"), pytest.fail):
        assert read_record(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"pid": 1, "other": 2})])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    assert read_record(tmp_path) is None
