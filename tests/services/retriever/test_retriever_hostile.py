from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hostile
import pytest
from retriever_document import A1, document

from argo.errors import UnavailableError
from services.retriever.document import BrokenDocumentError, ParsedDocument
from services.retriever.embedder.hashing import HashingEmbedder
from services.retriever.memory import MemoryStore
from services.retriever.reader import detect_media_type, read_document
from services.retriever.reading import ReaderProcess, as_message, from_message
from services.retriever.retriever import Outcome, Retriever

_TIMEOUT_S = 20.0
_MEMORY_MIB = 512


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    made = ReaderProcess(_TIMEOUT_S, _MEMORY_MIB)
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[ReaderProcess]:
    made = ReaderProcess(1.0, _MEMORY_MIB)
    yield made
    made.close()


def _read(reader: ReaderProcess, source: str, data: bytes) -> ParsedDocument:
    return reader.read(data, detect_media_type(source), source)


def _words(parsed: ParsedDocument) -> str:
    return " ".join(block.text for block in parsed.blocks)


def _pid(reader: ReaderProcess) -> int:
    assert reader._process is not None
    return reader._process.pid


@pytest.mark.parametrize(
    ("source", "made", "reason"),
    [
        ("lies.docx", hostile.docx_that_lies, "BadZipFile"),
        ("entries.docx", lambda: hostile.docx_of_entries(10_001), "at most 10000 files, got"),
        (
            "deep.docx",
            lambda: hostile.docx_body(b"<w:tbl><w:tr><w:tc>" * 2_000 + b"</w:tc></w:tr></w:tbl>" * 2_000),
            "XMLSyntaxError",
        ),
        ("bomb.pdf", hostile.pdf_bomb, "LimitReachedError"),
        ("pages.pdf", hostile.pdf_page_loop, "cyclic"),
        ("reference.pdf", hostile.pdf_reference_loop, "hold no text"),
        ("previous.pdf", hostile.pdf_previous_loop, "hold no text"),
        (
            "nested.pdf",
            lambda: hostile.pdf_page(hostile.stream(b"BT ET"), b"/X " + b"[" * 50_000 + b"]" * 50_000),
            "Error",
        ),
        ("nested.rst", lambda: b"\n".join(b" " * depth + b"* a\n" for depth in range(300)), "RecursionError"),
        ("short.txt", lambda: b"a\n\n" * 500_001, "at most 500000 paragraphs"),
    ],
)
def test_a_document_made_to_exhaust_its_reader_is_refused_with_the_reason(
    reader: ReaderProcess, source: str, made: Callable[[], bytes], reason: str
) -> None:
    with pytest.raises(BrokenDocumentError, match=reason):
        _read(reader, source, made())
    assert _words(_read(reader, "a1.md", A1)).startswith("The A1 interface connects")


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("quotes.md", b">" * 50_000 + b" x"),
        ("brackets.md", b"[" * 5_000),
        ("emphasis.rst", b"*a" * 20_000),
        ("self.rst", b".. |a| replace:: |a||a|\n\n|a|\n"),
        ("unknown.rst", b"".join(b"   " * depth + b".. tabs::\n\n" for depth in range(100)) + b"   " * 100 + b"x"),
    ],
)
def test_nesting_without_end_is_read_or_refused_within_the_bounds(
    reader: ReaderProcess, source: str, data: bytes
) -> None:
    before = time.monotonic()
    try:
        _read(reader, source, data)
    except BrokenDocumentError as error:
        assert source in error.message
    assert time.monotonic() - before < _TIMEOUT_S


def test_a_document_that_takes_too_long_is_cut_and_the_next_is_read(hasty: ReaderProcess) -> None:
    before = time.monotonic()
    with pytest.raises(BrokenDocumentError, match=r"'list.html' must be read within 1 s \(reader_timeout_s\)"):
        _read(hasty, "list.html", b"<ul><li>" * 5_000 + b"x")
    assert time.monotonic() - before < 5.0
    hasty._timeout_s = _TIMEOUT_S  # what must fit is the next document, not the start of a process on a busy machine
    assert _words(_read(hasty, "a1.md", A1))


def test_a_document_that_takes_too_much_memory_is_refused_and_the_next_is_read(reader: ReaderProcess) -> None:
    # 3,000 nested list items, each indented one deeper: 4.5 MB that docutils copies at each level.
    grown = b"\n".join(b" " * depth + b"* a\n" for depth in range(3_000))
    with pytest.raises(BrokenDocumentError, match=r"must be read within 512 MiB \(reader_memory_mib\), and was not"):
        _read(reader, "grown.rst", grown)
    assert _words(_read(reader, "a1.md", A1))


def test_one_process_reads_document_after_document(reader: ReaderProcess) -> None:
    _read(reader, "a1.md", A1)
    first = _pid(reader)
    _read(reader, "again.md", A1)
    assert _pid(reader) == first


def test_a_reader_that_died_between_two_documents_is_replaced_unnoticed(reader: ReaderProcess) -> None:
    _read(reader, "a1.md", A1)
    first = _pid(reader)
    os.kill(first, signal.SIGKILL)
    assert _words(_read(reader, "a1.md", A1))
    assert _pid(reader) != first


def test_a_closed_reader_leaves_no_process_and_says_so() -> None:
    made = ReaderProcess(_TIMEOUT_S, _MEMORY_MIB)
    _read(made, "a1.md", A1)
    process = made._process
    made.close()
    assert process is not None and process.returncode is not None
    with pytest.raises(UnavailableError, match="stopping"):
        _read(made, "a1.md", A1)


@pytest.mark.parametrize(
    "directive",
    [
        ".. include:: {path}",
        ".. include:: {path}\n   :literal:",
        ".. literalinclude:: {path}",
        ".. raw:: html\n   :file: {path}",
        ".. csv-table:: t\n   :file: {path}",
        ".. csv-table:: t\n   :url: file://{path}",
    ],
)
def test_no_directive_of_restructuredtext_reads_a_file(reader: ReaderProcess, tmp_path: Path, directive: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2,hunter2\n")
    text = f"Head\n====\n\n{directive.format(path=secret)}\n\nThe rest of it.\n"
    said = _words(_read(reader, "include.rst", text.encode()))
    assert "The rest of it." in said
    assert "hunter2" not in said


def test_an_entity_of_a_docx_reads_no_file(reader: ReaderProcess, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    doctype = b'<!DOCTYPE d [<!ENTITY x SYSTEM "file://%s">]>' % os.fsencode(secret)
    data = hostile.docx_body(b"<w:p><w:r><w:t>before &x; after</w:t></w:r></w:p>", doctype)
    assert "hunter2" not in _words(_read(reader, "entity.docx", data))


def test_no_name_inside_an_archive_is_written_to_the_disk(reader: ReaderProcess, tmp_path: Path) -> None:
    climbing = "../" * 20 + str(tmp_path / "escaped").lstrip("/")
    data = hostile.docx_with({climbing: b"out", str(tmp_path / "absolute"): b"out"})
    assert "A1" in _words(_read(reader, "climb.docx", data))
    assert list(tmp_path.iterdir()) == []


def test_the_reader_knows_nothing_of_the_environment(reader: ReaderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_SECRET", "hunter2")
    made = ReaderProcess(_TIMEOUT_S, _MEMORY_MIB)
    _read(made, "a1.md", A1)
    try:
        assert b"hunter2" not in Path(f"/proc/{_pid(made)}/environ").read_bytes()
    finally:
        made.close()


def test_a_heading_as_long_as_a_document_is_cut(reader: ReaderProcess) -> None:
    parsed = _read(reader, "long.md", b"# " + b"word " * 10_000 + b"\n\nThe A1 interface carries policies.\n")
    assert [len(heading) for heading in parsed.blocks[0].headings] == [299]  # of 300, a blank at the end
    assert len(parsed.title) == 299


def test_what_comes_back_is_what_was_read(reader: ReaderProcess) -> None:
    here = read_document(A1, "text/markdown", "O-RAN.WG2.A1AP-v01.00.md")
    assert _read(reader, "O-RAN.WG2.A1AP-v01.00.md", A1) == here
    assert from_message(as_message(here)) == here


def test_one_hostile_document_of_a_batch_fails_and_the_others_are_indexed(reader: ReaderProcess) -> None:
    retriever = Retriever(HashingEmbedder(), MemoryStore(), read=reader.read)
    outcomes = retriever.ingest([document("bomb.pdf", hostile.pdf_bomb()), document("a1.md", A1)])
    assert [outcome.outcome for outcome in outcomes] == [Outcome.FAILED, Outcome.INDEXED]
    assert retriever.search(["A1 interface"])[0][0].passage.source == "a1.md"
