"""The bounds that the protos publish in the comments of their numeric fields, read from the protos themselves."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor

from deploy.plan import ROOT

_NUMBER: Final = r"([\d,]+)( MiB)?"
_RANGE: Final = re.compile(rf"\b{_NUMBER} to {_NUMBER}|in \[{_NUMBER}, {_NUMBER}\]")
_MOST: Final = re.compile(rf"\bat most {_NUMBER}")
_NONE: Final = re.compile(r"\b0 means none|\b0 means no ")


def bound_of(field: FieldDescriptor) -> tuple[int, int] | None:
    """Least and greatest value that a field's comment allows, 0 for "none" left out; None where it names no bound."""
    comment = _comments()[field.full_name]
    if found := _RANGE.search(comment):
        low, low_unit, high, high_unit = [group for group in found.groups("") if group is not None][:4]
        if found.group(1) is None:
            low, low_unit, high, high_unit = found.groups("")[4:]
        return _read(low, low_unit), _read(high, high_unit)
    if found := _MOST.search(comment):
        return 0, _read(*found.groups(""))
    return None


def none_is_zero(field: FieldDescriptor) -> bool:
    """Whether 0 is allowed beside the bound, and means none."""
    return _NONE.search(_comments()[field.full_name]) is not None


def _read(digits: str, unit: str) -> int:
    return int(digits.replace(",", "")) * (1024 * 1024 if unit else 1)


@functools.cache
def _comments() -> Mapping[str, str]:
    """Comment of every field, by the field's full name."""
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.bin"
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "protos")]
        subprocess.run([*command, "--include_source_info", f"--descriptor_set_out={out}", *protos], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    return dict(entry for file in files for entry in _of_file(file))


def _of_file(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for index, message in enumerate(file.message_type):
        for number, field in enumerate(message.field):
            # 4 and 2: field numbers of FileDescriptorProto.message_type and DescriptorProto.field.
            text = comments.get((4, index, 2, number), "")
            yield f"{file.package}.{message.name}.{field.name}", " ".join(text.split())
