"""Scores on disk: one file a method and cohort, taken for it only if made of the same model, data and settings."""

from __future__ import annotations

import re
from pathlib import Path

from brainlm.evaluation.forecasting.residuals import ResidualBand
from brainlm.evaluation.forecasting.scoring import ForecastScores
from brainlm.files import read_cache, write_arrays

_FACTS = ("name", "group", "tuned", "seconds", "window_ms")
_ARRAYS = ("by_subject_SHK", "by_parcel_PK", "held_H", "examples_EPH")


def scores_path(folder: Path, cohort: str, method: str) -> Path:
    """Where the scores of a method are kept."""
    return folder / "scores" / f"{_slug(cohort)}.{_slug(method)}.npz"


def save_scores(path: Path, scores: ForecastScores, *, key: str) -> None:
    """Write the file, in one step.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    facts = {name: getattr(scores, name) for name in _FACTS}
    arrays = {name: getattr(scores, name) for name in _ARRAYS}
    write_arrays(path, {**arrays, "low_H": scores.band.low_H, "high_H": scores.band.high_H}, key=key, facts=facts)


def load_scores(path: Path, *, key: str) -> ForecastScores | None:
    """What is kept under this key; None where there is nothing, something else, or a damaged file."""
    found = read_cache(path, key)
    if found is None:
        return None
    band = ResidualBand(found.arrays.pop("low_H"), found.arrays.pop("high_H"))
    return ForecastScores(**found.facts, **found.arrays, band=band)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
