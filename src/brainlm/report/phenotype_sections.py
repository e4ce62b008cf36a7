"""The sections about clinical variables: one a study, and before several of them one table over all.

The charts are in ``phenotype_forest.py``, ``phenotype_figures.py`` and ``phenotype_sites.py``, tables in
``phenotype_tables.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from brainlm.report import phenotype_figures, phenotype_forest, phenotype_sites, phenotype_tables
from brainlm.report.blocks import Block, Picture, Section, Sentence
from brainlm.report.facts import with_store
from brainlm.report.phenotype_file import STUDIES
from brainlm.report.phenotype_study import Study
from brainlm.report.phenotype_words import (
    DAGGER,
    about_folds,
    about_seen,
    about_target,
    interval_note,
    metric_title,
    sample_size,
    unit_noun,
)
from brainlm.report.run_folder import RunFolder
from brainlm.report.sentences import joined, number

ANCHOR, TITLE = "phenotypes", "Clinical variables"
LEAST_GAP = 0.0005  # of two scores that read the same in a table


def sections(run: RunFolder) -> tuple[Section, ...]:
    """One section a study, after an overview where there are several; without any, how to make one."""
    unfinished = tuple(_unfinished(run.unfinished_studies))
    if not run.studies:
        file, remedy = STUDIES
        absent = Sentence(f"{file} is not in the run folder: {remedy}.", missing=True)
        return (Section(ANCHOR, TITLE, (absent, *unfinished)),)
    studied = [
        with_store(study_section(study, f"study_{place}"), run, study.facts)
        for place, study in enumerate(run.studies, start=1)
    ]
    if len(run.studies) > 1 or unfinished:
        return (Section(ANCHOR, TITLE, (*_overview(run.studies), *unfinished)), *studied)
    return tuple(studied)


def _unfinished(folders: Sequence[str]) -> list[Sentence]:
    if not folders:
        return []
    names = joined([f"`phenotypes/{name}`" for name in folders])
    text = f"{names} was begun and has no results yet: the same command again goes on where it stopped."
    return [Sentence(text, missing=True)]


def _overview(studies: Sequence[Study]) -> tuple[Block, ...]:
    return (phenotype_tables.overview(studies),)


def study_section(study: Study, anchor: str) -> Section:
    """The conclusion, whom it is about, then figures and tables."""
    blocks: list[Block] = [Sentence(study.conclusion or "The results hold no conclusion.", conclusion=True)]
    warning = about_seen(study)
    blocks += [Sentence(warning, warning=True)] if warning else []
    blocks += [Sentence(f"{about_target(study)} {about_folds(study)}".strip())]
    if not study.methods:
        return Section(anchor, _title(study), (*blocks, Sentence("The results hold no methods.", missing=True)))
    blocks += [_forest(study), phenotype_tables.methods(study)]
    blocks += [*_predicted(study), *_curves(study), *_sites(study), *_chance(study)]
    blocks += phenotype_tables.facts(study)
    return Section(anchor, _title(study), tuple(blocks))


def _title(study: Study) -> str:
    return f"Predicting {study.name}, {study.fold_name}"


def _forest(study: Study) -> Picture:
    caption = (
        f"Every method on the same test folds, n = {sample_size(study)}; the best of each kind comes first. "
        f"{interval_note(study)}. Differences are paired: method and baseline on the same resamples of people. An "
        "arrow is a method off the axis."
    )
    caption += f" {DAGGER} and red: people of the test folds were in its pretraining data." * bool(study.seen_methods)
    return Picture(phenotype_forest.forest_panels(study), caption)


def _predicted(study: Study) -> list[Block]:
    panels = phenotype_figures.predicted_panels(study)
    caption = (
        f"Predicted {study.name} of each {unit_noun(study)} when it was in the test fold (mean over "
        "repeats), in original units, against the true one. Dotted: perfect prediction; line: the mean of all. A cloud "
        "flatter than the dotted line is regression to the mean."
    )
    return [Picture(panels, caption)] if panels else []


def _curves(study: Study) -> list[Block]:
    panels, key = phenotype_figures.curve_panels(study)
    about = "" if study.kind == "binary" else " One class against the others, averaged over classes."
    caption = (
        f"n = {sample_size(study)}.{about} ROC: mean of the curves of the test folds, so its area is the AUROC of the "
        "table. Precision, recall and calibration: all test folds together. No intervals at this level."
    )
    return [Picture(panels, caption, key=key)] if panels else []


def _sites(study: Study) -> list[Block]:
    panels, key = phenotype_sites.site_panels(study)
    caption = (
        f"{metric_title(study.main_metric)} within each {study.divided_by}, the largest first. "
        f"{interval_note(study)}. None is drawn where there are too few people or only one class. Small groups scatter "
        "by chance alone."
    )
    if not panels:
        return []
    return [Picture(panels, caption, key=key), phenotype_tables.sites(study, phenotype_sites.site_methods(study))]


def _chance(study: Study) -> list[Block]:
    found, blocks = [], ""
    if study.permutation is not None:
        found.append(phenotype_figures.permutation_panel(study, study.permutation))
        blocks = f" {study.permutation.blocks}" if study.permutation.blocks else ""
    if study.site_prediction is not None:
        found.append(phenotype_figures.site_prediction_panel(study.site_prediction))
    panels = tuple(panel for panel in found if panel is not None)
    pieces = []
    if study.permutation is not None:
        pieces.append(
            f"The whole procedure of {study.main} repeated on labels shuffled{blocks} "
            f"({study.permutation.num:,} times): what it reaches where there is nothing to find. p is the share of "
            "shuffles that do as well, the true labels counted in."
        )
        pieces += [_shorter(study)] if _shorter(study) else []
    if study.site_prediction is not None:
        pieces.append(
            "An embedding that tells the site well can predict a target by recognising where people were scanned, if "
            "the target differs between sites."
        )
    return [Picture(panels, " ".join(pieces))] if panels else []


def _shorter(study: Study) -> str:
    """Shuffling may use a shorter procedure than the table, on the true labels too."""
    main, found = study.method(study.main), study.permutation
    reached = main.scores.get(study.main_metric) if main is not None else None
    if found is None or reached is None or not abs(reached.value - found.observed) > LEAST_GAP:
        return ""
    return (
        f"To be affordable it is a shorter procedure, used on the true labels too: {number(found.observed)} instead of "
        f"{number(reached.value)} in the table."
    )
