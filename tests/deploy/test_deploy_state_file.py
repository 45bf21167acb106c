from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.record import StackRecord, process_start, publish, read_record, write_record
from deploy.scrape import publish_targets, targets_path


@pytest.fixture
def record() -> StackRecord:
    started = process_start(os.getpid()) or ""
    return StackRecord(os.getpid(), started, "/documents", "/index", {"orchestrator": "127.0.0.1:1"}, {"retriever": 1})


def _block(path: Path) -> None:
    # Where the new file would be written; root, too, is refused there.
    path.with_suffix(f".{os.getpid()}.new").mkdir()


def test_a_record_that_cannot_be_written_is_told_and_the_one_before_stays(tmp_path: Path, record: StackRecord) -> None:
    told: list[str] = []
    with publish(tmp_path, record, told.append):
        assert told == []
        _block(tmp_path / "stack.json")
        write_record(tmp_path, replace(record, pids={"retriever": 2}), told.append)
        assert read_record(tmp_path) == record
    assert [line.partition(" (")[0] for line in told] == ["stack.json cannot be written: Is a directory"]
    assert not (tmp_path / "stack.json").exists()


def test_a_full_disk_is_told_and_leaves_no_half_written_file(tmp_path: Path, record: StackRecord) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is Linux's")
    told: list[str] = []
    (tmp_path / f"stack.{os.getpid()}.new").symlink_to(full)
    write_record(tmp_path, record, told.append)
    assert [line.partition(" (")[0] for line in told] == ["stack.json cannot be written: No space left on device"]
    assert list(tmp_path.iterdir()) == []


def test_metrics_targets_that_cannot_be_written_are_told_and_the_block_runs(tmp_path: Path) -> None:
    told: list[str] = []
    _block(targets_path(tmp_path))
    with publish_targets(tmp_path, (), told.append):
        assert not targets_path(tmp_path).exists()
    assert [line.partition(" (")[0] for line in told] == ["metrics.json cannot be written: Is a directory"]


def test_metrics_targets_are_there_while_the_block_runs(tmp_path: Path) -> None:
    with publish_targets(tmp_path, (), pytest.fail):
        assert json.loads(targets_path(tmp_path).read_text()) == []
    assert not targets_path(tmp_path).exists()
