"""Documents on a disk: which files of a folder are documents, by which name, and in which batches they are sent."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from argo import limits
from argo.document import SkippedFile
from argo.errors import InvalidArgumentError
from argo.v1 import retriever_pb2

__all__ = ["MEDIA_TYPES", "FolderFile", "LoadedFile", "Selection", "frames", "read_file", "select"]

MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".md": "text/markdown",
        ".markdown": "text/markdown",
        ".rst": "text/x-rst",
        ".txt": "text/plain",
        ".html": "text/html",
        ".htm": "text/html",
        ".pdf": "application/pdf",
        ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }
)
"""Ending, in lower case, to media type."""


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file that is a document."""

    path: Path
    source: str
    """Path relative to its folder, with "/" between parts."""
    media_type: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What was found under the given paths."""

    files: tuple[FolderFile, ...]
    """By source."""
    skipped: tuple[SkippedFile, ...]
    other_endings: int


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A document in memory."""

    file: FolderFile
    data: bytes
    content_hash: str
    """SHA-256 in lower-case hexadecimal."""


def select(paths: Sequence[Path]) -> Selection:
    """Find the documents under folders and among single files.

    Hidden files and folders are left out silently, links that leave their folder are reported.

    Raises:
        InvalidArgumentError: A path does not exist or cannot be listed, nothing under the paths is a document, or two
            files would have the same source.
    """
    files: list[FolderFile] = []
    skipped: list[SkippedFile] = []
    others = 0
    for root in paths:
        if not root.exists():
            raise InvalidArgumentError(f"path must be a documents folder or a document, got {root}: it does not exist")
        for path, source, problem in _walk(root):
            media_type = MEDIA_TYPES.get(path.suffix.lower())
            if problem is None and media_type is None:
                others += 1
            elif problem or (problem := _refusal(path, source)):
                skipped.append(SkippedFile(path=_printable(str(path)), reason=problem))
            elif media_type is not None:
                files.append(FolderFile(path, source, media_type))
    if not files:
        names = ", ".join(str(path) for path in paths)
        raise InvalidArgumentError(
            f"path must hold documents ({' '.join(MEDIA_TYPES)}), got {names}: none found"
            f" ({others} files with other endings, {len(skipped)} skipped)"
        )
    files.sort(key=lambda file: file.source)
    for one, two in itertools.pairwise(files):
        if one.source == two.source:
            raise InvalidArgumentError(
                f"path must give every document its own source, got {one.source!r} for both {one.path} and {two.path}"
            )
    return Selection(tuple(files), tuple(skipped), others)


def _walk(root: Path) -> Iterator[tuple[Path, str, str | None]]:
    # Yields (path, source, why it cannot be read or None).
    if not root.is_dir():
        yield root, root.name, None
        return
    inside = root.resolve()
    errors: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=errors.append):
        here = Path(folder)
        for name in folders:
            if not name.startswith(".") and (here / name).is_symlink():
                yield here / name, "", "a link to a folder is not followed"
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = here / name
            if not name.startswith("."):
                yield path, path.relative_to(root).as_posix(), _link_problem(path, inside)
    for error in errors:
        if error.filename == str(root):
            raise InvalidArgumentError(f"path must be a readable documents folder, got {root}: {error.strerror}")
        yield Path(error.filename), "", f"cannot be listed: {error.strerror}"


def _link_problem(path: Path, inside: Path) -> str | None:
    if not path.is_symlink():
        return None
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "a broken link"
    return None if target.is_relative_to(inside) else "a link that leaves the folder"


def _refusal(path: Path, source: str) -> str | None:
    if not path.is_file():
        return "not a regular file"
    if _printable(source) != source:
        return "its name is not valid UTF-8"
    if len(source) > limits.SOURCE_CHARACTERS:
        return f"its source must have at most {limits.SOURCE_CHARACTERS} characters, got {len(source)}"
    size = path.stat().st_size
    if size > limits.DOCUMENT_BYTES:
        return f"it must have at most {limits.DOCUMENT_BYTES} bytes, got {size}"
    return None


def _printable(text: str) -> str:
    # Names that are not UTF-8 come from the system as lone surrogates, which neither the wire nor a terminal takes.
    return text.encode("utf-8", "replace").decode()


def read_file(file: FolderFile) -> LoadedFile:
    """Read a document and hash it; raises OSError."""
    data = file.path.read_bytes()
    return LoadedFile(file, data, hashlib.sha256(data).hexdigest())


def frames(documents: Sequence[LoadedFile]) -> Iterator[retriever_pb2.IngestRequest]:
    """The documents as frames of one Ingest call: for each its header, then its bytes."""
    for document in documents:
        yield retriever_pb2.IngestRequest(
            header=retriever_pb2.DocumentHeader(
                source=document.file.source,
                media_type=document.file.media_type,
                content_hash=document.content_hash,
                size_bytes=len(document.data),
            )
        )
        for start in range(0, len(document.data), limits.CALL_FRAME_BYTES):
            yield retriever_pb2.IngestRequest(data=document.data[start : start + limits.CALL_FRAME_BYTES])
