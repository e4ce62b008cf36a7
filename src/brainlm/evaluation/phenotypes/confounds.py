"""What confounds explain of the features, taken off; learned from training rows and applied to both sides of a fold.

Site effects on spread as well as mean are the matter of ``harmonising.py``; both in order, in ``adjusting.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64

from brainlm.evaluation.phenotypes.design import Design


@dataclass(frozen=True, eq=False)
class ConfoundRegression:
    """A linear model of every feature on the confounds (Snoek et al. 2019, NeuroImage 184, 741: inside the fold).

    The mean stays in the features: what is taken off has mean 0 over the training rows. The target is not looked at.
    """

    design: Design
    mean_C: Float64[np.ndarray, "C"]
    slopes_CF: Float64[np.ndarray, "C F"]

    @classmethod
    def fit(
        cls,
        train_MF: Float[np.ndarray, "M F"],
        table: pd.DataFrame,
        names: Sequence[str],
        *,
        weights_M: Float64[np.ndarray, "M"],
    ) -> ConfoundRegression:
        """``train_MF`` without gaps, ``table`` with the same rows."""
        design = Design.fit(table, names)
        values_MC = design.encode(table)
        mean_C = np.average(values_MC, axis=0, weights=weights_M)
        roots_M = np.sqrt(weights_M)[:, None]
        centred_MF = train_MF - np.average(train_MF, axis=0, weights=weights_M)
        # Minimum-norm: categories that add up to one, or constant confounds, do no harm.
        slopes_CF = np.linalg.pinv(roots_M * (values_MC - mean_C)) @ (roots_M * centred_MF)
        return cls(design, mean_C, slopes_CF.astype(np.float64))

    def apply(self, features_NF: Float[np.ndarray, "N F"], table: pd.DataFrame) -> Float[np.ndarray, "N F"]:
        """The features less what the rows' confounds explain; in the precision they came in."""
        explained_NF = (self.design.encode(table) - self.mean_C) @ self.slopes_CF
        return features_NF - explained_NF.astype(features_NF.dtype)
