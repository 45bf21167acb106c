"""The record of a running stack: what a benchmark learns of one that it did not start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.stack import attach

_RECORD: dict[str, Any] = {"pid": 1, "pids": {"orchestrator": 2}, "targets": {"orchestrator": "127.0.0.1:50051"}}


def _group(service: str, port: int) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": {"service": service}}


def test_the_metrics_of_a_stack_stand_beside_its_record_and_replicas_have_no_address_of_their_service(
    tmp_path: Path,
) -> None:
    (tmp_path / "stack.json").write_text(json.dumps(_RECORD))
    groups = [_group("orchestrator", 50061), _group("retriever", 50063), _group("retriever", 50073)]
    (tmp_path / "metrics.json").write_text(json.dumps(groups))
    found = attach("127.0.0.1:50051", tmp_path)
    assert found.metrics == {"orchestrator": "http://127.0.0.1:50061/metrics"}
    assert found.pids == {"orchestrator": 2}


@pytest.mark.parametrize("written", [None, "", "{}", '[{"targets": 1}]', "[1]"])
def test_a_stack_that_serves_no_metrics_or_says_nothing_of_use_has_none(tmp_path: Path, written: str | None) -> None:
    (tmp_path / "stack.json").write_text(json.dumps(_RECORD))
    if written is not None:
        (tmp_path / "metrics.json").write_text(written)
    assert attach("127.0.0.1:50051", tmp_path).metrics == {}
