"""A policy fitted to recorded sessions, and what it changes on questions that the fit has not seen.

Everything is made of the raw record: sessions of the train questions, and the outcome of each test question under each
strategy. The same record gives the same fit again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from argo.errors import InvalidArgumentError
from argo.result import Policy
from bench.action_time import fitted_times
from bench.cluster import cluster_mean_interval
from bench.estimate import Estimate, estimate_parameters
from bench.fit_run import ONCE
from bench.record import Run
from orchestrator.action_time import BUILTIN_TIMES, ActionTimes
from orchestrator.parameter import MdpParameters
from orchestrator.policy_book import PolicyBook
from orchestrator.policy_file import PolicyFile

__all__ = [
    "AFTER",
    "BEFORE",
    "DEFAULT",
    "FITTED",
    "NON_ADAPTIVE",
    "Closing",
    "Fit",
    "best_closing",
    "best_of_record",
    "closings",
    "fit",
    "fit_record",
    "fitted_sessions",
    "in_force",
    "read_policy",
    "with_close_relevance",
    "write_policy",
]

DEFAULT: Final = "mdp, defaults"
FITTED: Final = "mdp, fitted"
NON_ADAPTIVE: Final = ("fixed", "always_retrieve")
"""The strategies that the fitted policy is to be held against; the better of them counts."""
BEFORE: Final = ((DEFAULT, "mdp"), *((name, name) for name in (*NON_ADAPTIVE, "single_shot")))
"""What is asked under the policy in force: the name of each run, and its strategy."""
AFTER: Final = ((FITTED, "mdp"), *((f"{name}, fitted file", name) for name in NON_ADAPTIVE))
"""What is asked once the fitted file is served. It sets the relevance that closes a focus for every strategy: the
others show how much of the effect is that alone."""
_TIMES: Final = {
    "one_focus_retrieve_s": "retrieve_1_one_focus",
    "reason_s": "reason",
    "free_answer_s": "answer_free",
    "choice_answer_s": "answer_choice",
    "extractive_answer_s": "extractive",
}
"""Fields of the times, and what GetPolicy calls them."""


@dataclass(frozen=True)
class Fit:
    """Parameters and times as they were, and as sessions have them."""

    before: PolicyFile
    after: PolicyFile
    estimates: tuple[Estimate, ...]
    closings: tuple[Closing, ...]
    """What each relevance that was tried makes of the first step; empty where only one was in force."""
    observed: dict[str, int]
    """Observations behind each time that was measured."""


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What the first step came to where a kept passage closes a focus from one relevance on."""

    close_relevance: float
    n: int
    held: float
    """Mean share of a question's evidences among the passages that count."""
    searches: float
    """Mean searches of a question."""
    worth: float
    """What is held less what the searches cost, in answer quality."""
    low: float | None
    """Lower end of the 95 % interval, by cluster, of its worth less that of the orchestrator's setting."""
    high: float | None


def closings(rows: Sequence[Mapping[str, Any]], before: MdpParameters, rng: np.random.Generator) -> list[Closing]:
    """Weigh the relevances that were tried, in the unit of the decision process.

    The question's own search comes first, and foci that it closes are searched no more: the lower the relevance that
    closes a focus, the fewer the searches, and the more of them that were needed.

    Args:
        rows: Sessions; those of the arm with one step count, the first relevance among them being the one set.
        before: For what a search costs.
        rng: Draws the clusters.
    """
    once: dict[float, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["arm"] == ONCE.name and row["held"] is not None:
            once.setdefault(row["close_relevance"], {})[row["id"]] = row
    if len(once) < 2:
        return []
    cost = before.cost_weight * before.retrieve_cost
    shared = sorted(set.intersection(*(set(found) for found in once.values())))
    worth = {at: [found[key]["held"] - cost * found[key]["searches"] for key in shared] for at, found in once.items()}
    as_set = worth[next(iter(once))]
    weighed = []
    for at, found in once.items():
        difference = [one - other for one, other in zip(worth[at], as_set, strict=True)]
        ends = cluster_mean_interval(difference, [found[key]["cluster"] for key in shared], rng)
        weighed.append(
            Closing(
                close_relevance=at,
                n=len(shared),
                held=float(np.mean([found[key]["held"] for key in shared])),
                searches=float(np.mean([found[key]["searches"] for key in shared])),
                worth=float(np.mean(worth[at])),
                low=ends[0] if ends else None,
                high=ends[1] if ends else None,
            )
        )
    return sorted(weighed, key=lambda closing: closing.close_relevance)


def best_closing(weighed: Sequence[Closing]) -> float | None:
    """The relevance that is worth most, of equals the highest; None where none was tried."""
    best = max(weighed, key=lambda closing: (closing.worth, closing.close_relevance), default=None)
    return None if best is None else best.close_relevance


def fitted_sessions(rows: Sequence[Mapping[str, Any]], at: float | None) -> list[Mapping[str, Any]]:
    """The sessions in which foci closed from one relevance on; all of them where None."""
    return [row for row in rows if at is None or row["close_relevance"] == at]


def best_of_record(run: Run) -> float | None:
    """The relevance that is worth most by the sessions of a record; None where one alone was tried."""
    before = read_policy(run.head["before"]).parameters
    rng = np.random.default_rng(run.head["settings"]["seed"])
    return best_closing(closings(run.of_kind("session"), before, rng))


def with_close_relevance(content: PolicyFile, close_relevance: float | None) -> PolicyFile:
    """The same with another relevance that closes a focus."""
    return replace(content, parameters=replace(content.parameters, close_relevance=close_relevance))


def in_force(policy: Policy) -> PolicyFile:
    """The parameters and times that a stack runs with, as its GetPolicy tells them."""
    given: dict[str, Any] = {**policy.parameters, "quality": policy.quality}
    given["allow_free"] = bool(given.get("allow_free", False))
    seconds = policy.action_time_s
    times: dict[str, Any] = {field: seconds[name] for field, name in _TIMES.items() if name in seconds}
    times["retrieve_s"] = _by_fan_out(seconds, "retrieve_{}")
    if "retrieve_1_rules" in seconds:
        times["rules_retrieve_s"] = _by_fan_out(seconds, "retrieve_{}_rules")
    return PolicyFile(MdpParameters.from_mapping(given), ActionTimes.from_mapping(times), policy.origin)


def read_policy(mapping: Mapping[str, Any]) -> PolicyFile:
    """Parameters and times as a record holds them."""
    times = mapping["times"]
    return PolicyFile(
        MdpParameters.from_mapping(mapping["parameters"]),
        None if times is None else ActionTimes.from_mapping(times),
        mapping["origin"],
    )


def write_policy(content: PolicyFile) -> dict[str, Any]:
    """Parameters and times for a record."""
    return {
        "parameters": content.parameters.to_mapping(),
        "times": None if content.times is None else content.times.to_mapping(),
        "origin": content.origin,
    }


def fit_record(run: Run) -> Fit:
    """The fit of a record, with the settings that it was made with."""
    settings, n = run.head["settings"], len(run.of_kind("session"))
    return fit(
        run,
        read_policy(run.head["before"]),
        seed=settings["seed"],
        origin=f"bench policy fit: {run.path.name}, {n} sessions, seed {settings['seed']}",
        with_times=settings["times"],
    )


def _by_fan_out(seconds: Any, name: str) -> list[float]:
    return [seconds[name.format(n)] for n in range(1, 9)]


def fit(run: Run, before: PolicyFile, *, seed: int, origin: str, with_times: bool) -> Fit:
    """Fit parameters and times to the sessions of a record, and make sure that they can be solved for.

    Args:
        run: With rows of kind "session".
        before: What was in force when they ran; what they say nothing of stays as it is.
        seed: Of the intervals.
        origin: What the file is to say of itself.
        with_times: Whether the file is to hold times, which then replace those that the engines measure.

    Raises:
        InvalidArgumentError: There is no session with a retrieval.
    """
    rows, rng = run.of_kind("session"), np.random.default_rng(seed)
    weighed = closings(rows, before.parameters, rng)
    at = best_closing(weighed)
    rows = fitted_sessions(rows, at)
    estimates = estimate_parameters(rows, rng, retrieve_cost=before.parameters.retrieve_cost)
    found = {estimate.name: estimate.value for estimate in estimates if estimate.value is not None}
    if "success_probability" not in found:
        raise InvalidArgumentError(f"sessions must hold at least 1 retrieval, got none in {run.path}")
    given = {name: _within(name, value) for name, value in found.items()}
    if at is not None:
        given["close_relevance"] = at
    parameters = MdpParameters.from_mapping({**before.parameters.to_mapping(), **given})
    times = before.times
    observed: dict[str, int] = {}
    if before.times is not None:
        times, observed = fitted_times(rows, before.times)
    after = PolicyFile(parameters, times if with_times else None, origin)
    # Not a file that an orchestrator would refuse.
    solved_for = times or BUILTIN_TIMES
    PolicyBook(parameters, solved_for, reason_available=solved_for.reason_s is not None)
    return Fit(before, after, tuple(estimates), tuple(weighed), observed)


def _within(name: str, value: float) -> float:
    """A gain must be above 0 even where nothing was gained; costs and chances may be 0."""
    return max(value, 1e-3) if name.endswith("gain") else value
