"""Parameters of the decision process, checked where they enter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from argo.errors import InvalidArgumentError
from orchestrator.quality import LINEAR, Quality, quality

__all__ = ["BUILTIN_PARAMETERS", "MdpParameters", "check_names", "check_number"]


def check_number(field: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """Return a number within its bound, which NaN and the infinities never are.

    Args:
        field: Name shown to whoever set it.
        value: What was given.
        low: Least value allowed.
        high: Largest value allowed; finite.
        above: Whether `low` itself is excluded.

    Raises:
        InvalidArgumentError: Not a number, or out of bounds.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not low <= value <= high
        or (above and value == low)
    ):
        raise InvalidArgumentError(
            f"{field} must be a number in {'(' if above else '['}{low:g}, {high:g}], got {value!r}"
        )
    return float(value)


def check_names(what: str, given: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Refuse a field that does not exist, by its name, so that a typing error cannot pass for a default."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidArgumentError(f"{what} has no field {unknown[0]!r}; its fields are {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class MdpParameters:
    """What the decision process is solved for. Gains are progress, costs and qualities are answer quality.

    Raises:
        InvalidArgumentError: A value that is not a number within its bound, named with that bound; a cost weight
            of 0 without `allow_free`.
    """

    retrieve_gain: float = 0.25
    """Progress of one useful retrieval, delta_r; `constant` tracker only."""
    reason_gain: float = 0.08
    """Progress of one finished note, delta_p; `constant` tracker only."""
    success_probability: float = 0.8
    """Chance that one retrieval closes its focus, p_s."""
    repeat_success_probability: float | None = None
    """Chance that one more retrieval closes a focus that was searched before, p_r; None: as the first. `evidence` only,
    as the three that follow; where any of the four is set, the process remembers how often foci were searched."""
    held_closed: float = 1.0
    """Chance that the kept passages hold the evidence of a closed focus, h_c."""
    held_once: float = 0.0
    """The same of a focus that one search left open, h_1."""
    held_twice: float = 0.0
    """The same of one that two or more searches left open, h_2."""
    close_relevance: float | None = None
    """Relevance at which a kept passage closes a focus, in (0, 1], at which the chances above were measured. None: as
    the orchestrator is set."""
    reason_success_probability: float = 0.3
    """Chance that a note closes its focus, p_p; 1 under the `constant` tracker."""
    overlap: float = 0.2
    """rho: the k-th success of one fan-out gains retrieve_gain * (1 - overlap) ** (k - 1); `constant` tracker only."""
    retrieve_cost: float = 0.05
    """Cost of one subquery, c_r."""
    reason_cost: float = 0.02
    """Cost of one note, c_p."""
    rules_cost: float = 0.02
    """Cost of one subquery that rules word where a language model would, besides, c_w. Chosen: no measurement says how
    much less such a search finds. At 0 the faster rules would word every search of a question with a budget."""
    cost_weight: float = 0.6
    """Weight of cost against quality, mu."""
    discount: float = 0.98
    """Per step, gamma; 1 for none."""
    quality: Quality = LINEAR
    """Quality of an answer given at progress U, sigma."""
    extractive_quality: float = 0.7
    """Quality of the extractive answer relative to the model's."""
    allow_free: bool = False
    """Whether cost_weight may be 0. With free steps the process never stops on its own account before U = 1."""

    def __post_init__(self) -> None:
        for field, (low, high, above) in _BOUNDS.items():
            object.__setattr__(self, field, check_number(field, getattr(self, field), low, high, above=above))
        for field, (low, high, above) in _OPTIONAL.items():
            if (given := getattr(self, field)) is not None:
                object.__setattr__(self, field, check_number(field, given, low, high, above=above))
        if not isinstance(self.quality, Quality):
            raise InvalidArgumentError(f"quality must be a Quality, as quality(name, k) makes it, got {self.quality!r}")
        if not isinstance(self.allow_free, bool):
            raise InvalidArgumentError(f"allow_free must be true or false, got {self.allow_free!r}")
        if self.cost_weight == 0.0 and not self.allow_free:
            raise InvalidArgumentError("cost_weight must be above 0 unless allow_free is set, got 0")

    @property
    def repeat_probability(self) -> float:
        """p_r."""
        again = self.repeat_success_probability
        return self.success_probability if again is None else again

    @property
    def remembers_searches(self) -> bool:
        """Whether the `evidence` process tells foci apart by how often they were searched."""
        told = (self.repeat_success_probability, self.held_closed, self.held_once, self.held_twice)
        return told != _AS_NEVER_SEARCHED

    def to_mapping(self) -> dict[str, float | str | bool]:
        """Return the fields that are set as JSON values; the quality function as `quality` and `quality_k`."""
        mapping: dict[str, float | str | bool] = {field: getattr(self, field) for field in _BOUNDS}
        mapping |= {field: getattr(self, field) for field in _OPTIONAL if getattr(self, field) is not None}
        mapping["quality"] = self.quality.name
        mapping["quality_k"] = self.quality.k
        mapping["allow_free"] = self.allow_free
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> MdpParameters:
        """Read what :meth:`to_mapping` writes; a field left out keeps its default.

        Raises:
            InvalidArgumentError: Unknown field, or a value outside its bound.
        """
        check_names("parameters", mapping, (*(field.name for field in fields(cls)), "quality_k"))
        given = dict(mapping)
        sigma = quality(given.pop("quality", LINEAR.name), given.pop("quality_k", LINEAR.k))
        return cls(quality=sigma, **given)


_AS_NEVER_SEARCHED: Final = (None, 1.0, 0.0, 0.0)
_OPTIONAL: Final[dict[str, tuple[float, float, bool]]] = {
    "repeat_success_probability": (0.0, 1.0, False),
    "close_relevance": (0.0, 1.0, True),
}
_BOUNDS: Final[dict[str, tuple[float, float, bool]]] = {
    "retrieve_gain": (0.0, 1.0, True),
    "reason_gain": (0.0, 1.0, True),
    "success_probability": (0.0, 1.0, False),
    "held_closed": (0.0, 1.0, False),
    "held_once": (0.0, 1.0, False),
    "held_twice": (0.0, 1.0, False),
    "reason_success_probability": (0.0, 1.0, False),
    "overlap": (0.0, 1.0, False),
    "retrieve_cost": (0.0, 1e6, False),
    "reason_cost": (0.0, 1e6, False),
    "rules_cost": (0.0, 1e6, False),
    "cost_weight": (0.0, 1e6, False),
    "discount": (0.0, 1.0, True),
    "extractive_quality": (0.0, 1.0, False),
}

BUILTIN_PARAMETERS: Final = MdpParameters(extractive_quality=1.0)
"""The defaults with the `builtin` engines, whose answer is the extractive one."""
