"""The committed stubs are what the pinned grpcio-tools makes of the committed protos."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from house_source import ROOT

_PROTOS = sorted(path.relative_to(ROOT / "protos").as_posix() for path in (ROOT / "protos").rglob("*.proto"))
_KINDS = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    arguments = ["-I", str(ROOT / "protos"), *(f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python"))]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments, *_PROTOS], check=True, cwd=ROOT)
    return folder


def test_the_generator_is_the_pinned_one() -> None:
    assert version("grpcio-tools") == "1.76.0"


@pytest.mark.parametrize("proto", _PROTOS)
@pytest.mark.parametrize("kind", _KINDS)
def test_committed_stub_is_fresh(proto: str, kind: str, made: Path) -> None:
    name = proto.removesuffix(".proto") + kind
    assert (ROOT / name).read_bytes() == (made / name).read_bytes(), f"{name} is stale; run: make protos"


def test_no_stub_outlives_its_proto() -> None:
    expected = {proto.removesuffix(".proto") + kind for proto in _PROTOS for kind in _KINDS}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "argo/v1").glob("*_pb2*.py*")}
    assert there == expected
