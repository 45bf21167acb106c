"""What is known of one question while it is answered; rebuilt from the session store when it is resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from argo.v1 import orchestrator_pb2, session_pb2, types_pb2
from orchestrator.action import Action, ActionKind
from orchestrator.evidence import Evidence, RankedList
from orchestrator.mdp import Searched

__all__ = ["ACTION_CODE", "QuestionState", "action_values", "add_usage"]

ACTION_CODE = {
    ActionKind.RETRIEVE: types_pb2.ACTION_RETRIEVE,
    ActionKind.REASON: types_pb2.ACTION_REASON,
    ActionKind.TERMINATE: types_pb2.ACTION_TERMINATE,
}
_HISTORY_PASSAGES = 5
"""Passages of one step that later steps are shown, best first."""


def action_values(values: Iterable[tuple[Action, float | None]]) -> list[orchestrator_pb2.ActionValue]:
    """Q values as the wire carries them; an impossible action has no value."""
    return [
        orchestrator_pb2.ActionValue(action=ACTION_CODE[action.kind], fan_out=action.fan_out, value=value)
        for action, value in values
    ]


def add_usage(total: types_pb2.Usage, usage: types_pb2.Usage) -> None:
    """Add what a call used to a total."""
    total.prompt_tokens += usage.prompt_tokens
    total.completion_tokens += usage.completion_tokens
    total.cached_tokens += usage.cached_tokens
    total.cached_subqueries += usage.cached_subqueries


@dataclass
class QuestionState:
    """Foci, evidence, notes and steps of one question.

    Args:
        foci: What must be known.
        evidence: Where searches are merged.
        close_relevance: Relevance of a kept passage that closes a focus.
        close_confidence: Confidence of a note that closes its focus.
        history_words: Words of a passage that later steps are shown.
    """

    foci: Sequence[types_pb2.Focus]
    evidence: Evidence
    close_relevance: float
    close_confidence: float
    history_words: int
    progress: float = 0.0
    idle_steps: int = 0
    """Steps in a row, up to now, that brought no progress."""
    closed: set[str] = field(default_factory=set)
    tried: dict[str, int] = field(default_factory=dict)
    """How often each focus was searched for or reasoned about."""
    notes: list[types_pb2.Note] = field(default_factory=list)
    steps: list[session_pb2.RecordedStep] = field(default_factory=list)
    degradations: list[types_pb2.Degradation] = field(default_factory=list)
    usage: types_pb2.Usage = field(default_factory=types_pb2.Usage)

    @property
    def open_foci(self) -> list[types_pb2.Focus]:
        """Foci that are not closed, in plan order."""
        return [focus for focus in self.foci if focus.id not in self.closed]

    @property
    def searches(self) -> int:
        """Searches that were made, the question's own and failed ones included."""
        return sum(step.finished.searches for step in self.steps)

    @property
    def searched_foci(self) -> Searched:
        """Open foci that one finished RETRIEVE worked on, and those that more of them did."""
        times = Counter(
            focus_id
            for step in self.steps
            if step.finished.action == types_pb2.ACTION_RETRIEVE
            for focus_id in step.finished.focus_ids
        )
        often = [times[focus.id] for focus in self.open_foci]
        return often.count(1), sum(count > 1 for count in often)

    def ready_foci(self) -> list[types_pb2.Focus]:
        """Open foci in the order in which they should be worked on.

        A focus waits while one that it depends on is open and was never tried, since its subquery is to use what
        that one finds. Those tried least come first.
        """
        waiting_for = {focus.id for focus in self.open_foci if not self.tried.get(focus.id)}
        ready = [focus for focus in self.open_foci if not waiting_for.intersection(focus.depends_on)]
        # A plan whose dependencies run in a circle must not stall the question.
        return sorted(ready or self.open_foci, key=lambda focus: self.tried.get(focus.id, 0))

    def is_settled(self, focus_id: str) -> bool:
        """Whether the kept passages or the notes, as they are now, settle a focus."""
        return any(note.focus_id == focus_id and note.confidence >= self.close_confidence for note in self.notes) or (
            self.evidence.best_relevance(focus_id, self.evidence.kept()) >= self.close_relevance
        )

    def close_foci(self) -> list[str]:
        """Close every focus that the kept passages or the notes settle; return the newly closed ids, in plan order."""
        newly = [focus.id for focus in self.open_foci if self.is_settled(focus.id)]
        self.closed.update(newly)
        return newly

    def add_usage(self, usage: types_pb2.Usage) -> None:
        """Count what a call used."""
        add_usage(self.usage, usage)

    def history(self) -> list[types_pb2.HistoryStep]:
        """The finished steps as decomposer and synthesizer are shown them."""
        return [self._history_step(step) for step in self.steps]

    def _history_step(self, step: session_pb2.RecordedStep) -> types_pb2.HistoryStep:
        ranked: dict[str, types_pb2.Passage] = {}
        for search in step.searches:
            for passage in search.passages:
                known = ranked.get(passage.id)
                if known is None or known.relevance < passage.relevance:
                    ranked[passage.id] = passage
        best = sorted(ranked.values(), key=lambda passage: (-passage.relevance, passage.id))[:_HISTORY_PASSAGES]
        return types_pb2.HistoryStep(
            index=step.finished.index,
            action=step.finished.action,
            focus_ids=step.finished.focus_ids,
            subqueries=[search.subquery for search in step.searches],
            passages=[
                types_pb2.HistoryPassage(
                    id=passage.id,
                    text=" ".join(passage.text.split()[: self.history_words]),
                    focus_ids=[
                        entry.focus_id for entry in passage.focus_relevance if entry.relevance >= self.close_relevance
                    ],
                )
                for passage in best
            ],
            notes=step.finished.notes,
        )

    def replay(self, step: session_pb2.RecordedStep) -> None:
        """Take in a step that an earlier run of this question recorded."""
        for search in step.searches:
            self.evidence.add(RankedList(search.subquery.focus_id, search.subquery.text, tuple(search.passages)))
        self.notes.extend(step.finished.notes)
        for focus_id in step.finished.focus_ids:
            self.tried[focus_id] = self.tried.get(focus_id, 0) + 1
        self.closed.update(step.finished.closed_focus_ids)
        self.degradations.extend(step.degradations)
        self.add_usage(step.usage)
        self.record(step)

    def record(self, step: session_pb2.RecordedStep) -> None:
        """Append a finished step and move the progress."""
        finished = step.finished
        self.idle_steps = 0 if finished.progress_after > finished.progress_before else self.idle_steps + 1
        self.progress = finished.progress_after
        self.steps.append(step)
