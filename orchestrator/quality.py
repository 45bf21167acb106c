"""How good an answer is when it is given at progress U: the quality function sigma, resolved once by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from argo.errors import InvalidArgumentError

__all__ = ["LINEAR", "QUALITIES", "Quality", "quality"]

_Curve = Callable[[NDArray[np.float64], float], NDArray[np.float64]]


def _linear(progress: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    return progress


def _sqrt(progress: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    return np.sqrt(progress)


def _saturating(progress: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    return -np.expm1(-k * progress)


def _sigmoid(progress: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-k * (progress - 0.5))), dtype=np.float64)


_CURVES: Final[dict[str, _Curve]] = {
    "linear": _linear,
    "sqrt": _sqrt,
    "saturating": _saturating,
    "sigmoid": _sigmoid,
}
QUALITIES: Final = tuple(_CURVES)
"""Names that :func:`quality` resolves."""
_STEEPEST: Final = 100.0  # exp(-100 * 0.5) is far from underflow, and no answer's quality is steeper


@dataclass(frozen=True)
class Quality:
    """Quality of an answer as a function of progress; never falling, within [0, 1].

    Two of them are equal when name and k are: that is how a reloaded policy is compared with the old one.
    """

    name: str
    k: float

    def __call__(self, progress: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return sigma(U), in answer quality, shape of `progress`."""
        return _CURVES[self.name](np.asarray(progress, dtype=np.float64), self.k)


def quality(name: str, k: float = 5.0) -> Quality:
    """Resolve a quality function by name.

    Args:
        name: linear U, sqrt, saturating 1 - exp(-k U), or sigmoid 1 / (1 + exp(-k (U - 0.5))).
        k: Steepness of the last two; the others do not use it.

    Raises:
        InvalidArgumentError: Unknown name, or k not in (0, 100].
    """
    if name not in QUALITIES:
        raise InvalidArgumentError(f"quality must be one of {', '.join(QUALITIES)}, got {name!r}")
    if isinstance(k, bool) or not isinstance(k, int | float) or not 0.0 < k <= _STEEPEST:
        raise InvalidArgumentError(f"quality_k must be in (0, {_STEEPEST:g}], got {k!r}")
    return Quality(name, float(k))


LINEAR: Final = quality("linear")
