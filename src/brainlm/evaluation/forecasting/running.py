"""A forecast study from fitted methods to files: score every method on every cohort, keep it, judge, write.

Scores that are there with the same key (model, data, settings) are not made again, so that a killed job goes on. Who
takes part is in ``entrants.py``, what is said of it in ``judging.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from brainlm.atomic import write_text
from brainlm.baselines.forecaster import Forecaster, NetworkForecaster
from brainlm.evaluation.forecasting.band import band_limit
from brainlm.evaluation.forecasting.ceiling import linear_ceiling
from brainlm.evaluation.forecasting.conclusion import conclude
from brainlm.evaluation.forecasting.examples import example_windows
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows
from brainlm.evaluation.forecasting.judging import JudgedCohort, band_entry, judge_cohort, table_rows
from brainlm.evaluation.forecasting.kept import load_scores, save_scores, scores_path
from brainlm.evaluation.forecasting.residuals import residual_band
from brainlm.evaluation.forecasting.scoring import ForecastScores, score
from brainlm.evaluation.plain_json import plain
from brainlm.evaluation.reconstruction import BootstrapSettings
from brainlm.evaluation.statistics import few_subjects_note
from brainlm.files import csv_text, write_json

FORMAT_VERSION = 1
PROCEDURE = 1  # part of every key: a change of what is computed makes old scores strangers
RESULTS_FILE, TABLE_FILE = "results.json", "table.csv"

NOTES = (
    "R2, MSE, MAE and r are of scaled values; R2 is about the mean of the forecast values of all people and never "
    "clipped.",
    "The centre that scaling takes off is that of the context alone, for every method alike.",
    "The best baseline is the one with the highest R2 on these very windows. Chance has favoured it, so differences to "
    "it are, if anything, too hard on the model.",
    "Intervals draw the judged people anew and keep the forecasts: they say how much a number would change with other "
    "people of this kind, not with other people to train on. p is from flipping the signs of people's differences.",
)

Listener = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Entrant:
    """A method that takes part, made only if its scores are not there.

    Args:
        slug: names its file.
        identity: all that its forecasts depend on beside the windows.
        make: the fitted method.
    """

    slug: str
    identity: str
    make: Callable[[], Forecaster]


@dataclass(frozen=True, eq=False)
class CohortWindows:
    """A name, and the windows of some people who nobody was trained on."""

    name: str
    windows: JudgedWindows
    tr_remark: str = ""


def network_identity(network: NetworkForecaster) -> str:
    """A hash of a network's numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def score_cohorts(
    entrants: Sequence[Entrant],
    cohorts: Sequence[CohortWindows],
    validation: JudgedWindows,
    folder: Path,
    *,
    scaling: str,
    on_progress: Listener | None = None,
) -> list[JudgedCohort]:
    """Every method on every cohort, each kept as soon as it is there.

    Args:
        entrants: in the order of the table.
        cohorts: the first is the main one.
        validation: windows that bands come from.
        folder: the study's; scores are kept below it.
        scaling: identity of the weights and the scaler, part of every key.
        on_progress: called with batches done, batches in all, and the method.
    """
    total = len(entrants) * sum(cohort.windows.num_batches for cohort in cohorts)
    done = 0
    scores: dict[str, list[ForecastScores]] = {cohort.name: [] for cohort in cohorts}
    for entrant in entrants:
        for cohort in cohorts:
            key = _key(entrant, cohort.windows, validation, scaling)
            path = scores_path(folder, cohort.name, entrant.slug)
            found = load_scores(path, key=key)
            if found is None:
                found = _scored(entrant.make(), cohort.windows, validation, _telling(on_progress, done, total, entrant))
                save_scores(path, found, key=key)
            scores[cohort.name].append(found)
            done += cohort.windows.num_batches
            _telling(on_progress, done, total, entrant)(0)
    return [
        JudgedCohort(
            name=cohort.name,
            windows=cohort.windows,
            scores=tuple(scores[cohort.name]),
            ceiling=linear_ceiling(cohort.windows),
            band=band_limit(cohort.windows.windows.store),
            tr_remark=cohort.tr_remark,
        )
        for cohort in cohorts
    ]


def _telling(on_progress: Listener | None, before: int, total: int, entrant: Entrant) -> Callable[[int], None]:
    def tell(batches: int) -> None:
        if on_progress is not None:
            on_progress(before + batches, total, entrant.slug)

    return tell


def _scored(
    forecaster: Forecaster, windows: JudgedWindows, validation: JudgedWindows, tell: Callable[[int], None]
) -> ForecastScores:
    band = residual_band(forecaster, validation)
    return score(forecaster, windows, band, example_windows(windows), on_batch=tell)


def _key(entrant: Entrant, windows: JudgedWindows, validation: JudgedWindows, scaling: str) -> str:
    parts: list[Any] = [PROCEDURE, entrant.slug, entrant.identity, scaling]
    for one in (windows, validation):
        parts += [one.windows.store.fingerprint, one.windows.context, one.windows.horizon]
        parts += [one.fixed.recording.tolist(), one.fixed.start.tolist()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def study_results(
    cohorts: Sequence[JudgedCohort],
    *,
    bootstrap: BootstrapSettings,
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    tuning: str,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of ``results.json``.

    Args:
        cohorts: the first is the main one.
        bootstrap: how intervals are made.
        settings, facts: copied; see the page on forecasting.
        tuning: what budget the methods had that were trained, in words.
        remarks: sentences for the notes.
    """
    first = cohorts[0].windows
    results = {
        "format_version": FORMAT_VERSION,
        "kind": "forecast",
        "context": first.windows.context,
        "horizon": first.windows.horizon,
        "tr_s": first.tr_s,
        "settings": {
            "num_bootstrap": bootstrap.num_bootstrap,
            "confidence": bootstrap.confidence,
            "seed": bootstrap.seed,
            **settings,
        },
        "facts": dict(facts),
        "tuning": tuning,
        "bands": [band_entry(cohort) for cohort in cohorts],
        "cohorts": [judge_cohort(cohort, bootstrap) for cohort in cohorts],
        "notes": [*NOTES, *remarks, *(note for cohort in cohorts for note in _notes(cohort))],
    }
    content: dict[str, Any] = plain(results)
    return content | {"conclusion": conclude(content)}


def _notes(cohort: JudgedCohort) -> list[str]:
    found = [cohort.tr_remark] if cohort.tr_remark else []
    too_short = len(cohort.windows.windows.excluded)
    if too_short:
        found.append(f"{too_short} recordings of {cohort.name} are too short for a window, and are left out.")
    return found + [f"{cohort.name}: {note}" for note in few_subjects_note(len(cohort.main.by_subject_SHK))]


def write_study(folder: Path, results: Mapping[str, Any]) -> None:
    """``table.csv``, then ``results.json``, which is there only if all is.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    write_text(folder / TABLE_FILE, csv_text(pd.DataFrame(table_rows(dict(results)))))
    write_json(folder / RESULTS_FILE, results)
