"""ComBat inside a fold: mean and spread of every feature made alike over sites, with effects shrunk across features.

By the package combatlearn (extra ``baselines``). Its model for covariates is used with our own encoding of categories:
its own drops the first category that is present, which is another one in a test fold that lacks it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.phenotypes.design import Design, column_of
from brainlm.extras import check_extra

_FEWEST_PER_SITE = 2


@dataclass(frozen=True, eq=False)
class Harmonisation:
    """ComBat (Johnson et al. 2007; covariates as in Fortin et al. 2018) of one training fold.

    Args:
        model: combatlearn's.
        sites: the sites it knows.
        keep: what is to survive of differences between people, such as age and sex. Never the target: that would
            need the labels of test people.
        varies_F: features that vary among training rows; the others are left as they are.
    """

    model: Any
    column: str
    sites: frozenset[str]
    keep: Design
    varies_F: np.ndarray

    @classmethod
    def fit(
        cls, train_MF: Float[np.ndarray, "M F"], table: pd.DataFrame, column: str, *, keep: Sequence[str] = ()
    ) -> Harmonisation:
        """``train_MF`` without gaps, ``table`` with the same rows, ``column`` the site or scanner.

        Raises:
            ConfigError: the package is missing, there is one site only, or a site has a single training row.
        """
        combat = _combat_model()
        sites = _sites(table, column)
        _check_sizes(sites, column)
        design = Design.fit(table, keep)
        varies_F = np.ptp(train_MF, axis=0) > 0
        model = combat(method="fortin")
        with warnings.catch_warnings():
            # About small or very unequal sites: what it does to scores is in the table beside the scores without it.
            warnings.simplefilter("ignore", UserWarning)
            model.fit(train_MF[:, varies_F].astype(np.float64), batch=sites, **_covariates(design, table))
        return cls(model, column, frozenset(sites), design, varies_F)

    def apply(self, features_NF: Float[np.ndarray, "N F"], table: pd.DataFrame) -> Float[np.ndarray, "N F"]:
        """The harmonised features, in the precision they came in.

        Raises:
            ConfigError: a site that was not in the training fold.
        """
        sites = _sites(table, self.column)
        unknown = sorted(set(sites) - self.sites)
        if unknown:
            raise ConfigError(
                f"the {self.column} {unknown[0]!r} cannot be harmonised: nobody of it is in the training fold",
                expected=f"folds in which every {self.column} is trained on",
                found=f"{len(unknown)} unseen of {self.column}: {', '.join(unknown[:5])}",
                remedy=f"leaving a {self.column} out and harmonising by it exclude one another: use k-fold, or do not "
                "harmonise",
            )
        adjusted_NF = features_NF.copy()
        varying_NF = features_NF[:, self.varies_F].astype(np.float64)
        adjusted_NF[:, self.varies_F] = self.model.transform(varying_NF, batch=sites, **_covariates(self.keep, table))
        return adjusted_NF


def _combat_model() -> Any:
    check_extra("combatlearn", what="harmonised features", otherwise="leave --harmonise out")
    from combatlearn.core import ComBatModel

    return ComBatModel


def _covariates(design: Design, table: pd.DataFrame) -> dict[str, np.ndarray]:
    if not design.columns:
        return {}
    # One category of each column less: the sites' own columns already add up to one.
    names = design.names
    firsts = {f"{column.name}={column.categories[0]}" for column in design.columns if column.categories}
    kept = [index for index, name in enumerate(names) if name not in firsts]
    return {"continuous_covariates": design.encode(table)[:, kept]} if kept else {}


def _sites(table: pd.DataFrame, column: str) -> np.ndarray:
    values = column_of(table, column)
    num_missing = int(values.isna().sum())
    if num_missing:
        raise DataError(
            f"{num_missing} people without a {column} cannot be harmonised",
            expected=f"a {column} for everybody",
            found=f"{num_missing} missing of {len(values)}",
            remedy="fill the column, leave these people out with --select, or do not harmonise",
        )
    return values.astype(str).to_numpy(dtype=object)


def _check_sizes(sites: np.ndarray, column: str) -> None:
    names, counts = np.unique(sites.astype(str), return_counts=True)
    if len(names) < 2:
        raise ConfigError(
            f"there is nothing to harmonise: everybody has the same {column}",
            expected=f"at least two different values of {column}",
            found=f"{str(names[0])!r} only",
            remedy="do not harmonise",
        )
    if counts.min() < _FEWEST_PER_SITE:
        raise ConfigError(
            f"the {column} {str(names[counts.argmin()])!r} is too small to be harmonised",
            expected=f"at least {_FEWEST_PER_SITE} people of each {column} in every training fold",
            found=f"{counts.min()}",
            remedy=f"leave this {column} out with --select, or do not harmonise",
        )
