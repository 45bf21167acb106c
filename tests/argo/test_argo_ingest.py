"""Ingest: what is a document, what is sent, and what is removed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_stack import FakeStack

import argo
from argo.client import Client
from argo.document import DocumentStatus, IngestProgress


@pytest.fixture
async def client(stack: FakeStack) -> AsyncIterator[Client]:
    async with argo.Client.connect(**stack.connect_arguments()) as made:
        yield made


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


async def test_the_documents_of_a_folder_are_sent_by_their_path_in_it(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    write(tmp_path, b_md="# B", a_txt="A", sub__c_HTML="<p>C", sub__d_pdf="D", e_docx="E", f_rst="F", g_py="G", h="H")
    write(tmp_path, **{".hidden_md": "x", ".git__i_md": "x"})
    report = await client.ingest(tmp_path)
    types = {source: document.media_type for source, document in stack.retriever.documents.items()}
    assert types == {
        "a.txt": "text/plain",
        "b.md": "text/markdown",
        "e.docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "f.rst": "text/x-rst",
        "sub/c.HTML": "text/html",
        "sub/d.pdf": "application/pdf",
    }
    assert [outcome.source for outcome in report.outcomes] == sorted(types)
    assert stack.retriever.batches == [sorted(types)]
    assert (report.count(DocumentStatus.INDEXED), report.other_endings, report.skipped) == (6, 2, ())
    assert stack.retriever.contents["b.md"] == b"# B"


async def test_unchanged_documents_are_not_sent_and_changed_ones_are_replaced(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    await client.ingest(write(tmp_path, a_md="A", b_md="B"))
    write(tmp_path, b_md="B, revised")
    report = await client.ingest(tmp_path)
    assert stack.retriever.batches[1:] == [["b.md"]]
    assert [(outcome.source, outcome.status.value) for outcome in report.outcomes] == [
        ("a.md", "unchanged"),
        ("b.md", "replaced"),
    ]
    assert report.outcomes[0].passages == 2
    await client.ingest(tmp_path)
    assert len(stack.retriever.batches) == 2


async def test_documents_that_were_cut_under_other_rules_are_sent_again(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    await client.ingest(write(tmp_path, a_md="A", b_md="B"))
    stack.retriever.documents["b.md"].stale = True
    await client.ingest(tmp_path)
    assert stack.retriever.batches[1:] == [["b.md"]]


async def test_only_sync_removes_what_left_the_folder(stack: FakeStack, client: Client, tmp_path: Path) -> None:
    await client.ingest(write(tmp_path, a_md="A", b_md="B"))
    (tmp_path / "b.md").unlink()
    assert (await client.ingest(tmp_path)).removed == ()
    assert set(stack.retriever.documents) == {"a.md", "b.md"}
    assert (await client.ingest(tmp_path, sync=True)).removed == ("b.md",)
    assert set(stack.retriever.documents) == {"a.md"}


async def test_sync_with_a_single_file_is_refused_before_it_removes_everything_else(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    await client.ingest(write(tmp_path, a_md="A", b_md="B"))
    with pytest.raises(argo.InvalidArgumentError, match=r"sync needs documents folders, got the single file .*a\.md"):
        await client.ingest(tmp_path / "a.md", sync=True)
    assert stack.retriever.deletions == []


async def test_a_file_that_cannot_be_read_is_reported_and_not_removed_by_sync(
    stack: FakeStack, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.ingest(write(tmp_path, a_md="A", b_md="B"))

    # Root reads everything, so the mode of a file proves nothing; the read itself has to fail.
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "b.md":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    report = await client.ingest(tmp_path, sync=True)
    assert [(skipped.path, skipped.reason) for skipped in report.skipped] == [
        (str(tmp_path / "b.md"), "cannot be read: Permission denied")
    ]
    assert report.removed == ()
    assert "b.md" in stack.retriever.documents


async def test_a_broken_document_fails_alone(stack: FakeStack, client: Client, tmp_path: Path) -> None:
    report = await client.ingest(write(tmp_path, a_md="A", b_pdf="broken", c_md="C"))
    assert [outcome.status.value for outcome in report.outcomes] == ["indexed", "failed", "indexed"]
    assert [(failed.source, failed.message) for failed in report.failed] == [("b.pdf", "it is no PDF")]


async def test_a_document_that_takes_its_call_with_it_spoils_no_other(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    report = await client.ingest(write(tmp_path, a_md="A", b_pdf="bomb", c_md="C"))
    assert [outcome.status.value for outcome in report.outcomes] == ["indexed", "failed", "indexed"]
    assert report.failed[0].message == "internal error, reference 12345678"
    assert set(stack.retriever.documents) == {"a.md", "c.md"}


async def test_documents_go_in_batches_of_at_most_64_and_2_mib(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    for number in range(70):
        (tmp_path / f"a{number:03}.txt").write_text(str(number))
    for number in range(3):
        (tmp_path / f"b{number}.txt").write_bytes(b"x" * (1024 * 1024 - 10 * number))
    (tmp_path / "c.txt").write_bytes(b"x" * (3 * 1024 * 1024))
    await client.ingest(tmp_path)
    sizes = [sum(len(stack.retriever.contents[source]) for source in batch) for batch in stack.retriever.batches]
    assert [len(batch) for batch in stack.retriever.batches] == [64, 7, 2, 1]
    assert max(sizes[:-1]) <= 2 * 1024 * 1024
    assert stack.retriever.largest_frame == 128 * 1024


async def test_progress_counts_every_document_up_to_the_total(stack: FakeStack, client: Client, tmp_path: Path) -> None:
    write(tmp_path, a_md="A", b_pdf="broken", c_md="C")
    seen: list[IngestProgress] = []
    await client.ingest(tmp_path, on_progress=seen.append)
    assert [(one.done, one.total, one.source, one.failed) for one in seen] == [
        (1, 3, "a.md", 0),
        (2, 3, "b.pdf", 1),
        (3, 3, "c.md", 1),
    ]
    seen.clear()
    await client.ingest(tmp_path, on_progress=seen.append)
    assert [one.done for one in seen] == [1, 2, 3]


async def test_an_empty_document_is_sent_as_a_header_alone(stack: FakeStack, client: Client, tmp_path: Path) -> None:
    await client.ingest(write(tmp_path, a_md="", b_md="B"))
    assert stack.retriever.contents == {"a.md": b"", "b.md": b"B"}


async def test_links_that_leave_the_folder_are_skipped_and_reported(client: Client, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", secret_md="S")
    folder = write(tmp_path / "docs", a_md="A")
    (folder / "inside.md").symlink_to("a.md")
    (folder / "leaves.md").symlink_to(outside / "secret.md")
    (folder / "broken.md").symlink_to("nowhere.md")
    (folder / "folder").symlink_to(outside)
    report = await client.ingest(folder)
    assert [outcome.source for outcome in report.outcomes] == ["a.md", "inside.md"]
    assert {Path(skipped.path).name: skipped.reason for skipped in report.skipped} == {
        "broken.md": "a broken link",
        "folder": "a link to a folder is not followed",
        "leaves.md": "a link that leaves the folder",
    }


async def test_what_is_no_regular_file_or_has_no_name_in_utf_8_is_reported(client: Client, tmp_path: Path) -> None:
    write(tmp_path, a_md="A")
    os.mkfifo(tmp_path / "pipe.md")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md"))).write_text("x")
    report = await client.ingest(tmp_path)
    assert [outcome.source for outcome in report.outcomes] == ["a.md"]
    assert sorted(skipped.reason for skipped in report.skipped) == [
        "its name is not valid UTF-8",
        "not a regular file",
    ]


async def test_a_document_over_the_limit_is_reported_with_size_and_limit(client: Client, tmp_path: Path) -> None:
    write(tmp_path, a_md="A")
    with (tmp_path / "big.pdf").open("wb") as file:
        file.truncate(33_554_433)
    report = await client.ingest(tmp_path)
    assert [skipped.reason for skipped in report.skipped] == ["it must have at most 33554432 bytes, got 33554433"]


async def test_a_missing_folder_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(argo.InvalidArgumentError, match=r"got .*nowhere: it does not exist"):
        await client.ingest(tmp_path / "nowhere")


async def test_a_folder_without_documents_is_named_and_syncs_nothing_away(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    await client.ingest(write(tmp_path / "docs", a_md="A"))
    empty = write(tmp_path / "empty", code_py="x")
    with pytest.raises(argo.InvalidArgumentError, match=r"got .*empty: none found \(1 files with other endings"):
        await client.ingest(empty, sync=True)
    assert set(stack.retriever.documents) == {"a.md"}


async def test_several_folders_are_one_collection_and_must_not_collide(
    stack: FakeStack, client: Client, tmp_path: Path
) -> None:
    one, two = write(tmp_path / "one", a_md="A"), write(tmp_path / "two", b_md="B")
    await client.ingest([one, two], sync=True)
    assert set(stack.retriever.documents) == {"a.md", "b.md"}
    write(two, a_md="other")
    with pytest.raises(argo.InvalidArgumentError, match=r"'a\.md' for both .*one.* and .*two"):
        await client.ingest([one, two])


async def test_a_single_document_is_sent_by_its_name(stack: FakeStack, client: Client, tmp_path: Path) -> None:
    await client.ingest(str(write(tmp_path, a_md="A") / "a.md"))
    assert stack.retriever.batches == [["a.md"]]


async def test_many_deletions_go_in_calls_below_the_message_limit(stack: FakeStack, client: Client) -> None:
    sources = [f"{number:04}-" + "\u00e9" * 1_000 for number in range(300)]
    for source in sources:
        stack.retriever.documents[source] = object()  # type: ignore[assignment]  # only its presence counts here
    deletion = await client.delete_documents(sources)
    assert (deletion.deleted_documents, deletion.deleted_passages) == (300, 600)
    assert [source for part in stack.retriever.deletions for source in part] == sources
    assert len(stack.retriever.deletions) > 1


async def test_documents_are_listed_by_prefix(stack: FakeStack, client: Client, tmp_path: Path) -> None:
    await client.ingest(write(tmp_path, specs__a_md="A", b_md="B"))
    assert [document.source for document in await client.documents()] == ["b.md", "specs/a.md"]
    (found,) = await client.documents(source_prefix="specs/")
    assert (found.source, found.media_type, found.passages) == ("specs/a.md", "text/markdown", 2)
