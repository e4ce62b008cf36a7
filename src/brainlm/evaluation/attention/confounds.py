"""What else differs between the two sides of a contrast: scanner, movement, age. Looked up and said, not corrected.

Comparing within sites is the contrast's own business (``contrast.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from brainlm.data.field_names import columns_of
from brainlm.evaluation.attention.contrast import Contrast
from brainlm.evaluation.attention.permuting import category_p
from brainlm.evaluation.phenotypes.units import texts

CANDIDATES = ("site", "tr", "num_timepoints", "mean_fd", "age", "sex")
NOTEWORTHY = 0.05
MOST_CATEGORIES = 50  # beyond, a column of words is rather a name than a group


@dataclass(frozen=True)
class Confound:
    """A column that could have differed; ``sentence`` says whether it does."""

    column: str
    p: float
    sentence: str

    @property
    def differs(self) -> bool:
        """Whether it is to be reckoned with."""
        return self.p < NOTEWORTHY


def confounds(contrast: Contrast, metadata: pd.DataFrame, *, num: int, seed: int) -> list[Confound]:
    """The test of each column that there is and that varies, by the permutations of the contrast itself."""
    found = []
    there = [([name] if name in metadata else columns_of(name, metadata)) for name in CANDIDATES]
    for column in [column for columns in there for column in columns]:
        if column in (contrast.column, contrast.within):
            continue
        if pd.api.types.is_numeric_dtype(metadata[column]):
            entry = _of_numbers(contrast, metadata, column, num=num, seed=seed)
        else:
            entry = _of_words(contrast, metadata, column, num=num, seed=seed)
        if entry is not None:
            found.append(entry)
    return found


def _of_numbers(contrast: Contrast, metadata: pd.DataFrame, column: str, *, num: int, seed: int) -> Confound | None:
    values_N1 = metadata[column].to_numpy(np.float64, na_value=np.nan)[:, None]
    p = float(contrast.test(values_N1, num=num, seed=seed).p_P[0])
    if not np.isfinite(p):
        return None
    means = (float(np.nanmean(own)) for own in contrast.means(values_N1))
    sides = ", ".join(f"{level} {mean:.3g}" for level, mean in zip(contrast.levels, means, strict=True))
    return Confound(column, p, f"{column} {_differs(p)} (means: {sides}; p = {p:.2g}).")


def _of_words(contrast: Contrast, metadata: pd.DataFrame, column: str, *, num: int, seed: int) -> Confound | None:
    """Of groups of people; what words differ within people is not asked."""
    if contrast.kind == "paired":
        return None
    words_N = np.array(texts(metadata[column]), dtype=object)
    words = [_word(words_N[rows]) for rows in (*contrast.first, *contrast.second)]
    known = [number for number, word in enumerate(words) if word]
    names, category_S = np.unique([words[number] for number in known], return_inverse=True)
    is_first_S = contrast.is_first_S[known]
    if not 2 <= len(names) <= MOST_CATEGORIES or is_first_S.all() or not is_first_S.any():
        return None
    p = category_p(category_S.astype(np.int64), is_first_S, num=num, seed=seed)
    if p is None:
        return None
    separate = _separated(category_S, is_first_S)
    apart = f"; no {column} has people of both groups" if separate else ""
    return Confound(column, p, f"{column} {_differs(p)} (p = {p:.2g}{apart}).")


def _word(words: np.ndarray) -> str:
    return "+".join(sorted({word for word in words if word}))


def _separated(category_S: np.ndarray, is_first_S: np.ndarray) -> bool:
    """Whether the category says which group somebody is in."""
    return not set(category_S[is_first_S]) & set(category_S[~is_first_S])


def _differs(p: float) -> str:
    return "differs between the two" if p < NOTEWORTHY else "is not shown to differ"
