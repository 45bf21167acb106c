"""`argo ingest`, `argo documents` and `argo search`: what is about documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from argo.client import Client
from argo.command.context import EXIT_FAILED, JsonOption, emit, run
from argo.console import show_documents, show_ingest, show_search
from argo.document import IngestProgress, IngestReport

__all__ = ["documents", "ingest", "search"]


def ingest(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Folders of documents, or documents.", show_default=False)
    ],
    sync: Annotated[
        bool, typer.Option("--sync", help="Also remove indexed documents that are in none of the folders.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Index documents: Markdown, reStructuredText, text, HTML, PDF and DOCX.

    Unchanged documents are not sent. A broken document is reported, and the others are indexed. Hidden files are left
    out, and so are links that leave the folder.
    """

    async def work(client: Client, console: Console) -> int:
        if as_json:
            report = await client.ingest(
                paths, sync=sync, on_progress=lambda progress: emit({"event": "progress", **progress.to_dict()})
            )
            emit({"event": "report", **report.to_dict()})
        else:
            report = await _with_bar(client, paths, sync)
            show_ingest(console, report)
        return EXIT_FAILED if report.outcomes and len(report.failed) == len(report.outcomes) else 0

    run(context, as_json, work)


async def _with_bar(client: Client, paths: list[Path], sync: bool) -> IngestReport:
    # On standard error, so that a piped report stays clean; it disappears when all is done.
    stderr = Console(stderr=True, markup=False, emoji=False, highlight=False)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    )
    with bar:
        task = bar.add_task("indexing", total=None)

        def show(progress: IngestProgress) -> None:
            bar.update(task, completed=progress.done, total=progress.total)

        return await client.ingest(paths, sync=sync, on_progress=show)


def documents(
    context: typer.Context,
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only sources that start with this, such as specs/.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the indexed documents."""

    async def work(client: Client, console: Console) -> None:
        found = await client.documents(source_prefix=prefix)
        if as_json:
            emit({"documents": [document.to_dict() for document in found]})
        else:
            show_documents(console, found)

    run(context, as_json, work)


def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to search.", show_default=False)],
    top_k: Annotated[int | None, typer.Option(metavar="N", help="Passages wanted, 1 to 20.")] = None,
    prefix: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Only sources that start with this; may be repeated.")
    ] = None,
    working_group: Annotated[
        list[str] | None, typer.Option(metavar="WG", help="Only this working group, such as WG4; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the documents directly, without a question around it.

    The number before each passage is the calibrated probability that it answers the text.
    """

    async def work(client: Client, console: Console) -> None:
        result = await client.search(
            text, top_k=top_k, source_prefixes=prefix or (), working_groups=working_group or ()
        )
        if as_json:
            emit(result.to_dict())
        else:
            show_search(console, result)

    run(context, as_json, work)
