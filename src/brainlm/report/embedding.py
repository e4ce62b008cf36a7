"""What organises the embeddings: a deterministic PCA, and the share of their variance that each column accounts for.

The pictures of it are in ``figures.py``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from brainlm.errors import ConfigError
from brainlm.report.run_folder import Embeddings

# What a store knows of every recording; every other column is a phenotype.
BOOKKEEPING = (
    *("subject", "session", "task", "run", "site", "tr", "num_timepoints", "source", "split"),
    *("recording", "key", "file", "atlas"),
    *("num_volumes", "num_censored", "max_fd"),  # mean_fd, tsnr and coverage say enough of the same
)
# Tried in this order when no phenotype has a usable number of levels.
SECOND_CHOICE = ("task", "run", "session", "site")
MIN_LEVELS, MAX_LEVELS = 2, 10
MAX_SHARES = 7


@dataclass(frozen=True, eq=False)
class Projection:
    """The recordings on the two directions of largest variance of their centred, unscaled CLS vectors."""

    points: Float[np.ndarray, "N 2"]
    explained: tuple[float, float]


@dataclass(frozen=True)
class Share:
    """The share of the embeddings' total variance that ``column`` accounts for, beside what chance would give.

    ``share`` is eta squared over all dimensions (between-group / total sum of squares), for a quantity R2 of a straight
    line. ``chance`` is its mean under random relabelling, of whole subjects where the column is constant within them.
    """

    column: str
    share: float
    chance: float
    num_levels: int | None
    num_recordings: int


def project(cls: Float[np.ndarray, "N D"]) -> Projection:
    """The first two principal components; each points to where its largest loading is positive."""
    centred = cls - cls.mean(axis=0)
    left, scale, right = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is arbitrary; fixing it makes the same embeddings give the same picture.
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    points = np.zeros((len(cls), 2))
    num_found = min(2, len(scale))
    points[:, :num_found] = (left * scale * np.where(signs == 0, 1, signs))[:, :num_found]
    variance = scale**2
    explained = np.zeros(2)
    if variance.sum() > 0:
        explained[:num_found] = (variance / variance.sum())[:num_found]
    return Projection(points=points, explained=(float(explained[0]), float(explained[1])))


def phenotypes(metadata: pd.DataFrame) -> list[str]:
    """The columns that say something about the person or the condition."""
    return [str(name) for name in metadata.columns if name not in BOOKKEEPING]


def is_quantity(values: pd.Series) -> bool:
    """True for numbers with more levels than a key can hold (age), False for categories (sex, also coded 0 / 1)."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return bool(numeric and values.nunique() > MAX_LEVELS)


def choose_column(metadata: pd.DataFrame, colour_by: str | None) -> str | None:
    """The column to colour by: the one asked for, else the first phenotype with 2 to 10 levels, else the first such of
    task, run, session and site.

    Raises:
        ConfigError: ``colour_by`` is not a column.
    """
    if colour_by is None:
        candidates = (*phenotypes(metadata), *(name for name in SECOND_CHOICE if name in metadata))
        usable = (name for name in candidates if MIN_LEVELS <= metadata[name].nunique() <= MAX_LEVELS)
        return next(usable, None)
    names = [str(name) for name in metadata.columns]
    if colour_by not in names:
        nearest = difflib.get_close_matches(colour_by, names, n=3, cutoff=0.4)
        raise ConfigError(
            f"the embeddings cannot be coloured by {colour_by!r}",
            expected=f"one of the columns {', '.join(names)}",
            found=colour_by,
            remedy=f"did you mean {' or '.join(nearest)}?" if nearest else "name one of these columns with --colour_by",
        )
    return colour_by


def shares(embeddings: Embeddings, first: str | None) -> tuple[Share, ...]:
    """The shares of the columns that can organise recordings, largest excess over chance first, with ``first``."""
    metadata = embeddings.metadata
    leading = [name for name in (first, "subject", "site", "task", "session", "run") if name in metadata]
    columns = dict.fromkeys([*leading, *phenotypes(metadata)])
    found = [share for name in columns if (share := _share(embeddings, str(name))) is not None]
    ranked = sorted(found, key=lambda share: share.chance - share.share)
    asked = [share for share in ranked[MAX_SHARES:] if share.column in (first, "subject")]
    return tuple(ranked[: MAX_SHARES - len(asked)] + asked)


def _share(embeddings: Embeddings, column: str) -> Share | None:
    """None where the column is empty, constant or different for every recording."""
    known = embeddings.metadata[column].notna().to_numpy()
    values, cls = embeddings.metadata.loc[known, column], embeddings.cls[known]
    quantity = is_quantity(values)
    num_recordings, num_levels = len(values), values.nunique()
    if num_levels < MIN_LEVELS or (not quantity and num_levels >= num_recordings) or np.ptp(cls, axis=0).max() == 0:
        return None
    share = _line_share(cls, values.to_numpy(np.float64)) if quantity else group_share(cls, values)
    freedom = 1 if quantity else num_levels - 1
    chance = freedom / (num_recordings - 1)
    subjects = embeddings.metadata.loc[known, "subject"] if "subject" in embeddings.metadata else None
    if subjects is not None and column != "subject" and subjects.nunique() < num_recordings:
        constant = pd.DataFrame({"subject": subjects, "value": values}).groupby("subject")["value"].nunique().max() == 1
        if constant and subjects.nunique() > 1:
            # Such a column can at most sort whole subjects, so whole subjects are what chance would shuffle.
            chance = group_share(cls, subjects) * freedom / (subjects.nunique() - 1)
    return Share(
        column=column,
        share=share,
        chance=min(chance, 1.0),
        num_levels=None if quantity else num_levels,
        num_recordings=num_recordings,
    )


def group_share(cls: Float[np.ndarray, "N D"], groups: pd.Series) -> float:
    """Eta squared over all dimensions: between-group sum of squares / total sum of squares."""
    codes, names = pd.factorize(groups.astype(str))
    centred = cls - cls.mean(axis=0)
    sums = np.zeros((len(names), cls.shape[1]))
    np.add.at(sums, codes, centred)
    between = (sums**2 / np.bincount(codes)[:, None]).sum()
    return float(between / (centred**2).sum())


def _line_share(cls: Float[np.ndarray, "N D"], values: Float[np.ndarray, "N"]) -> float:
    centred = cls - cls.mean(axis=0)
    direction = values - values.mean()
    direction /= np.linalg.norm(direction)
    return float(((direction @ centred) ** 2).sum() / (centred**2).sum())
