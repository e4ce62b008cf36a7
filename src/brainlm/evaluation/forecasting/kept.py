"""Scores on disk: one file a method and cohort, taken for it only if made of the same model, data and settings."""

from __future__ import annotations

import json
import logging
import re
import zipfile
from pathlib import Path

import numpy as np

from brainlm.atomic import disk_errors, replacing
from brainlm.evaluation.forecasting.residuals import ResidualBand
from brainlm.evaluation.forecasting.scoring import ForecastScores

logger = logging.getLogger(__name__)


def scores_path(folder: Path, cohort: str, method: str) -> Path:
    """Where the scores of a method are kept."""
    return folder / "scores" / f"{_slug(cohort)}.{_slug(method)}.npz"


def save_scores(path: Path, scores: ForecastScores, *, key: str) -> None:
    """Write the file, in one step.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    said = {name: getattr(scores, name) for name in ("name", "group", "tuned", "seconds", "window_ms")}
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez_compressed(
                file,
                key=np.array(key),
                said=np.array(json.dumps(said)),
                by_subject_SHK=scores.by_subject_SHK,
                by_parcel_PK=scores.by_parcel_PK,
                low_H=scores.band.low_H,
                high_H=scores.band.high_H,
                held_H=scores.held_H,
                examples_EPH=scores.examples_EPH,
            )


def load_scores(path: Path, *, key: str) -> ForecastScores | None:
    """What is kept under this key; None where there is nothing, something else, or a damaged file."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            return ForecastScores(
                **json.loads(str(file["said"])),
                by_subject_SHK=file["by_subject_SHK"],
                by_parcel_PK=file["by_parcel_PK"],
                band=ResidualBand(file["low_H"], file["high_H"]),
                held_H=file["held_H"],
                examples_EPH=file["examples_EPH"],
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        logger.warning("%s is damaged and computed again: %s", path, error)
        return None


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
