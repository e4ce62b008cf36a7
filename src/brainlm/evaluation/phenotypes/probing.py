"""One target from evidence to verdict: predictions of every row, the permutation test, the site, the result's files.

A study is a folder ``<target>.<folds>``; fine-tuning adds its row to the same folder (``finetuning.py``).
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brainlm.atomic import write_text
from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.adjusting import Adjustment
from brainlm.evaluation.phenotypes.blocks import vector_blocks
from brainlm.evaluation.phenotypes.evidence import Evidence, RowRule, Rows
from brainlm.evaluation.phenotypes.folds import FoldRule, group_codes, make_folds
from brainlm.evaluation.phenotypes.grouping import grouped_folds
from brainlm.evaluation.phenotypes.judging import judge, score_sites
from brainlm.evaluation.phenotypes.manifest import check_manifest, write_manifest
from brainlm.evaluation.phenotypes.methods import NOTHING, BlockMethod, coordinates_of
from brainlm.evaluation.phenotypes.permuting import NullScores, blocks_of, null_scores
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.problem import InnerFolds, Problem, Transform
from brainlm.evaluation.phenotypes.running import Listener, Study, kept_rows, predict_all
from brainlm.evaluation.phenotypes.score_table import prediction_table, write_table
from brainlm.evaluation.phenotypes.scores import Scoring, fold_codes
from brainlm.evaluation.phenotypes.targets import Cohort, Kind, read_cohort
from brainlm.files import csv_text, read_cache, write_arrays, write_json
from brainlm.inference.features import Pooling

STUDIES, FOLDS_FILE, RESULTS_FILE, TABLE_FILE = "phenotypes", "folds.json", "results.json", "table.csv"
PREDICTIONS_FILE = "predictions.csv"
NULL_FILE = "permutations.npz"
SITE_FOLDS = 5
PERMUTED_INNER_FOLDS = 3  # in which the strength is chosen for each permutation, and for the observed score beside them
FEWEST_OF_A_SITE = 10  # people, for a site to take part in the test of how well it is told from others


logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class JudgingRule:
    """How sure one wants to be: permutations, resamples of people, and the seed of both."""

    permutations: int = 200
    num_bootstrap: int = 1000
    seed: int = 0
    jobs: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """A study's folder and the content of its ``results.json``."""

    folder: Path
    results: dict[str, Any]


def open_study(
    store: Store,
    cohort: Cohort,
    rule: FoldRule,
    results: Path,
    *,
    transform: Transform = "none",
    adjustment: Adjustment = NOTHING,
) -> tuple[Study, Path]:
    """The study of a target and its folder below ``results``, with the folds written there, or found there unchanged.

    What is done to the target or taken off the features is part of the folder's name: it is another study.

    Raises:
        ConfigError: the folds cannot be made, or the folder has others.
    """
    folds = make_folds(cohort, rule)
    problem = Problem.from_cohort(cohort, seed=rule.seed, transform=transform, groups_N=group_codes(cohort, rule.group))
    folder = results / STUDIES / _folder_name(cohort.target.name, rule, transform, adjustment)
    manifest = folder / FOLDS_FILE
    if manifest.exists():
        check_manifest(manifest, cohort, folds)
    else:
        write_manifest(manifest, cohort, folds, rule)
    return Study(store, cohort, rule, folds, problem), folder


def _folder_name(target: str, rule: FoldRule, transform: Transform, adjustment: Adjustment) -> str:
    parts = [target, rule.name]
    parts += ["log"] if transform == "log" else []
    parts += ["without-" + "-".join(adjustment.confounds)] if adjustment.confounds else []
    parts += [f"harmonised-{adjustment.harmonise}"] if adjustment.harmonise else []
    return re.sub(r"[^\w.+-]+", "_", ".".join(parts))


def probe(
    evidence: Evidence,
    study: Study,
    folder: Path,
    *,
    rows: RowRule,
    judging: JudgingRule,
    facts: Callable[[], Mapping[str, Any]],
    on_progress: Listener | None = None,
) -> Verdict:
    """Predict, judge and write one target.

    Args:
        evidence: of the study's store.
        study, folder: as ``open_study`` gives them.
        rows: which methods.
        judging: permutations and intervals.
        facts: for the record; asked for in the end, so that the time it took is known.
        on_progress: called with folds done, folds in all, and the method that comes.
    """
    found = evidence.rows(study.cohort, rows)
    predictions = predict_all(found.methods, study, folder, jobs=judging.jobs, on_progress=on_progress)
    null = None
    if judging.permutations:
        try:
            null = permuted(found.main, study, folder, judging)
        except ConfigError as error:  # too few people in every block; the other statistics stand all the same
            logger.warning("%s: no permutation test: %s", study.cohort.target.name, error)
    site = site_prediction(evidence, rows.poolings[0], found.main, study, folder, judging)
    return _judged(study, folder, predictions, found, null, site, judging, facts())


def _judged(
    study: Study,
    folder: Path,
    predictions: Sequence[Predictions],
    rows: Rows,
    null: NullScores | None,
    site: Mapping[str, Any] | None,
    judging: JudgingRule,
    facts: Mapping[str, Any],
) -> Verdict:
    methods = [*predictions, *kept_rows(folder, study, but=predictions)]
    results = judge(
        study.cohort,
        study.rule,
        study.folds,
        methods,
        main=rows.main.name,
        fusion_over=rows.fusion_over,
        untrained=rows.untrained,
        null=None if null is None else null.null_T,
        observed=None if null is None else null.observed,
        blocks=_blocks_in_words(study),
        site_prediction=site,
        num_bootstrap=judging.num_bootstrap,
        seed=judging.seed,
        facts=facts,
    )
    verdict = Verdict(folder, results)
    write_verdict(verdict)
    table = prediction_table(study.cohort, study.folds, methods)
    write_text(folder / PREDICTIONS_FILE, csv_text(table))
    return verdict


def write_verdict(verdict: Verdict) -> None:
    """Write ``results.json`` and ``table.csv``."""
    write_json(verdict.folder / RESULTS_FILE, verdict.results)
    write_table(verdict.results, verdict.folder / TABLE_FILE)


def permuted(main: BlockMethod, study: Study, folder: Path, judging: JudgingRule) -> NullScores:
    """The main row's score with labels that belong to others of the same site; kept, and not computed twice.

    The first repeat of the folds is enough for a test, and a fifth of the work of five.
    """
    path = folder / NULL_FILE
    key = f"{study.key} {main.name} {main.settings} {judging.permutations} {judging.seed} {_blocks_in_words(study)}"
    found = read_cache(path, key)
    if found is not None:
        return NullScores(found.facts["observed"], found.arrays["null"], found.facts["num_fixed"])
    null = _permuted(main, study, judging)
    write_arrays(path, {"null": null.null_T}, key=key, facts={"observed": null.observed, "num_fixed": null.num_fixed})
    return null


def _permuted(main: BlockMethod, study: Study, judging: JudgingRule) -> NullScores:
    folds = [fold for fold in study.folds if fold.repeat == 0]
    scoring = Scoring.of(study.cohort, folds, group=study.rule.group)

    return null_scores(
        (coordinates_of(main.block, study, fold, main.adjustment) for fold in folds),
        study.problem,
        folds,
        _blocks(study),
        num=judging.permutations,
        seed=judging.seed,
        statistic=scoring.statistic,
        inner=_inner_of_labels,
        estimator=main.estimator,
        jobs=judging.jobs,
        within_N=study.cohort.subjects_N if _changes_within_people(study.cohort) else None,
    )


def _inner_of_labels(problem: Problem, train_M: np.ndarray) -> InnerFolds:
    """Stratified by the labels at hand, not by the true ones; nothing of the study goes to another process."""
    return grouped_folds(
        problem.values_N[train_M],
        problem.groups_N[train_M],
        kind=problem.kind,
        num_folds=PERMUTED_INNER_FOLDS,
        seed=problem.seed,
    )


def _changes_within_people(cohort: Cohort) -> bool:
    """Whether somebody has several labels, as with a task's condition."""
    labels = pd.Series(cohort.target.values_N).groupby(cohort.subjects_N).nunique()
    return bool((labels > 1).any())


def _blocks(study: Study) -> np.ndarray:
    """Within what labels may move: the site, and the fold where folds were stratified by the label."""
    codes = [np.unique(study.cohort.table["site"].fillna("").astype(str), return_inverse=True)[1]]
    if study.rule.kind == "k-fold" and study.rule.stratify:
        codes.append(fold_codes([fold for fold in study.folds if fold.repeat == 0], len(study.cohort))[0])
    return blocks_of(*codes)


def _blocks_in_words(study: Study) -> str:
    if _changes_within_people(study.cohort):
        return "within people"
    sites = study.cohort.table["site"].nunique() > 1
    folds = study.rule.kind == "k-fold" and study.rule.stratify
    return "within " + " and ".join(["site"] * sites + ["test fold"] * folds) if sites or folds else "among all"


def site_prediction(
    evidence: Evidence, pooling: Pooling, main: BlockMethod, study: Study, folder: Path, judging: JudgingRule
) -> dict[str, Any] | None:
    """How well the main row's vectors tell where somebody was scanned; None without two sites of ten people."""
    site_of = study.cohort.table["site"].fillna("").astype(str)
    counts = site_of[site_of != ""].value_counts()
    sites = sorted(str(site) for site in counts.index[counts >= FEWEST_OF_A_SITE])
    if len(sites) < 2 or study.cohort.target.name == "site":
        return None
    positions = np.concatenate(study.cohort.recordings)
    store = study.store.take(positions)
    kind: Kind = "binary" if len(sites) == 2 else "multiclass"
    cohort = read_cohort(store, "site", kind=kind, level=study.cohort.level, classes=sites)
    rule = FoldRule("k-fold", num_folds=SITE_FOLDS, seed=study.rule.seed, group=study.rule.group)
    try:
        folds = make_folds(cohort, rule)
    except ConfigError:
        return None  # families or sites too few for folds of their own: nothing is claimed then
    problem = Problem.from_cohort(cohort, seed=rule.seed, groups_N=group_codes(cohort, rule.group))
    of_sites = Study(store, cohort, rule, folds, problem)
    vectors = {pooling: evidence.vectors[pooling][positions]}
    block = vector_blocks("Site", "model", vectors, cohort, identity=main.block.identity)[pooling]
    method = BlockMethod(block, "linear", cohort.target.kind)
    predictions = predict_all([method], of_sites, folder / "site")[0]
    return score_sites(cohort, folds, predictions, num_bootstrap=judging.num_bootstrap, seed=judging.seed)
