"""The blocking client, also inside of a running loop."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fake_stack import FakeStack

import argo


def test_it_answers_without_asyncio(threaded_stack: FakeStack) -> None:
    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        answer = client.ask("What does A1 carry?")
        assert answer.citations[0].source == "interfaces.md"
        assert client.session(answer.session_id).status is argo.SessionStatus.FINISHED


async def test_it_works_where_a_loop_is_running_already(threaded_stack: FakeStack) -> None:
    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        assert client.ask("What does A1 carry?").steps == 1


def test_the_stream_is_a_plain_iterator(threaded_stack: FakeStack) -> None:
    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        kinds = [event.event for event in client.stream("What does A1 carry?")]
    assert (kinds[0], kinds[-1], len(kinds)) == ("policy", "answer", 10)


def test_leaving_the_iteration_cancels_the_question(threaded_stack: FakeStack) -> None:
    threaded_stack.orchestrator.hangs = True
    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        for _ in client.stream("What does A1 carry?", budget_ms=0):
            break
        # The next call on the same connection comes after the cancellation.
        client.info()
        waiting = threading.Event()
        for _ in range(100):
            if threaded_stack.orchestrator.cancelled.is_set():
                break
            waiting.wait(0.05)
    assert threaded_stack.orchestrator.cancelled.is_set()


def test_errors_are_the_same_classes(threaded_stack: FakeStack) -> None:
    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        with pytest.raises(argo.InvalidArgumentError, match="question must not be empty"):
            client.ask("")
        with pytest.raises(argo.NotFoundError):
            client.resume("nope")


def test_progress_is_told_in_the_callers_thread(threaded_stack: FakeStack, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.md").write_text(name)
    seen: list[tuple[int, int]] = []
    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        report = client.ingest(
            tmp_path, on_progress=lambda progress: seen.append((progress.done, threading.get_ident()))
        )
        assert len(client.documents()) == 3
    assert seen == [(number, threading.get_ident()) for number in (1, 2, 3)]
    assert len(report.outcomes) == 3


def test_an_error_in_the_progress_callback_reaches_the_caller(threaded_stack: FakeStack, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("A")

    def fail(progress: argo.IngestProgress) -> None:
        raise RuntimeError("no terminal")

    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        with pytest.raises(RuntimeError, match="no terminal"):
            client.ingest(tmp_path, on_progress=fail)
        assert client.info().info.service == "orchestrator"


def test_a_closed_client_says_so(threaded_stack: FakeStack) -> None:
    client = argo.BlockingClient.connect(**threaded_stack.connect_arguments())
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.info()


def test_several_threads_share_one_client(threaded_stack: FakeStack) -> None:
    answers: list[str] = []
    with argo.BlockingClient.connect(**threaded_stack.connect_arguments()) as client:
        threads = [
            threading.Thread(target=lambda: answers.append(client.ask("What does A1 carry?").session_id))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(set(answers)) == 8


def test_a_script_that_never_closes_ends_quietly(threaded_stack: FakeStack) -> None:
    program = (
        "import argo\n"
        f"client = argo.BlockingClient.connect({threaded_stack.target!r})\n"
        "print(client.ask('What does A1 carry?').steps)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_wrong_address_is_refused_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(argo.InvalidArgumentError, match="target must be host:port"):
        argo.BlockingClient.connect("nowhere")
    assert threading.active_count() == before
