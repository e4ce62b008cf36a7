"""The tables of the studies: every method in every metric, all targets at a glance, sites, and what was run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from brainlm.evaluation.statistics import Interval
from brainlm.report.blocks import Block, Cell, Sentence, Table
from brainlm.report.facts import facts_table
from brainlm.report.phenotype_sites import sites_by_size
from brainlm.report.phenotype_study import GROUPS, Study, StudyMethod
from brainlm.report.phenotype_words import (
    DAGGER,
    has_interval,
    interval_note,
    metric_notes,
    metric_title,
    p_number,
    sample_size,
)
from brainlm.report.sentences import VERDICT_MARKS, bounds, duration, number


def methods(study: Study) -> Table:
    """One row a method: the main metric, its difference to the best baseline, then the other metrics and the time."""
    shown = [name for name in study.metrics if any(name in method.scores for method in study.methods)]
    main, others = study.main_metric, [name for name in shown if name != study.main_metric]
    has_times = any(math.isfinite(method.seconds) for method in study.methods)
    rows = []
    for place, method in enumerate(study.methods):
        is_first = place == 0 or study.methods[place - 1].group != method.group
        cells = [_name_cell(method, is_first=is_first), _score_cell(study, method, main)]
        cells += [_difference_cell(study, method), *(_score_cell(study, method, name) for name in others)]
        cells += [_time_cell(method)] if has_times else []
        rows.append(tuple(cells))
    units = f" ({study.name})"
    head = [metric_title(name) + units * (name == "mae") for name in (main, *others)]
    head = ["Method", head[0], "− best baseline", *head[1:], *(["Time"] if has_times else [])]
    notes = metric_notes([main, *others])
    caption = (
        f"Every method, n = {sample_size(study)}. {interval_note(study)}, in brackets. Underlined: the best baseline, "
        "which the third column subtracts, paired; “better” or “worse” only where that interval excludes 0, without "
        "correction for the number of methods."
    )
    caption += f" {notes}." if notes else ""
    if study.seen_methods:
        caption += f" {DAGGER} and red: people of the test folds were in the pretraining data."
    return Table(tuple(head), tuple(rows), caption)


def _name_cell(method: StudyMethod, *, is_first: bool) -> Cell:
    look = " ".join(
        ["method", *["first"] * is_first, *["seen"] * method.is_seen, *["model"] * (method.group == "model")]
    )
    group = GROUPS[method.group] if is_first else ""
    note = "; ".join(part for part in (group, method.note) if part)
    return Cell(method.name + f" {DAGGER}" * method.is_seen, note, look)


def _score_cell(study: Study, method: StudyMethod, metric: str) -> Cell:
    score = method.scores.get(metric)
    if score is None or not math.isfinite(score.value):
        return Cell("–", look="number")
    is_best = method.name == study.best_baseline and metric == study.main_metric
    looks = ["number", *["seen"] * method.is_seen, *["model"] * (method.name == study.main), *["best"] * is_best]
    return Cell(number(score.value, digits=_digits(score)), _bounds(score), " ".join(looks))


def _digits(score: Interval) -> int:
    # Errors in units may be large: 12.3 years, 0.123 of a score.
    return 3 if abs(score.value) < 10 else 2 if abs(score.value) < 100 else 1


def _bounds(score: Interval, *, sign: bool = False) -> str:
    return bounds(score, sign=sign) if has_interval(score) else ""


def _difference_cell(study: Study, method: StudyMethod) -> Cell:
    found = method.minus_best_baseline
    if method.name == study.best_baseline:
        return Cell("best baseline", look="number verdict")
    if found is None or not math.isfinite(found.value):
        return Cell("–", look="number verdict")
    verdict = found.verdict
    mark = "no interval" if verdict == "unknown" else VERDICT_MARKS[verdict]
    text = f"{number(found.value, sign=True)} {mark}"
    return Cell(text, _bounds(found, sign=True), f"number verdict {verdict}" + " seen" * method.is_seen)


def _time_cell(method: StudyMethod) -> Cell:
    return Cell(duration(method.seconds) if math.isfinite(method.seconds) else "–", look="number")


def overview(studies: Sequence[Study]) -> Table:
    """One row a study: how the main method does beside the best connectivity."""
    rows = []
    for study in studies:
        main, rival = study.method(study.main), study.method(study.best_connectivity)
        p = study.permutation
        rows.append(
            (
                Cell(study.name, f"{study.fold_name}, {metric_title(study.main_metric)}", "method"),
                # First, so that no scrolling is needed to see a loss.
                _verdict(study.difference if rival is not None else None),
                _compared(study, main),
                _compared(study, rival),
                _verdict(study.fusion_difference),
                Cell(
                    "–" if p is None else p_number(p.p),
                    "" if p is None or p.p_adjusted is None else f"adjusted {p_number(p.p_adjusted)}",
                    "number",
                ),
                Cell(sample_size(study), look="value"),
            )
        )
    head = ("Target", "Model − connectivity", "Model", "Best connectivity", "Both − connectivity", "p", "n")
    caption = (
        f"All targets. {studies[0].confidence_percent} intervals in brackets: bootstrap over subjects. Both: "
        "connectivity and the model stacked, which says what the model adds. p: shuffled labels; adjusted "
        "(Benjamini-Hochberg) over the targets studied in one call."
    )
    is_seen = any(method.is_seen for study in studies if (method := study.method(study.main)) is not None)
    caption += f" {DAGGER} and red: people of the test folds were in the pretraining data." * is_seen
    return Table(head, tuple(rows), caption, words=True)


def _compared(study: Study, method: StudyMethod | None) -> Cell:
    if method is None:
        return Cell("–", look="number")
    cell = _score_cell(study, method, study.main_metric)
    mark = f" {DAGGER}" * method.is_seen
    return Cell(cell.text + mark, cell.small, cell.look.replace(" best", ""))


def _verdict(difference: Interval | None) -> Cell:
    if difference is None or not math.isfinite(difference.value):
        return Cell("–", look="number verdict")
    text = f"{number(difference.value, sign=True)} {VERDICT_MARKS[difference.verdict]}"
    return Cell(text, _bounds(difference, sign=True), f"number verdict {difference.verdict}")


def sites(study: Study, names: Sequence[str]) -> Table:
    """The numbers behind the dots of the sites; the sites of all other methods are in results.json."""
    found = {name: {row.site: row for row in method.by_site} for name in names if (method := study.method(name))}
    rows = []
    for site, num in sites_by_size(study):
        scores = [found[name].get(site) for name in found]
        cells = [
            Cell("–", look="number")
            if row is None or not math.isfinite(row.score.value)
            else Cell(number(row.score.value), _bounds(row.score), "number")
            for row in scores
        ]
        rows.append((Cell(site, look="label"), Cell(f"{num:,}", look="number"), *cells))
    caption = (
        f"{metric_title(study.main_metric)} by {study.divided_by}, with its {study.confidence_percent} "
        "interval. Those of the other methods are in results.json."
    )
    return Table((study.divided_by, "n", *found), tuple(rows), caption, folded=True)


def facts(study: Study) -> list[Block]:
    """What was run and what the analysis says of itself, as a folded table; nothing where nothing is known."""
    blocks: list[Block] = [Sentence(" ".join(note.rstrip(".") + "." for note in study.notes))] if study.notes else []
    table = facts_table(study.facts, f"What was run for {study.name}, {study.fold_name}.")
    return blocks + ([table] if table is not None else [])
