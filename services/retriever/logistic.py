"""Logistic regression by Newton's method, and the figures that judge its probabilities."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["brier_score", "cross_validate", "fit_logistic"]

Matrix = NDArray[np.float64]

_MOST_STEPS: Final = 100
_TOLERANCE: Final = 1e-10


def fit_logistic(rows: Matrix, labels: Matrix, weights: Matrix, ridge: float) -> tuple[Matrix, float]:
    """Coefficients that minimise weighted log loss plus ridge * |coefficients|^2 / 2, columns made comparable first.

    Args:
        rows: (n, features).
        labels: 0 or 1, (n,).
        weights: Weight of each row, (n,).
        ridge: Penalty on the coefficients of the standardised columns; the bias has none.

    Returns:
        Coefficients for the columns as given, and the bias.

    Source: Hastie, Tibshirani and Friedman (2009), section 4.4.1.
    """
    mean = np.average(rows, axis=0, weights=weights)
    deviation = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weights))
    deviation[deviation < 1e-9] = 1.0
    columns = np.column_stack([(rows - mean) / deviation, np.ones(len(rows))])
    penalty = np.full(columns.shape[1], ridge)
    penalty[-1] = 1e-9
    beta = np.zeros(columns.shape[1])
    for _ in range(_MOST_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(columns @ beta, -30.0, 30.0)))
        gradient = columns.T @ (weights * (chance - labels)) + penalty * beta
        curvature = (columns * (weights * chance * (1.0 - chance))[:, None]).T @ columns + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if float(np.abs(step).max()) < _TOLERANCE:
            break
    coefficients = beta[:-1] / deviation
    return coefficients, float(beta[-1] - coefficients @ mean)


def cross_validate(
    rows: Matrix, labels: Matrix, weights: Matrix, groups: NDArray[np.int64], ridge: float, folds: int
) -> Matrix:
    """Probability of each row by a fit that has not seen its group, (n,).

    Args:
        rows: (n, features).
        labels: 0 or 1, (n,).
        weights: Weight of each row, (n,).
        groups: Number of each row's question; rows of one question are never parted.
        ridge: As for fit_logistic.
        folds: Parts; question i is judged in part i modulo folds.
    """
    chances = np.zeros(len(rows))
    for fold in range(folds):
        judged = groups % folds == fold
        if judged.any():
            coefficients, bias = fit_logistic(rows[~judged], labels[~judged], weights[~judged], ridge)
            chances[judged] = 1.0 / (1.0 + np.exp(-np.clip(rows[judged] @ coefficients + bias, -30.0, 30.0)))
    return chances


def brier_score(chances: Matrix, labels: Matrix, weights: Matrix) -> float:
    """Weighted mean squared error of probabilities; 0 is perfect.

    Source: Brier (1950), Verification of forecasts expressed in terms of probability.
    """
    return float(np.average((chances - labels) ** 2, weights=weights))
