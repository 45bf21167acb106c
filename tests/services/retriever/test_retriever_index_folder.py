"""The folder of an embedded collection: whose it is, and what is said of files that are not as they should be."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from retriever_document import A1, E2, document

from argo.errors import NotReadyError, UnavailableError
from services.retriever.chroma import open_embedded
from services.retriever.embedder.hashing import HashingEmbedder
from services.retriever.index_folder import DATABASE, index_fault, room_bytes
from services.retriever.passage import PassageRules
from services.retriever.retriever import Outcome, Retriever

# Chroma leaves its SQLite connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

_LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Another process holds the database's lock; yields its number."""
    command = [sys.executable, "-c", _LOCKER, str(path / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        yield other.pid
        other.stdin.close()
        other.wait(60)


def opened(path: Path, exact_passages: int = 20_000) -> Retriever:
    embedder = HashingEmbedder()
    retriever = Retriever(embedder, open_embedded(path, "argo", embedder), exact_passages=exact_passages)
    retriever.load()
    return retriever


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index with two documents, which nobody has open."""
    path = tmp_path / "index"
    retriever = opened(path)
    retriever.ingest([document("a1.md", A1), document("e2.md", E2)])
    retriever.close()
    return path


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


@pytest.mark.parametrize(
    ("size", "what"),
    [(0, f"{DATABASE} is empty"), (100, "malformed"), (100_000, "malformed"), (None, f"{DATABASE} is gone")],
)
def test_a_database_that_is_cut_off_is_damage_and_not_an_empty_collection(
    folder: Path, size: int | None, what: str
) -> None:
    if size is None:
        (folder / DATABASE).unlink()
    else:
        cut(folder / DATABASE, size)
    with pytest.raises(NotReadyError, match=rf"index path '{folder}' is damaged: .*{what}.*; .* move the folder away"):
        opened(folder)
    # It was left as it was found, so that it says the same again and a backup can take its place.
    with pytest.raises(NotReadyError, match=what):
        opened(folder)


def test_a_cut_off_vector_index_is_told_before_chroma_dies_of_it(folder: Path) -> None:
    [header] = folder.glob("*/header.bin")
    assert header.stat().st_size == 100, "the bound must be that of this version of Chroma"
    cut(header, 50)
    with pytest.raises(NotReadyError, match=r"is damaged: .*/header\.bin is cut off"):
        opened(folder)


def test_a_database_cut_off_while_it_is_open_fails_what_writes_and_leaves_searches_whole(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    retriever = opened(folder, exact_passages=0)
    before = retriever.search(["service models of E2"])
    cut(folder / DATABASE, 100_000)
    for call in (
        lambda: retriever.ingest([document("new.md", A1)]),
        lambda: retriever.delete_documents(["a1.md"]),
    ):
        with pytest.raises(NotReadyError, match=r"is damaged: .*malformed"):
            call()
    # The store's own index is gone; all vectors are still in memory.
    for _ in range(3):
        found = retriever.search(["service models of E2"])
        assert [ranked.passage.id for ranked in found[0]] == [ranked.passage.id for ranked in before[0]]
    assert caplog.text.count("searches compare all vectors instead") == 1
    assert {one.source for one in retriever.list_documents()} == {"a1.md", "e2.md"}
    retriever.close()


@pytest.mark.parametrize("how", ["deleted", "cut", "another"])
def test_a_database_that_is_gone_while_it_is_open_takes_nothing_from_searches(
    folder: Path, tmp_path: Path, how: str
) -> None:
    retriever = opened(folder)
    before = {entry.passage.id for entry in retriever.snapshot.stored}
    if how == "cut":
        cut(folder / DATABASE, 0)
    else:
        (folder / DATABASE).unlink()
    if how == "another":
        opened(tmp_path / "other").close()
        shutil.copy(tmp_path / "other" / DATABASE, folder / DATABASE)
    # The first may find it gone, the next ones with a client of their own.
    for _ in range(3):
        with pytest.raises(NotReadyError, match=rf"index path '{folder}'"):
            retriever.ingest([document("new.md", A1)])
        assert {entry.passage.id for entry in retriever.snapshot.stored} == before
        assert retriever.search(["service models of E2"])[0][0].passage.source == "e2.md"
    retriever.close()
    if how != "another":
        with pytest.raises(NotReadyError, match="is damaged"):
            opened(folder)


def test_a_database_locked_by_another_program_is_told_and_its_process_to_the_log(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    retriever = opened(folder, exact_passages=0)
    with locked(folder) as pid:
        message = rf"{DATABASE} is locked by another program; end that, or wait"
        for call in (
            lambda: retriever.ingest([document("new.md", A1)]),
            lambda: retriever.delete_documents(["a1.md"]),
        ):
            with pytest.raises(UnavailableError, match=message):
                call()
        assert retriever.search(["service models of E2"])[0][0].passage.source == "e2.md"
        # Once, however many find it so.
        assert caplog.text.count(f"is locked by process {pid}; end that, or wait") == 1
    [outcome] = retriever.ingest([document("new.md", A1)])
    assert outcome.outcome is Outcome.INDEXED
    retriever.close()
    # Whoever starts it is the operator.
    with locked(folder) as pid, pytest.raises(UnavailableError, match=f"is locked by process {pid}"):
        opened(folder)
    assert {one.source for one in opened(folder).list_documents()} == {"a1.md", "e2.md", "new.md"}


def test_a_search_does_not_wait_for_a_client_that_is_being_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = HashingEmbedder()
    opening, let_go = threading.Event(), threading.Event()
    store = open_embedded(folder, "argo", embedder)
    connect = store._connect

    def slowly() -> tuple[Any, Any]:
        opening.set()
        assert let_go.wait(60)
        return connect()

    monkeypatch.setattr(store, "_connect", slowly)
    monkeypatch.setattr(store, "_is_spent", True)
    vectors = embedder.embed_queries(["service models of E2"])
    writer = threading.Thread(target=store.ids)
    writer.start()
    try:
        assert opening.wait(60)
        # Were it to wait, it would wait for good: the writer is let go only after it.
        with pytest.raises(UnavailableError, match="collection 'argo' is being opened again"):
            store.nearest(vectors, 1)
    finally:
        let_go.set()
        writer.join(60)
    assert store.nearest(vectors, 1)[0][0]
    store.close()


def test_a_write_that_failed_is_made_up_for_by_the_next_one(folder: Path) -> None:
    retriever = opened(folder)
    # SQLite's own word for a full disk, from the file itself: no page may be added.
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON embeddings BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        db.commit()
    big = b"# Big\n\n" + b"\n\n".join(b"## Part %d\n\nThe O-DU of part %d." % (n, n) for n in range(5))
    with pytest.raises(NotReadyError):
        retriever.ingest([document("big.md", big)])
    assert {one.source for one in retriever.list_documents()} == {"a1.md", "e2.md"}
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db:
        db.execute("DROP TRIGGER full")
        db.commit()
    [outcome] = retriever.ingest([document("big.md", big)])
    # Chroma may have kept it from the first time.
    assert outcome.outcome in (Outcome.INDEXED, Outcome.UNCHANGED)
    assert retriever.search(["The O-DU of part 3"])[0][0].passage.source == "big.md"
    kept = {entry.passage.id for entry in retriever.snapshot.stored}
    retriever.close()
    again = opened(folder)
    assert {entry.passage.id for entry in again.snapshot.stored} == kept
    again.close()


_DYING = """
import os, signal, sys
from pathlib import Path
from typing import Any
from services.retriever.chroma import open_embedded
from services.retriever.embedder.hashing import HashingEmbedder
open_embedded(Path(sys.argv[1]), "argo", HashingEmbedder())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_start_that_died_while_opening_is_told_to_the_next(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(folder).close()
    assert "died" not in caplog.text
    with subprocess.Popen([sys.executable, "-c", _DYING, str(folder)]) as dying:
        assert dying.wait(60) == -signal.SIGKILL
    opened(folder).close()
    assert f"process {dying.pid}, died while it opened it" in caplog.text
    caplog.clear()
    opened(folder).close()
    assert "died" not in caplog.text


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("(code: 13) database or disk is full", NotReadyError, "cannot be written: its disk is full, with"),
        ("(code: 8) attempt to write a readonly database", NotReadyError, "see to its disk and to who may write"),
        ("(code: 778) disk I/O error", NotReadyError, "see to its disk and to who may write"),
        ("(code: 1032) attempt to write a readonly database", NotReadyError, "was moved or deleted while it was open"),
        ("(code: 5) database is locked", UnavailableError, "is locked by another program"),
        ("(code: 11) database disk image is malformed", NotReadyError, "is damaged"),
        ("(code: 26) file is not a database", NotReadyError, "is damaged"),
        ("Error loading hnsw index", NotReadyError, "is damaged"),
        ("(code: 779) database disk image is malformed", NotReadyError, "is damaged"),
        # The whole index is not to be given up for what may be no damage at all.
        ("(code: 1) no such table: embeddings", NotReadyError, "cannot be used: error returned from database"),
        ("(code: 19) UNIQUE constraint failed", NotReadyError, "start the retriever again, and if that does not help"),
        ("Collection [0b9e] does not exist", NotReadyError, "cannot be used: error returned from database"),
    ],
)
def test_each_fault_of_the_files_says_what_to_do(tmp_path: Path, said: str, kind: type[Exception], told: str) -> None:
    error = index_fault(tmp_path, RuntimeError(f"error returned from database: {said}"))
    assert type(error) is kind
    assert told in str(error) and str(tmp_path) in str(error)


def test_a_full_disk_at_the_start_is_not_told_as_one_that_leaves_searches_whole(tmp_path: Path) -> None:
    full = RuntimeError("error returned from database: (code: 13) database or disk is full")
    assert str(index_fault(tmp_path, full)).endswith("what is indexed is still found")
    assert str(index_fault(tmp_path, full, serving=False)).endswith("free some and start the retriever again")


def test_what_has_no_room_is_not_begun_and_the_message_says_how_much_it_needs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = opened(folder)
    monkeypatch.setattr("services.retriever.index_folder.free_bytes", lambda path: 3 * 2**20)
    before = (folder / DATABASE).read_bytes()
    for call in (
        lambda: retriever.ingest([document("new.md", A1)]),
        lambda: retriever.delete_documents(["a1.md"]),
    ):
        with pytest.raises(NotReadyError, match=r"this needs \d+ KiB free on its disk, which has 3072 KiB; free some"):
            call()
    assert (folder / DATABASE).read_bytes() == before
    assert retriever.search(["service models of E2"])[0][0].passage.source == "e2.md"
    monkeypatch.undo()
    [outcome] = retriever.ingest([document("new.md", A1)])
    assert outcome.outcome is Outcome.INDEXED
    retriever.close()


def test_chroma_takes_no_more_room_than_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "index"
    embedder = HashingEmbedder()
    rules = PassageRules(words=60, table_words=60, overlap_words=0, pack_words=60)
    retriever = Retriever(embedder, open_embedded(path, "argo", embedder), rules)
    retriever.ingest([document("a1.md", A1)])
    dimension = retriever.embedder.dimension

    def size() -> int:
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    # The vector index is written anew once a thousand have come; 1,020 come, in four batches.
    words = " ".join(f"measurement{n}" for n in range(50))
    data = b"# Counters\n" + b"".join(f"\n## Counter {n}\n\n{words} {n}\n".encode() for n in range(1_020))
    before = size()
    [outcome] = retriever.ingest([document("counters.md", data)])
    text_bytes = sum(len(one.passage.text.encode()) for one in retriever.snapshot.stored)
    assert outcome.passages == 1_020
    assert 0 < size() - before < room_bytes(outcome.passages, dimension, text_bytes)
    retriever.close()
