"""Documents out of the frames of an ingest stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

from argo import limits
from argo.errors import InvalidArgumentError
from argo.v1 import retriever_pb2
from services.retriever.retriever import IncomingDocument

__all__ = ["read_documents"]


async def read_documents(requests: AsyncIterator[retriever_pb2.IngestRequest]) -> AsyncIterator[IncomingDocument]:
    """The documents of a stream, each as soon as its last byte has come.

    Raises:
        InvalidArgumentError: Data before the first header, a frame or document over its limit, or more or fewer bytes
            than the header said.
    """
    header: retriever_pb2.DocumentHeader | None = None
    data = bytearray()
    async for request in requests:
        frame = request.WhichOneof("frame")
        if frame == "header":
            if header is not None:
                yield _document(header, data)
            header, data = _checked(request.header), bytearray()
        elif frame == "data":
            if header is None:
                raise InvalidArgumentError("the first frame must be a header, got data")
            if len(request.data) > limits.CALL_FRAME_BYTES:
                raise InvalidArgumentError(
                    f"data must have at most {limits.CALL_FRAME_BYTES} bytes a frame, got {len(request.data)}"
                )
            data += request.data
            if len(data) > header.size_bytes:
                raise InvalidArgumentError(
                    f"data of {header.source!r} must have size_bytes = {header.size_bytes} bytes, got {len(data)}"
                )
        else:
            raise InvalidArgumentError("a frame must hold a header or data, got neither")
    if header is not None:
        yield _document(header, data)


def _checked(header: retriever_pb2.DocumentHeader) -> retriever_pb2.DocumentHeader:
    limits.check_text("source", header.source, limits.SOURCE_CHARACTERS)
    limits.check_range("size_bytes", header.size_bytes, (0, limits.DOCUMENT_BYTES))
    return header


def _document(header: retriever_pb2.DocumentHeader, data: bytearray) -> IncomingDocument:
    if len(data) != header.size_bytes:
        raise InvalidArgumentError(
            f"data of {header.source!r} must have size_bytes = {header.size_bytes} bytes, got {len(data)}"
        )
    return IncomingDocument(header.source.strip(), header.media_type, bytes(data), header.content_hash)
