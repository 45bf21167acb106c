"""Every call of a soak, kept as JSON lines while it runs, and what must hold of all of them together.

A call is written when it is made and when it returns. One came before another where it had returned before the other
was made; of two that overlap, nothing is concluded. A call that failed may or may not have had its effect.

Source of the method: Jepsen's histories of invocations and completions (https://jepsen.io).
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ANSWERED: Final = "answered"
OK: Final = "ok"
LEFT: Final = "left"
"""By its caller, before the answer."""
GONE: Final = "NotFoundError"
_QUESTION: Final = ("ask", "resume")
_ENDED: Final = ("finished", "failed")


@dataclass(frozen=True)
class Call:
    """One call: what was sent, when, and what came back.

    Questions (ask, resume) end with "answered" or the name of an error, and tell: accepted; steps, digest by number
    as heard on the way; of an answer digest, steps_taken, citations as [passage id, source], kept passage ids,
    degradations. read tells status, steps (digests) and the answer's digest; list the ids, documents the sources.
    """

    number: int
    op: str
    began_s: float
    ended_s: float = math.inf
    outcome: str = ""
    sent: Mapping[str, Any] = field(default_factory=dict)
    got: Mapping[str, Any] = field(default_factory=dict)

    @property
    def session_id(self) -> str:
        return str(self.sent.get("session_id", ""))

    @property
    def ok(self) -> bool:
        return self.outcome in (OK, ANSWERED)

    def before(self, other: Call) -> bool:
        return self.ended_s < other.began_s

    def __str__(self) -> str:
        """As a violation names it."""
        what = self.session_id or self.sent.get("source", "")
        return f"{self.op} {what} (call {self.number}, {self.began_s:.3f} s to {self.ended_s:.3f} s, {self.outcome})"


class Journal:
    """Writes a history, each line at once, so that it is there whatever becomes of the run.

    Args:
        path: A new file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("x", encoding="utf-8")
        self._numbers = itertools.count(1)
        self._started = time.monotonic()

    def began(self, op: str, **sent: Any) -> int:
        """Note that a call is made; returns its number."""
        number = next(self._numbers)
        self.note("began", number=number, op=op, sent=sent)
        return number

    def ended(self, number: int, outcome: str, **got: Any) -> None:
        """Note that it returned."""
        self.note("ended", number=number, outcome=outcome, got=got)

    def note(self, kind: str, **fields: Any) -> None:
        """Note something else: a fault, what the store holds."""
        line = {"kind": kind, "at_s": round(time.monotonic() - self._started, 6), **fields}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class History:
    """The calls, in the order in which they were made, and the passages that the store says each question retrieved."""

    calls: Sequence[Call]
    retrieved: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, lines: Iterable[str]) -> History:
        """Read what a journal wrote."""
        calls: dict[int, Call] = {}
        retrieved: dict[str, frozenset[str]] = {}
        for line in map(json.loads, lines):
            if line["kind"] == "began":
                calls[line["number"]] = Call(line["number"], line["op"], line["at_s"], sent=line["sent"])
            elif line["kind"] == "ended":
                made = calls[line["number"]]
                calls[made.number] = Call(
                    made.number, made.op, made.began_s, line["at_s"], line["outcome"], made.sent, line["got"]
                )
            elif line["kind"] == "stored":
                retrieved[line["session_id"]] = frozenset(line["passages"])
        return cls(list(calls.values()), retrieved)

    def of(self, *ops: str) -> list[Call]:
        return [call for call in self.calls if call.op in ops]

    def sessions(self) -> dict[str, list[Call]]:
        """Calls by the session that they name."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.session_id:
                found[call.session_id].append(call)
        return found


def check(history: History, documents_lag_s: float = 0.0) -> list[str]:
    """What does not hold, in words; empty where all does.

    Args:
        history: All calls.
        documents_lag_s: Seconds in which one retriever hears of a document that came or went through another.
    """
    found = [f"never returned: {call}" for call in history.calls if call.outcome == ""]
    for session_id, calls in history.sessions().items():
        for rule in (_ends_once, _reads_only_grow, _one_answer, _stays_gone, _is_not_lost):
            found += [f"{session_id} {what}" for what in rule(calls)]
        found += [f"{session_id} {what}" for what in _cites_what_it_retrieved(calls, history.retrieved)]
    found += _listed_once(history)
    found += _documents_as_told(history, documents_lag_s)
    return found


def _ends_once(calls: Sequence[Call]) -> Iterator[str]:
    """An accepted question has ended by the last read of it, unless it was deleted."""
    accepted = [call for call in calls if call.op in _QUESTION and (call.got.get("accepted") or call.ok)]
    if not accepted or any(call.op == "delete" for call in calls):
        return
    reads = [call for call in calls if call.op == "read" and call.ok]
    if not reads:
        yield "was accepted and never read"
    elif (status := reads[-1].got["status"]) not in _ENDED:
        yield f"is left {status}: {reads[-1]}"
    elif status == "finished" and any(
        call.got["steps_taken"] != len(reads[-1].got["steps"]) for call in _answers(calls)
    ):
        yield f"was answered after another number of steps than are recorded: {reads[-1]}"


def _reads_only_grow(calls: Sequence[Call]) -> Iterator[str]:
    """What was read, or heard, is there in every later read."""
    reads = [call for call in calls if call.op == "read" and call.ok]
    for one, other in itertools.combinations(reads, 2):
        if not one.before(other):
            continue
        if one.got["status"] in _ENDED and other.got["status"] != one.got["status"]:
            yield f"went back from {one.got['status']} to {other.got['status']}: {other}"
        if other.got["steps"][: len(one.got["steps"])] != one.got["steps"]:
            yield f"lost or changed a step that was read: {other}"
    for asked in (call for call in calls if call.op in _QUESTION):
        for other in filter(asked.before, reads):
            steps = other.got["steps"]
            wrong = [n for n, step in asked.got.get("steps", {}).items() if steps[int(n) - 1 : int(n)] != [step]]
            if wrong:
                yield f"lost or changed step {', '.join(wrong)}, which was told: {other}"
            if asked.ok and other.got["status"] != "finished":
                yield f"was answered and is {other.got['status']}: {other}"


def _answers(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if call.op in _QUESTION and call.ok]


def _one_answer(calls: Sequence[Call]) -> Iterator[str]:
    """Whoever asks, resumes or reads gets the same answer; a failed question gets none."""
    reads = [call for call in calls if call.op == "read" and call.ok and call.got["answer"]]
    told = [(call, call.got["digest"]) for call in _answers(calls)] + [(call, call.got["answer"]) for call in reads]
    for call, digest in told[1:]:
        if digest != told[0][1]:
            yield f"has two answers: {told[0][0]} and {call}"
    failed = [call for call in calls if call.op == "read" and call.ok and call.got["status"] == "failed"]
    if failed and told:
        yield f"failed and was answered: {failed[0]} and {told[0][0]}"
    if len([call for call in _answers(calls) if call.op == "resume"]) > 1:
        yield "was resumed to an answer twice"


def _stays_gone(calls: Sequence[Call]) -> Iterator[str]:
    """A session that was deleted, or once read as unknown, is unknown until it is asked again."""
    asked = [call for call in calls if call.op in _QUESTION]
    gone = [call for call in calls if (call.op == "delete" and call.ok) or (call.op == "read" and call.outcome == GONE)]
    for away in gone:
        for read in calls:
            again = any(call.ended_s > away.began_s and call.began_s < read.ended_s for call in asked)
            if read.op == "read" and read.ok and away.before(read) and not again:
                yield f"came back after {away}: {read}"


def _is_not_lost(calls: Sequence[Call]) -> Iterator[str]:
    """What was accepted is known until a delete is tried."""
    for read in (call for call in calls if call.op == "read" and call.outcome == GONE):
        known = [
            call
            for call in calls
            if call.before(read) and (call.got.get("accepted") or (call.op in (*_QUESTION, "read") and call.ok))
        ]
        if known and not any(call.op == "delete" and call.began_s < read.ended_s for call in calls):
            yield f"was known and is lost: {known[0]}, then {read}"


def _cites_what_it_retrieved(calls: Sequence[Call], retrieved: Mapping[str, frozenset[str]]) -> Iterator[str]:
    for call in _answers(calls):
        cited = {passage for passage, _ in call.got["citations"]}
        if strangers := cited - set(call.got["passages"]):
            yield f"cites what it did not keep, {sorted(strangers)}: {call}"
        if call.session_id in retrieved and (strangers := cited - retrieved[call.session_id]):
            yield f"cites what it did not retrieve, {sorted(strangers)}: {call}"


def _listed_once(history: History) -> Iterator[str]:
    sessions = history.sessions()
    for listed in (call for call in history.of("list") if call.ok):
        times = Counter(listed.got["session_ids"])
        yield from (f"{one} is listed {n} times: {listed}" for one, n in times.items() if n > 1)
        for session_id, calls in sessions.items():
            known = any(call.before(listed) and call.op in _QUESTION and call.got.get("accepted") for call in calls)
            deletes = [call for call in calls if call.op == "delete" and call.began_s < listed.ended_s]
            if known and not deletes and session_id not in times:
                yield f"{session_id} was accepted and is not listed: {listed}"
            if any(call.ok and call.before(listed) for call in deletes) and session_id in times:
                yield f"{session_id} was deleted and is listed: {listed}"


def _documents_as_told(history: History, lag_s: float) -> Iterator[str]:
    """A document that was ingested is there, and one that was removed is neither there nor cited."""
    changes = history.of("ingest", "remove")

    def last(source: str, call: Call) -> Call | None:
        """The change before a call, where it is certain: it succeeded, and no other came near."""
        mine = [change for change in changes if change.sent["source"] == source and change.began_s < call.ended_s]
        return mine[-1] if mine and mine[-1].ok and mine[-1].ended_s + lag_s < call.began_s else None

    for read in (call for call in history.of("documents") if call.ok):
        for source in {str(change.sent["source"]) for change in changes}:
            change = last(source, read)
            if change is not None and (change.op == "ingest") != (source in read.got["sources"]):
                yield f"{source} is {'not there' if change.op == 'ingest' else 'still there'} after {change}: {read}"
    first: dict[str, Call] = {}
    for call in history.of(*_QUESTION):
        # What an interrupted question found before is its to cite.
        asked = first.setdefault(call.session_id, call)
        for _, source in call.got.get("citations", ()):
            change = last(source, Call(0, "", asked.began_s, call.ended_s))
            if change is not None and change.op == "remove":
                yield f"{call.session_id} cites {source}, which was gone before it was asked: {change}, then {call}"


@dataclass(frozen=True)
class Availability:
    """What became of questions: at the first try, those aside that their callers left, and in the end."""

    first: Counter[str]
    last: Counter[str]
    flags: Counter[str]
    """Questions by each flag of their first answer."""

    def __str__(self) -> str:
        """In words, with shares."""
        whole = max(1, sum(self.first.values()))
        parts = [f"{name} {count / whole:.1%}" for name, count in sorted(self.first.items())]
        flags = ", ".join(f"{name} {count}" for name, count in self.flags.most_common())
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.last.items()))
        told = f" (flags: {flags})" if flags else ""
        return f"of {whole} questions {', '.join(parts)}{told}; in the end {ends}"


def availability(history: History, budgets_ms: Iterable[int]) -> Availability:
    """Count the questions of these budgets by how their first call ended, and by their answer where one came."""
    found = Availability(Counter(), Counter(), Counter())
    for calls in history.sessions().values():
        asked = [call for call in calls if call.op in _QUESTION]
        if not asked or asked[0].sent.get("budget_ms") not in budgets_ms:
            continue
        found.last[_kind(next((call for call in asked if call.ok), asked[-1]))] += 1
        if asked[0].outcome != LEFT:
            found.first[_kind(asked[0])] += 1
            found.flags.update(set(asked[0].got.get("degradations", ())))
    return found


def _kind(call: Call) -> str:
    if not call.ok:
        return LEFT if call.outcome == LEFT else "refused"
    return "flagged" if call.got["degradations"] else "answered whole"
