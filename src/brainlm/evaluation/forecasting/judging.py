"""Who forecasts best, by how much, and how sure that is: from sums to the content of ``results.json``.

Nothing is fitted or forecast here. What follows from the numbers is said in ``conclusion.py``.

Shapes: S subjects, H time points of the horizon.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainlm.evaluation.forecasting.band import BandLimit
from brainlm.evaluation.forecasting.ceiling import Ceiling
from brainlm.evaluation.forecasting.examples import examples
from brainlm.evaluation.forecasting.judged_windows import JudgedWindows
from brainlm.evaluation.forecasting.residuals import NOMINAL
from brainlm.evaluation.forecasting.scoring import ForecastScores
from brainlm.evaluation.metrics import Term, mae, mse, pearson_r, r2, r2_difference
from brainlm.evaluation.reconstruction import BootstrapSettings
from brainlm.evaluation.statistics import Interval, SubjectBootstrap

BASELINE_GROUPS = ("simple", "linear", "neural", "scratch")
OVERALL = {"r2": r2, "mse": mse, "mae": mae, "r": pearson_r}
BY_STEP = {"r2": r2, "mse": mse, "r": pearson_r}


@dataclass(frozen=True, eq=False)
class JudgedCohort:
    """All methods on the same windows of some people.

    Args:
        name: such as ``test``.
        windows: that were judged.
        scores: of every method, in the order of the table.
        ceiling, band: of these recordings.
        tr_remark: a sentence where their repetition times are none the model was trained on; empty otherwise.
    """

    name: str
    windows: JudgedWindows
    scores: tuple[ForecastScores, ...]
    ceiling: Ceiling
    band: BandLimit
    tr_remark: str = ""

    @property
    def store_name(self) -> str:
        """Of the store, without its folder."""
        return self.windows.windows.store.path.name.removesuffix(".store")

    @property
    def main(self) -> ForecastScores:
        """The method that the question is about: the fine-tuned model if there is one, else the model as it is."""
        models = [one for one in self.scores if one.is_model]
        return max(models, key=lambda one: one.group == "finetuned")

    @property
    def best_baseline(self) -> ForecastScores | None:
        """The baseline with the highest R2 on these windows."""
        known = [one for one in self.scores if one.group in BASELINE_GROUPS and np.isfinite(_overall_r2(one))]
        return max(known, key=_overall_r2, default=None)


def judge_cohort(cohort: JudgedCohort, settings: BootstrapSettings) -> dict[str, Any]:
    """One entry of ``"cohorts"``: scores with intervals over subjects, comparisons, examples."""
    resamples = SubjectBootstrap.draw(
        len(cohort.main.by_subject_SHK),
        num_bootstrap=settings.num_bootstrap,
        seed=settings.seed,
        confidence=settings.confidence,
    )
    contest = _Contest(resamples, settings.seed)
    main, best = cohort.main, cohort.best_baseline
    lead = None if best is None else contest.between(main, best)
    return {
        "name": cohort.name,
        "store": cohort.store_name,
        "num_subjects": len(main.by_subject_SHK),
        "num_recordings": len(np.unique(cohort.windows.fixed.recording)),
        "num_windows": len(cohort.windows),
        "num_values": int(main.by_subject_SHK[:, :, Term.COUNT].sum()),
        "num_too_short": len(cohort.windows.windows.excluded),
        "tr_s": cohort.windows.tr_s,
        "ceiling": {
            "r2_by_step": cohort.ceiling.r2_H,
            "r2": cohort.ceiling.r2,
            "assumption": cohort.ceiling.assumption,
        },
        "methods": [_method(one, best, contest) for one in cohort.scores],
        "main": main.name,
        "best_baseline": None if best is None else best.name,
        "difference": None if lead is None else lead.as_dict(),
        "p_paired": None if lead is None else lead.p,
        "comparisons": _comparisons(cohort, contest),
        "examples": examples(cohort.windows, cohort.scores, main),
    }


def band_entry(cohort: JudgedCohort) -> dict[str, Any]:
    """One entry of ``"bands"``."""
    return {"cohort": cohort.name, **dataclasses.asdict(cohort.band), "sentence": cohort.band.sentence}


@dataclass(frozen=True, eq=False)
class _Contest:
    """Intervals and differences, all on the same resamples and signs."""

    resamples: SubjectBootstrap
    seed: int

    def between(self, one: ForecastScores, other: ForecastScores) -> Interval:
        return r2_difference(one.by_subject, other.by_subject, self.resamples, seed=self.seed)


def _method(scores: ForecastScores, best: ForecastScores | None, contest: _Contest) -> dict[str, Any]:
    """One entry of ``"methods"``."""
    lead = None if best is None or best is scores else contest.between(scores, best)
    count_H = scores.by_subject_SHK[:, :, Term.COUNT].sum(axis=0)
    per_subject_S = r2(scores.by_subject)
    return {
        "name": scores.name,
        "group": scores.group,
        "tuned": scores.tuned,
        "seconds": scores.seconds,
        "window_ms": round(scores.window_ms, 3),
        "scores": {
            name: contest.resamples.interval(scores.by_subject, metric).as_dict() for name, metric in OVERALL.items()
        },
        "by_step": {
            name: [
                contest.resamples.interval(scores.by_subject_SHK[:, step], metric).as_dict()
                for step in range(len(count_H))
            ]
            for name, metric in BY_STEP.items()
        },
        "r2_per_parcel": r2(scores.by_parcel_PK),
        "r2_per_subject": np.sort(per_subject_S[np.isfinite(per_subject_S)]),
        "minus_best_baseline": None if lead is None else lead.as_dict(),
        "p_paired": None if lead is None else lead.p,
        "coverage": {
            "nominal": NOMINAL,
            "by_step": scores.held_H / count_H,
            "overall": float(scores.held_H.sum() / count_H.sum()),
        },
    }


def _comparisons(cohort: JudgedCohort, contest: _Contest) -> list[dict[str, Any]]:
    """What fine-tuning and pretraining are worth, where their rows are there."""
    first = {one.group: one for one in reversed(cohort.scores)}
    pairs = [("finetuned", "model"), ("finetuned", "scratch"), ("model", "simple")]
    found = []
    for group, other in pairs:
        if group in first and other in first:
            against = max((one for one in cohort.scores if one.group == other), key=_overall_r2)
            lead = contest.between(first[group], against)
            found.append(
                {"name": first[group].name, "other": against.name, "difference": lead.as_dict(), "p_paired": lead.p}
            )
    return found


def _overall_r2(scores: ForecastScores) -> float:
    return float(r2(scores.by_subject.sum(axis=0)))


def table_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of ``table.csv``: one a cohort and method."""
    rows = []
    for cohort in results["cohorts"]:
        for method in cohort["methods"]:
            row = {"cohort": cohort["name"], "method": method["name"], "group": method["group"]}
            for name, interval in [*method["scores"].items(), ("minus_best_baseline", method["minus_best_baseline"])]:
                limits = interval or {"value": None, "low": None, "high": None}
                row |= {name: limits["value"], f"{name}_low": limits["low"], f"{name}_high": limits["high"]}
            rows.append(
                row
                | {
                    "p_paired": method["p_paired"],
                    "coverage": method["coverage"]["overall"],
                    "seconds": method["seconds"],
                    "window_ms": method["window_ms"],
                    "tuned": method["tuned"],
                }
            )
    return rows
