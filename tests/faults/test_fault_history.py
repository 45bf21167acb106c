"""The history checker itself, on histories written by hand: it passes what is right and names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from history import GONE, Call, History, Journal, availability, check

ANSWER = {
    "accepted": True,
    "steps": {"1": "s1", "2": "s2"},
    "digest": "d1",
    "steps_taken": 2,
    "citations": [["p1", "e2.md"]],
    "passages": ["p1", "p2"],
    "degradations": [],
}
LOST = {"accepted": True, "steps": {"1": "s1"}}
FINISHED = {"status": "finished", "steps": ["s1", "s2"], "answer": "d1"}
RUNNING = {"status": "running", "steps": ["s1"], "answer": None}
STORED = {"q": frozenset({"p1", "p2", "p3"})}


class Written:
    """Calls one after the other, each a second long, unless said otherwise."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def add(self, op: str, outcome: str = "ok", *, got: Any = None, at: tuple[float, float] | None = None, **sent: Any):
        number = len(self.calls) + 1
        began_s, ended_s = at or (number * 10.0, number * 10.0 + 1.0)
        sent = sent or {"session_id": "q"}
        self.calls.append(Call(number, op, began_s, ended_s, outcome, sent, got or {}))
        return self

    def ask(self, outcome: str = "answered", got: Any = ANSWER, **more: Any) -> Written:
        return self.add("ask", outcome, got=got, **more)

    def resume(self, outcome: str = "answered", got: Any = ANSWER, **more: Any) -> Written:
        return self.add("resume", outcome, got=got, **more)

    def read(self, got: Any = FINISHED, outcome: str = "ok", **more: Any) -> Written:
        return self.add("read", outcome, got=got, **more)

    def gone(self) -> Written:
        return self.add("read", GONE)

    def delete(self, outcome: str = "ok", **more: Any) -> Written:
        return self.add("delete", outcome, **more)

    def found(self) -> list[str]:
        return check(History(self.calls, STORED))


def documents(*sources: str) -> dict[str, list[str]]:
    return {"sources": list(sources)}


GOOD = {
    "asked and read": Written().ask().read(),
    "killed, read while it ran, resumed, asked again": Written()
    .ask("UnavailableError", LOST)
    .read(RUNNING)
    .resume()
    .read()
    .ask()
    .read(),
    "never recorded, and asked again": Written().ask("UnavailableError", {"accepted": False}).gone().ask().read(),
    "failed, as it is told again": Written()
    .ask("UnavailableError", LOST)
    .read({"status": "failed", "steps": ["s1"], "answer": None})
    .ask("UnavailableError", {"accepted": False})
    .read({"status": "failed", "steps": ["s1"], "answer": None}),
    "deleted": Written().ask().delete().gone(),
    "deleted perhaps, and still there": Written().ask().delete("UnavailableError").read(),
    "deleted perhaps, and gone": Written().ask().delete("UnavailableError").gone(),
    "read while the answer was written": Written().ask(at=(0.0, 9.0)).read(RUNNING, at=(8.0, 9.5)).read(),
    "listed": Written().ask().add("list", got={"session_ids": ["q", "other"]}, all=True).read(),
    "a document came and went": Written()
    .add("ingest", source="e2.md")
    .add("documents", got=documents("e2.md"), all=True)
    .ask()
    .read()
    .add("remove", source="e2.md")
    .add("documents", got=documents(), all=True),
    "a document is being removed while it is cited": Written()
    .add("ingest", source="e2.md")
    .add("remove", source="e2.md", at=(30.0, 35.0))
    .ask(at=(31.0, 36.0))
    .read(at=(40.0, 41.0)),
    "a document whose removal failed is cited": Written()
    .add("remove", "UnavailableError", source="e2.md")
    .ask()
    .read(),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_in_which_all_holds_passes(name: str) -> None:
    assert GOOD[name].found() == []


OTHER = ANSWER | {"digest": "d2"}
BAD = {
    "a lost question": (Written().ask().gone(), "was known and is lost"),
    "one lost after its first step": (Written().ask("UnavailableError", LOST).gone(), "was known and is lost"),
    "one lost after it was read": (
        Written().ask("UnavailableError", {"accepted": False}).read(RUNNING).gone(),
        "was known and is lost",
    ),
    "an accepted question that nobody finds": (Written().ask("UnavailableError", LOST), "was accepted and never read"),
    "a question that runs for ever": (Written().ask("UnavailableError", LOST).read(RUNNING), "is left running"),
    "a question left interrupted": (
        Written().ask("UnavailableError", LOST).read(RUNNING | {"status": "interrupted"}),
        "is left interrupted",
    ),
    "a call that never returns": (
        Written().ask("", None, at=(0.0, float("inf"))).read(at=(5.0, 6.0)),
        "never returned: ask q",
    ),
    "two answers": (Written().ask().ask(got=OTHER).read(), "has two answers"),
    "an answer that changed between two reads": (
        Written().ask().read().read(FINISHED | {"answer": "d2"}),
        "has two answers",
    ),
    "one question resumed to an answer twice": (Written().ask("left", LOST).resume().resume().read(), "answer twice"),
    "a failure that becomes an answer": (
        Written()
        .ask("UnavailableError", LOST)
        .read({"status": "failed", "steps": ["s1"], "answer": None})
        .ask()
        .read(),
        "went back from failed to finished",
    ),
    "a finished question that runs again": (Written().ask().read().read(RUNNING).read(), "went back from finished"),
    "an answered question that is not finished": (Written().ask().read(RUNNING).read(), "was answered and is running"),
    "a step that was told and is lost": (
        Written().ask("UnavailableError", LOST).read(RUNNING | {"steps": []}).resume().read(),
        "lost or changed step 1, which was told",
    ),
    "a step that was read and is lost": (
        Written()
        .ask("UnavailableError", {"accepted": True})
        .read(RUNNING)
        .read(RUNNING | {"steps": []})
        .resume()
        .read(),
        "lost or changed a step that was read",
    ),
    "a step done again": (
        Written().ask("UnavailableError", LOST).read(FINISHED | {"steps": ["s1", "s1", "s2"]}).ask(),
        "another number of steps",
    ),
    "a step that changed": (
        Written().ask("UnavailableError", LOST).read(FINISHED | {"steps": ["sX", "s2"]}).ask(),
        "lost or changed step 1",
    ),
    "a deleted session that comes back": (Written().ask().delete().read(), "came back after delete q"),
    "one that was gone and comes back": (
        Written().ask().delete("UnavailableError").gone().read(),
        "came back after read q",
    ),
    "a citation of a passage that was not retrieved": (
        Written().ask(got=ANSWER | {"citations": [["p9", "x.md"]], "passages": ["p9"]}).read(),
        "cites what it did not retrieve, ['p9']",
    ),
    "a citation of a passage that was not kept": (
        Written().ask(got=ANSWER | {"citations": [["p3", "x.md"]]}).read(),
        "cites what it did not keep, ['p3']",
    ),
    "a question listed twice": (
        Written().ask().read().add("list", got={"session_ids": ["q", "q"]}, all=True),
        "q is listed 2 times",
    ),
    "a question not listed": (
        Written().ask().read().add("list", got={"session_ids": []}, all=True),
        "q was accepted and is not listed",
    ),
    "a deleted question that is listed": (
        Written().ask().delete().add("list", got={"session_ids": ["q"]}, all=True),
        "q was deleted and is listed",
    ),
    "a document that was ingested and is lost": (
        Written().add("ingest", source="e2.md").add("documents", got=documents(), all=True),
        "e2.md is not there",
    ),
    "a document that was removed and is there": (
        Written().add("remove", source="e2.md").add("documents", got=documents("e2.md"), all=True),
        "e2.md is still there",
    ),
    "a citation of a document that was gone": (
        Written().add("remove", source="e2.md").ask().read(),
        "cites e2.md, which was gone",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_history_in_which_something_does_not_hold_is_told_by_what(name: str) -> None:
    written, told = BAD[name]
    found = written.found()
    assert any(told in violation for violation in found), found


@pytest.mark.parametrize(("lag_s", "holds"), [(8.9, False), (9.1, True)])
def test_a_document_may_be_late_with_a_retriever_that_has_not_looked_yet(lag_s: float, holds: bool) -> None:
    # Ingested until 11 s, looked for from 20 s on.
    late = Written().add("ingest", source="e2.md").add("documents", got=documents(), all=True)
    assert (check(History(late.calls, {}), lag_s) == []) is holds


def test_a_journal_reads_back_as_the_calls_that_it_noted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl")
    one = journal.began("ask", session_id="q")
    other = journal.began("read", session_id="q")
    journal.note("fault", service="retriever", fault="SIGKILL")
    journal.ended(other, GONE)
    journal.note("stored", session_id="q", passages=["p1"])
    # One that never returned is written all the same, and nothing waits in a buffer.
    history = History.read(journal.path.read_text().splitlines())
    journal.close()
    assert [(call.number, call.op, call.outcome) for call in history.calls] == [(one, "ask", ""), (other, "read", GONE)]
    assert history.retrieved == {"q": {"p1"}}
    assert check(history)[0].startswith("never returned: ask q")


def test_availability_counts_the_first_try_and_the_end_of_the_questions_of_some_budgets() -> None:
    asked = (
        Written()
        .ask("UnavailableError", LOST, session_id="a", budget_ms=0)
        .resume(session_id="a")
        .ask(session_id="b", budget_ms=0, got=ANSWER | {"degradations": ["reason", "reason", "retriever"]})
        .ask("left", LOST, session_id="c", budget_ms=0)
        .resume(session_id="c")
        .ask(session_id="d", budget_ms=300)
    )
    found = availability(History(asked.calls, {}), (0, 1_000))
    assert found.first == {"refused": 1, "flagged": 1}
    assert found.flags == {"reason": 1, "retriever": 1}
    assert found.last == {"answered whole": 2, "flagged": 1}
    assert str(found).startswith("of 2 questions flagged 50.0%, refused 50.0% (flags: ")
