"""Linear support vector machines of many rows: an interior point method whose cost is linear in the rows.

Both machines are one problem: the least squared length of w plus C_j times how far row j falls short of its margin,
max(0, margin_j - sign_j (x_j w + b)). A row of a regression falls short from above or from below its tube, and stands
there twice. The dual is solved by Mehrotra's predictor and corrector; a step needs one matrix of features x features
(Ferris and Munson 2002, SIAM Journal on Optimization 13, 783). The optimum is that of scikit-learn's SVC and SVR.

Shapes: M rows, R coordinates, H hinges (M, or 2 M), C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.linalg
from jaxtyping import Float64, Int64

TUBE = 0.1  # half the width in which SVR sees no error, of standardised values: scikit-learn's default
_MAX_STEPS = 60
_GAP = 1e-7  # of primal and dual, relative
_CAUTION = 0.995  # share of the way to the nearest bound


@dataclass(frozen=True, eq=False)
class Plane:
    """What one machine decides by."""

    coefficients_R: Float64[np.ndarray, "R"]
    intercept: float

    def decisions(self, rows_LR: Float64[np.ndarray, "L R"]) -> Float64[np.ndarray, "L"]:
        """Signed distances to the plane, or values."""
        return rows_LR @ self.coefficients_R + self.intercept


@dataclass(frozen=True, eq=False)
class PairedPlanes:
    """A machine for each pair of classes, as scikit-learn's SVC has them."""

    classes_C: Int64[np.ndarray, "C"]
    planes: tuple[Plane, ...]

    def decisions(self, rows_LR: Float64[np.ndarray, "L R"]) -> Float64[np.ndarray, "L D"]:
        """One column for two classes; else the votes of each class and, below 1/3, how confident they are."""
        decisions = [plane.decisions(rows_LR) for plane in self.planes]
        if len(self.classes_C) == 2:
            return decisions[0][:, None]
        votes_LC, confidence_LC = (np.zeros((len(rows_LR), len(self.classes_C))) for _ in range(2))
        for (first, second), decision_L in zip(combinations(range(len(self.classes_C)), 2), decisions, strict=True):
            votes_LC[:, first] += decision_L <= 0
            votes_LC[:, second] += decision_L > 0
            confidence_LC[:, first] -= decision_L
            confidence_LC[:, second] += decision_L
        return votes_LC + confidence_LC / (3.0 * (np.abs(confidence_LC) + 1.0))


def classifying_machine(
    rows_MR: Float64[np.ndarray, "M R"], classes_M: Int64[np.ndarray, "M"], strengths_M: Float64[np.ndarray, "M"]
) -> PairedPlanes:
    """Support vector classification; ``strengths_M``: C times the weight of each row."""
    classes_C = np.unique(classes_M)
    planes = []
    for first, second in combinations(classes_C.tolist(), 2):
        of_pair = np.flatnonzero((classes_M == first) | (classes_M == second))
        sign_H = np.where(classes_M[of_pair] == second, 1.0, -1.0)
        planes.append(_solve(rows_MR[of_pair], sign_H, np.ones(len(sign_H)), strengths_M[of_pair]))
    return PairedPlanes(classes_C, tuple(planes))


def regressing_machine(
    rows_MR: Float64[np.ndarray, "M R"], values_M: Float64[np.ndarray, "M"], strengths_M: Float64[np.ndarray, "M"]
) -> Plane:
    """Support vector regression of standardised values; ``strengths_M``: C times the weight of each row."""
    sign_H = np.repeat([1.0, -1.0], len(values_M))
    margin_H = np.concatenate([values_M, -values_M]) - TUBE
    return _solve(rows_MR, sign_H, margin_H, np.tile(strengths_M, 2))


def _solve(rows_MR: np.ndarray, sign_H: np.ndarray, margin_H: np.ndarray, limit_H: np.ndarray) -> Plane:
    """With dual a in [0, limit] and its distance to the limit, the slacks of both, and w = sum of a_j sign_j x_j."""
    num_copies = len(sign_H) // len(rows_MR)

    def along(w_R: np.ndarray) -> np.ndarray:
        return sign_H * np.tile(rows_MR @ w_R, num_copies)

    def across(values_H: np.ndarray) -> np.ndarray:
        folded_M = (sign_H * values_H).reshape(num_copies, -1).sum(axis=0)
        return rows_MR.T @ folded_M

    def room(values_H: np.ndarray, change_H: np.ndarray) -> float:
        """How far one can go before a value is 0."""
        falling = change_H < 0
        return float(np.min(-values_H[falling] / change_H[falling], initial=1.0))

    a_H, b = limit_H / 2.0, 0.0
    w_R = across(a_H)
    short_H = margin_H - along(w_R)
    below_H, above_H = np.maximum(-short_H, 0.0) + 1.0, np.maximum(short_H, 0.0) + 1.0  # multipliers of both bounds
    for _ in range(_MAX_STEPS):
        left_H = limit_H - a_H
        residual_H = margin_H - along(w_R) - sign_H * b + below_H - above_H
        balance = -float(sign_H @ a_H)
        gap = float(a_H @ below_H + left_H @ above_H)
        size = 1.0 + abs(float(w_R @ w_R) / 2.0 - float(margin_H @ a_H))
        if gap < _GAP * size and np.abs(residual_H).max() < _GAP * size:
            break
        theta_H = below_H / a_H + above_H / left_H
        inverse_M = (1.0 / theta_H).reshape(num_copies, -1).sum(axis=0)
        factor = scipy.linalg.cho_factor(
            rows_MR.T @ (rows_MR * inverse_M[:, None]) + np.eye(rows_MR.shape[1]), check_finite=False
        )

        def solved(right_H: np.ndarray, theta_H: np.ndarray = theta_H, factor: object = factor) -> np.ndarray:
            part_R = scipy.linalg.cho_solve(factor, across(right_H / theta_H), check_finite=False)
            return (right_H - along(part_R)) / theta_H

        of_sign_H = solved(sign_H)

        def step(below_right_H: np.ndarray, above_right_H: np.ndarray) -> tuple[np.ndarray, float]:
            right_H = residual_H + below_right_H / a_H - above_right_H / left_H  # noqa: B023
            free_H = solved(right_H)
            db = (float(sign_H @ free_H) - balance) / float(sign_H @ of_sign_H)  # noqa: B023
            return free_H - db * of_sign_H, db  # noqa: B023

        # Predictor: straight at the optimum; how far it gets says how much to stay in the middle.
        da_H, db = step(-a_H * below_H, -left_H * above_H)
        dbelow_H = -below_H - below_H * da_H / a_H
        dabove_H = -above_H + above_H * da_H / left_H
        far = min(room(a_H, da_H), room(left_H, -da_H), room(below_H, dbelow_H), room(above_H, dabove_H))
        reached = (a_H + far * da_H) @ (below_H + far * dbelow_H) + (left_H - far * da_H) @ (above_H + far * dabove_H)
        centre = (float(reached) / gap) ** 3 * gap / (2 * len(a_H))
        below_right_H = centre - a_H * below_H - da_H * dbelow_H
        above_right_H = centre - left_H * above_H + da_H * dabove_H
        da_H, db = step(below_right_H, above_right_H)
        dbelow_H = (below_right_H - below_H * da_H) / a_H
        dabove_H = (above_right_H + above_H * da_H) / left_H
        far = _CAUTION * min(room(a_H, da_H), room(left_H, -da_H), room(below_H, dbelow_H), room(above_H, dabove_H))
        a_H, b = a_H + far * da_H, b + far * db
        below_H, above_H = below_H + far * dbelow_H, above_H + far * dabove_H
        w_R = across(a_H)
    return Plane(w_R, b)
