"""The protos explain themselves, and follow the naming rules of the protobuf style guide."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from house_source import ROOT

_File = descriptor_pb2.FileDescriptorProto
_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
"""Field numbers of FileDescriptorProto, which source locations are paths of."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Sequence[_File]:
    out = tmp_path_factory.mktemp("descriptors") / "set.bin"
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "protos")]
    subprocess.run([*command, "--include_source_info", f"--descriptor_set_out={out}", *protos], check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(Path(out).read_bytes()).file


def _elements(file: _File) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every element that needs a comment, with its path."""
    for index, message in enumerate(file.message_type):
        yield from _of_message(message, message.name, (_MESSAGE, index))
    for index, enum in enumerate(file.enum_type):
        yield from _of_enum(enum, enum.name, (_ENUM, index))
    for index, service in enumerate(file.service):
        yield service.name, (_SERVICE, index)
        for number, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (_SERVICE, index, 2, number)


def _of_message(
    message: descriptor_pb2.DescriptorProto, name: str, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    if message.options.map_entry:
        return
    yield name, path
    for number, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, 2, number)
    for number, nested in enumerate(message.nested_type):
        yield from _of_message(nested, f"{name}.{nested.name}", (*path, 3, number))
    for number, enum in enumerate(message.enum_type):
        yield from _of_enum(enum, f"{name}.{enum.name}", (*path, 4, number))
    for number, oneof in enumerate(message.oneof_decl):
        # protoc makes a oneof of its own around each optional field.
        if not oneof.name.startswith("_"):
            yield f"{name}.{oneof.name}", (*path, 8, number)


def _of_enum(
    enum: descriptor_pb2.EnumDescriptorProto, name: str, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield name, path
    for number, value in enumerate(enum.value):
        yield f"{name}.{value.name}", (*path, 2, number)


def test_every_element_has_a_comment(files: Sequence[_File]) -> None:
    bare, counted = [], 0
    for file in files:
        comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
        for name, path in _elements(file):
            counted += 1
            if not comments.get(path):
                bare.append(f"{file.name}: {name}")
    assert counted > 100
    assert bare == []


def test_package_is_the_path(files: Sequence[_File]) -> None:
    for file in files:
        assert file.package == "argo.v1"
        assert file.name == f"{file.package.replace('.', '/')}/{Path(file.name).name}"


def test_every_enum_begins_with_unspecified_and_prefixes_its_values(files: Sequence[_File]) -> None:
    enums = [enum for file in files for enum in file.enum_type]
    enums += [enum for file in files for message in file.message_type for enum in message.enum_type]
    assert enums
    for enum in enums:
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper()
        assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}_UNSPECIFIED", 0)
        assert [value.name for value in enum.value if not value.name.startswith(f"{prefix}_")] == []


def test_services_are_nouns_and_each_says_what_it_is(files: Sequence[_File]) -> None:
    services = [service for file in files for service in file.service]
    assert {service.name for service in services} == {
        "OrchestratorService",
        "DecomposerService",
        "RetrieverService",
        "SynthesizerService",
    }
    for service in services:
        assert "GetInfo" in {method.name for method in service.method}


def test_fields_are_lower_case_and_none_is_required_or_has_a_default(files: Sequence[_File]) -> None:
    for file in files:
        assert file.syntax == "proto3"
        for message in file.message_type:
            assert [field.name for field in message.field if not re.fullmatch(r"[a-z][a-z0-9_]*", field.name)] == []


def test_times_carry_their_unit(files: Sequence[_File]) -> None:
    wrong = [
        f"{message.name}.{field.name}"
        for file in files
        for message in file.message_type
        for field in message.field
        if re.search(r"(time|duration|latency|timeout|delay|budget|ttl)$", field.name)
        and field.type not in (descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, _BOOL)
    ]
    assert wrong == []
