"""Every method of the four services by its descriptor, calls of raw bytes, and the corpus of messages for each.

A folder of tests/faults/corpus is named for its method. In it, NAME.txtpb is a hand-made message in text format, of
which "valid" begins a name where its call must succeed as far as this stack can; the messages of a client stream are
parted by lines of "---". NAME.bin is the body of a call as gRPC frames it, which can hold what no message can.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from argo import limits
from argo.v1 import decomposer_pb2, orchestrator_pb2, retriever_pb2, synthesizer_pb2
from deploy.roster import DECOMPOSER, ORCHESTRATOR, RETRIEVER, SYNTHESIZER

CORPUS: Final = Path(__file__).parent / "corpus"
_FILES: Final = {
    ORCHESTRATOR: orchestrator_pb2,
    DECOMPOSER: decomposer_pb2,
    RETRIEVER: retriever_pb2,
    SYNTHESIZER: synthesizer_pb2,
}
_CALL_S: Final = 60.0
Frames = tuple[bytes, ...]
"""The messages of one call: one, or those of a client stream."""


@dataclass(frozen=True)
class Method:
    """One RPC."""

    service: str
    descriptor: MethodDescriptor

    @property
    def name(self) -> str:
        """As tests and folders are named: "RetrieverService.Search"."""
        return self.descriptor.full_name.removeprefix("argo.v1.")

    @property
    def path(self) -> str:
        """As gRPC calls it."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @property
    def folder(self) -> Path:
        """Of its corpus."""
        return CORPUS / self.name

    def message(self, text: str = "") -> Message:
        """A message of its input in text format."""
        return text_format.Parse(text, GetMessageClass(self.descriptor.input_type)())

    def valid(self) -> list[Message]:
        """The messages of a call that sets every field which a message can have."""
        return [self.message(part) for part in (self.folder / "valid.txtpb").read_text().split("\n---\n")]

    def corpus(self) -> dict[str, Frames]:
        """All that is kept for it, by file name."""
        found: dict[str, Frames] = {}
        for path in sorted(self.folder.iterdir()):
            if path.suffix == ".bin":
                found[path.name] = _unframed(path.read_bytes())
            else:
                parts = path.read_text().split("\n---\n")
                found[path.name] = tuple(self.message(part).SerializeToString() for part in parts)
        return found

    def keep(self, frames: Frames) -> Path:
        """Put a call that made a finding into the corpus, from where it is sent ever after."""
        body = b"".join(struct.pack(">?I", False, len(frame)) + frame for frame in frames)
        path = self.folder / f"found-{hashlib.sha256(body).hexdigest()[:8]}.bin"
        path.write_bytes(body)
        return path


METHODS: Final = tuple(
    Method(name, method)
    for name, file in _FILES.items()
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)


def method_named(name: str) -> Method:
    """One of them, such as "RetrieverService.Search"."""
    return next(method for method in METHODS if method.name == name)


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    status: str
    details: str
    replies: int = 0

    def __str__(self) -> str:
        """Status and message."""
        return f"{self.status}: {self.details}" if self.details else self.status


async def call(
    channel: grpc.aio.Channel,
    method: Method,
    frames: Sequence[bytes],
    timeout_s: float | None = _CALL_S,
    metadata: tuple[tuple[str, str | bytes], ...] = (),
    path: str = "",
) -> Outcome:
    """Send bytes as a method's request, and read all that comes; a path makes it another method's."""
    path = path or method.path
    stub: Any
    request: Any = iter(frames) if method.descriptor.client_streaming else frames[0]
    if method.descriptor.client_streaming:
        stub = channel.stream_unary(path)
    elif method.descriptor.server_streaming:
        stub = channel.unary_stream(path)
    else:
        stub = channel.unary_unary(path)
    replies = 0
    made = stub(request, timeout=timeout_s, metadata=metadata)
    try:
        if method.descriptor.server_streaming:
            async for _ in made:
                replies += 1
        else:
            await made
            replies = 1
    except grpc.aio.AioRpcError as error:
        return Outcome(error.code().name, error.details() or "", replies)
    return Outcome("OK", "", replies)


def raw_channel(target: str) -> grpc.aio.Channel:
    """A channel of a caller that knows none of our limits and retries nothing."""
    options = [
        ("grpc.max_send_message_length", 2 * limits.DOCUMENT_BYTES),
        ("grpc.max_receive_message_length", limits.REPLY_BYTES),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.insecure_channel(target, options=options)


@dataclass(frozen=True)
class Place:
    """A scalar field of a method's request, through the messages that hold it."""

    fields: tuple[FieldDescriptor, ...]

    @property
    def field(self) -> FieldDescriptor:
        """The scalar itself."""
        return self.fields[-1]

    @property
    def said(self) -> str:
        """As an error names it: "evidence[0].relevance"."""
        return ".".join(f"{field.name}[0]" if field.is_repeated else field.name for field in self.fields)

    def put(self, message: Message, value: Any) -> None:
        """Set it, and make what is on the way."""
        at: Any = message
        for field in self.fields[:-1]:
            inner = getattr(at, field.name)
            at = (inner[0] if len(inner) else inner.add()) if field.is_repeated else inner
        if not self.field.is_repeated:
            setattr(at, self.field.name, value)
        elif len(values := getattr(at, self.field.name)):
            values[0] = value
        else:
            values.append(value)

    def wire(self, value: int) -> bytes:
        """A number in it as bytes that go at the end of a message; in a repeated message it is one more of these."""
        data = varint(self.field.number << 3) + varint(value)
        for field in reversed(self.fields[:-1]):
            data = wire_field(field.number, data)
        return data


def places(descriptor: Descriptor, above: tuple[FieldDescriptor, ...] = ()) -> Iterator[Place]:
    """Every scalar field of a message and of those in it."""
    for field in descriptor.fields:
        if field.message_type is None:
            yield Place((*above, field))
        elif field.message_type not in [one.message_type for one in above]:
            yield from places(field.message_type, (*above, field))


def _unframed(body: bytes) -> Frames:
    frames, at = [], 0
    while at < len(body):
        _, length = struct.unpack_from(">?I", body, at)
        at += 5 + length
        frames.append(body[at - length : at])
    return tuple(frames)


def varint(number: int) -> bytes:
    """As Protocol Buffers write an unsigned number."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def wire_field(number: int, value: int | bytes) -> bytes:
    """A field as it is on the wire: of a number a varint, of bytes their length and they."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value
