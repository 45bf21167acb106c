"""Settings of the decision process that a sweep solves: which process, and the values that are varied in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from argo.errors import InvalidArgumentError
from argo.limits import BUDGET_MS, FOCI, check_range
from orchestrator.mdp import ProgressMdp
from orchestrator.parameter import MdpParameters
from orchestrator.progress import TRACKERS, ConstantTracker, tracker
from orchestrator.quality import QUALITIES, quality

__all__ = ["PARAMETERS", "Grid", "Process", "Setting", "parse_process"]

PARAMETERS: Final = ("retrieve_cost", "cost_weight", "success_probability", "gain_ratio")
"""What is varied besides the quality function."""


@dataclass(frozen=True)
class Process:
    """What moves progress, and how many foci there are."""

    tracker: str
    n_foci: int
    """Under `constant` they bound the fan-out alone; 1 is the research code's process."""

    def __str__(self) -> str:
        return f"{self.tracker}:{self.n_foci}"


def parse_process(text: str) -> Process:
    """Read tracker:foci, such as evidence:3.

    Raises:
        InvalidArgumentError: Unknown tracker, or foci that are no number in 1..8.
    """
    name, _, foci = text.partition(":")
    if name not in TRACKERS or not foci.isdecimal():
        raise InvalidArgumentError(
            f"process must be a tracker ({', '.join(TRACKERS)}) and its foci, such as evidence:3, got {text!r}"
        )
    return Process(name, check_range("foci of process", int(foci), FOCI))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One process to solve."""

    process: Process
    budget_ms: int
    """0 for none."""
    quality: str
    retrieve_cost: float
    cost_weight: float
    success_probability: float
    gain_ratio: float
    """What a note gains for what a retrieval gains, delta_p / delta_r. Under `evidence`, where both close a focus, it
    is how much more seldom a note does, p_p / p_s."""

    def parameters(self, base: MdpParameters) -> MdpParameters:
        """The parameters of this setting, with all that is not varied as in `base`.

        Raises:
            InvalidArgumentError: A value out of its bound.
        """
        given: dict[str, Any] = {name: getattr(self, name) for name in PARAMETERS if name != "gain_ratio"}
        if self.process.tracker == ConstantTracker.name:
            given["reason_gain"] = self.gain_ratio * base.retrieve_gain
        else:
            given["reason_success_probability"] = self.gain_ratio * self.success_probability
        return replace(base, quality=quality(self.quality, base.quality.k), **given)

    def mdp(self, base: MdpParameters, *, points: int, max_fan_out: int, reason_available: bool) -> ProgressMdp:
        """The process, on so many progress points under `constant`, on foci + 1 under `evidence`."""
        parameters = self.parameters(base)
        moves = (
            ConstantTracker(parameters, n_progress=points)
            if self.process.tracker == ConstantTracker.name
            else tracker(self.process.tracker, parameters)
        )
        return moves.process(self.process.n_foci, max_fan_out=max_fan_out, reason_available=reason_available)

    def with_value(self, name: str, value: float) -> Setting:
        """The same setting with another value of one of :data:`PARAMETERS`."""
        changed: dict[str, Any] = {name: value}
        return replace(self, **changed)

    def fields(self) -> dict[str, Any]:
        """The setting as a record's fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "process"}
        return {"tracker": self.process.tracker, "n_foci": self.process.n_foci, **values}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Setting:
        """The setting of a record's row."""
        values = {field.name: row[field.name] for field in fields(cls) if field.name != "process"}
        return cls(process=Process(row["tracker"], row["n_foci"]), **values)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The values to combine, each with each.

    Raises:
        InvalidArgumentError: A list is empty or holds a value twice, or a value is out of its bound.
    """

    processes: Sequence[Process]
    budgets_ms: Sequence[int]
    qualities: Sequence[str]
    retrieve_cost: Sequence[float]
    cost_weight: Sequence[float]
    success_probability: Sequence[float]
    gain_ratio: Sequence[float]

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if not values or len(set(values)) < len(values):
                raise InvalidArgumentError(f"{field.name} must hold one value or more, none twice, got {list(values)}")
        for budget_ms in self.budgets_ms:
            if budget_ms:
                check_range("budget_ms", budget_ms, BUDGET_MS)
        for name in self.qualities:
            if name not in QUALITIES:
                raise InvalidArgumentError(f"quality must be one of {', '.join(QUALITIES)}, got {name!r}")
        for ratio in self.gain_ratio:
            if not 0.0 < ratio <= 1.0:
                raise InvalidArgumentError(f"gain_ratio must be in (0, 1], got {ratio:g}")

    def __len__(self) -> int:
        count = 1
        for field in fields(self):
            count *= len(getattr(self, field.name))
        return count

    def __iter__(self) -> Iterator[Setting]:
        for process, budget_ms, sigma, *values in itertools.product(
            self.processes, self.budgets_ms, self.qualities, *(getattr(self, name) for name in PARAMETERS)
        ):
            yield Setting(
                process=process, budget_ms=budget_ms, quality=sigma, **dict(zip(PARAMETERS, values, strict=True))
            )

    def fields(self) -> dict[str, Any]:
        """The grid as a record's settings."""
        return {**asdict(self), "processes": [str(process) for process in self.processes]}
