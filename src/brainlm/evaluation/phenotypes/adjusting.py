"""From the features of everybody to the coordinates of one fold: gaps, harmonising, confounds, rotation, in this order.

Each step learns from the training rows; harmonising precedes the confounds because it works on features as measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int64

from brainlm.evaluation.phenotypes.confounds import ConfoundRegression
from brainlm.evaluation.phenotypes.harmonising import Harmonisation
from brainlm.evaluation.phenotypes.imputing import fill_gaps
from brainlm.evaluation.phenotypes.rotation import Coordinates, to_coordinates


@dataclass(frozen=True)
class Adjustment:
    """What is taken off the features inside each fold; nothing by default.

    Attributes:
        confounds: columns whose linear effect is taken off.
        harmonise: column of sites or scanners for ComBat; empty for none.
        keep: columns whose effect ComBat is to leave in.
    """

    confounds: tuple[str, ...] = ()
    harmonise: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FoldFeatures:
    """One block in one fold.

    Attributes:
        coordinates: what estimators take.
        num_unseen: test rows with a confound that is missing or that no training row has.
    """

    coordinates: Coordinates
    num_unseen: int = 0


def fold_features(
    train_MF: Float[np.ndarray, "M F"],
    test_LF: Float[np.ndarray, "L F"],
    *,
    adjustment: Adjustment,
    table: pd.DataFrame,
    train_M: Int64[np.ndarray, "M"],
    test_L: Int64[np.ndarray, "L"],
    weights_M: Float64[np.ndarray, "M"],
) -> FoldFeatures:
    """``table`` has one row a unit; ``train_M`` and ``test_L`` are the rows' positions in it.

    Raises:
        ConfigError, DataError: as ``Design.fit`` and ``Harmonisation``.
    """
    if adjustment == Adjustment():
        return FoldFeatures(to_coordinates(train_MF, test_LF, weights_M=weights_M))
    filled = fill_gaps(train_MF, test_LF)
    train, test, num_unseen = filled.train_MF, filled.test_LF, 0
    train_table, test_table = table.iloc[train_M], table.iloc[test_L]
    if adjustment.harmonise:
        combat = Harmonisation.fit(train, train_table, adjustment.harmonise, keep=adjustment.keep)
        train, test = combat.apply(train, train_table), combat.apply(test, test_table)
    if adjustment.confounds:
        regression = ConfoundRegression.fit(train, train_table, adjustment.confounds, weights_M=weights_M)
        num_unseen = regression.design.num_unseen(test_table)
        train, test = regression.apply(train, train_table), regression.apply(test, test_table)
    return FoldFeatures(to_coordinates(train, test, weights_M=weights_M), num_unseen)
