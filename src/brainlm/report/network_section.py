"""The sections about functional networks: one a column of labels, which features tell them and where they fail.

The charts are in ``network_figures.py``, the words in ``network_words.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from brainlm.evaluation.statistics import Interval
from brainlm.report import network_figures, network_words
from brainlm.report.blocks import Block, Cell, Picture, Section, Sentence, Table
from brainlm.report.brain_maps import Brain, picture
from brainlm.report.facts import facts_table, with_store
from brainlm.report.network_file import NETWORK_STUDIES
from brainlm.report.network_study import CLUSTERING, GROUPS, SCORES, NetworkMethod, NetworkStudy
from brainlm.report.parcel_charts import share_scale
from brainlm.report.phenotype_words import has_interval, p_number
from brainlm.report.run_folder import RunFolder
from brainlm.report.sentences import VERDICT_MARKS, bounds, duration, number, percent

ANCHOR, TITLE = "networks", "Functional networks"


def sections(run: RunFolder, brain: Brain | None) -> tuple[Section, ...]:
    """One section a column of labels; without any, how to make one."""
    if not run.network_studies:
        file, remedy = NETWORK_STUDIES
        absent = Sentence(f"{file} is not in the run folder: {remedy}.", missing=True)
        return (Section(ANCHOR, TITLE, (absent,)),)
    return tuple(
        with_store(study_section(run, brain, study, f"networks_{place}"), run, study.facts)
        for place, study in enumerate(run.network_studies, start=1)
    )


def study_section(run: RunFolder, brain: Brain | None, study: NetworkStudy, anchor: str) -> Section:
    """The conclusion, what the labels are, scores, clusters, confusions, maps, then the numbers."""
    blocks: list[Block] = [
        Sentence(study.conclusion or "The results hold no conclusion.", conclusion=True),
        Sentence(network_words.about(study)),
    ]
    title = f"{TITLE}: {study.labels}"
    if not study.methods:
        return Section(anchor, title, (*blocks, Sentence("The results hold no methods.", missing=True)))
    blocks += [*_scores(study), *_clusters(study), *_confusions(study), *_maps(run, brain, study)]
    blocks += [_table(study), *_facts(study)]
    return Section(anchor, title, tuple(blocks))


def _scores(study: NetworkStudy) -> list[Block]:
    panels = network_figures.score_panels(study)
    null = network_words.about_null(study)
    blocks: list[Block] = [Sentence(null)] if null else []
    if panels:
        caption = (
            "Which network does a parcel belong to? Every kind of feature with the same classifier on the same folds "
            f"over parcels. {network_words.interval_note(study)}. Differences are paired, on the same resamples of "
            "parcels. An arrow is a method off the axis."
        )
        blocks.append(Picture(panels, caption, key=network_figures.KEY))
    return blocks


def _clusters(study: NetworkStudy) -> list[Block]:
    panels = network_figures.clustering_panels(study)
    caption = (
        f"Without labels: parcels clustered by each kind of feature into {len(study.networks)} clusters, as many as "
        "there are networks, and compared with them. 1 is the same grouping."
    )
    return [Picture(panels, caption)] if panels else []


def shown_methods(study: NetworkStudy) -> tuple[str, ...]:
    """The main features, the best baseline, and the model's best features where those are others."""
    of_model = [m for m in study.methods if m.group == "model" and "accuracy" in m.scores]
    best = max(of_model, key=lambda m: np.nan_to_num(m.scores["accuracy"].value, nan=-1.0), default=None)
    found = (study.main, study.best_baseline, best.name if best is not None else None)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def _confusions(study: NetworkStudy) -> list[Block]:
    panels = network_figures.confusion_panels(study, shown_methods(study))
    caption = (
        "What the parcels of each network are taken for, in per cent of them (a row sums to 100), mean over repeats. "
        "On the diagonal they are right."
    )
    return [Picture(panels, caption)] if panels else []


def _maps(run: RunFolder, brain: Brain | None, study: NetworkStudy) -> list[Block]:
    """Where the main features and the best baseline are right."""
    blocks: list[Block] = []
    scale = share_scale("share of repeats placed right", "Teal: always right, brown: always wrong.")
    for name in (study.main, study.best_baseline):
        values = study.share_right.get(name or "")
        if name is None or values is None or not np.isfinite(values).any():
            continue
        known = values[np.isfinite(values)]
        about = (
            f"Parcels by {name}: {int((known == 1).sum())} of {len(known)} are placed right in every repeat, "
            f"{int((known == 0).sum())} in none."
        )
        about += " Uncoloured: no label." * (len(known) < len(values))
        drawn = picture(
            run.parcels,
            brain,
            values,
            scale,
            about,
            scale_note="",
            networks=study.labels,
            drawn_as_above=bool(blocks),
        )
        blocks.append(drawn)
    return blocks


def _table(study: NetworkStudy) -> Table:
    has_null = any(method.null is not None for method in study.methods)
    has_times = any(math.isfinite(method.seconds) for method in study.methods)
    rows = []
    for place, method in enumerate(study.methods):
        is_first = place == 0 or study.methods[place - 1].group != method.group
        cells = [_name(method, is_first=is_first), _score(study, method, method.scores.get("accuracy"))]
        cells += [_difference(study, method), _score(study, method, method.scores.get("balanced_accuracy"))]
        cells += [_score(study, method, method.by_subjects.get("accuracy"), is_range=True)]
        cells += [_score(study, method, method.clustering.get(name)) for name in CLUSTERING]
        cells += [_null(method)] if has_null else []
        cells.append(Cell(method.k or "–", method.metric, "number"))
        time = duration(method.seconds) if math.isfinite(method.seconds) else "–"
        cells += [Cell(time, look="number")] if has_times else []
        rows.append(tuple(cells))
    head = ["Features", SCORES["accuracy"], "− best baseline", SCORES["balanced_accuracy"], "Accuracy over subjects"]
    head += ["ARI", "NMI", *(["Surrogates: p"] if has_null else []), "k, metric", *(["Time"] if has_times else [])]
    caption = (
        f"Every kind of feature; {network_words.interval_note(study)}. Underlined: the best baseline, which the third "
        "column subtracts, paired; “better” or “worse” only where that interval excludes 0, without correction for "
        "the number of methods. k and metric: those chosen most often. ARI, NMI: clusters made without labels."
    )
    return Table(tuple(head), tuple(rows), caption)


def _name(method: NetworkMethod, *, is_first: bool) -> Cell:
    looks = ["method", *["first"] * is_first, *["model"] * (method.group == "model")]
    return Cell(method.name, GROUPS[method.group] if is_first else "", " ".join(looks))


def _score(study: NetworkStudy, method: NetworkMethod, score: Interval | None, *, is_range: bool = False) -> Cell:
    if score is None or not math.isfinite(score.value):
        return Cell("–", look="number")
    if is_range:
        return Cell(bounds(score) if has_interval(score) else "–", look="number")
    is_best = method.name == study.best_baseline and score is method.scores.get("accuracy")
    looks = ["number", *["model"] * (method.name == study.main), *["best"] * is_best]
    return Cell(number(score.value), bounds(score) if has_interval(score) else "", " ".join(looks))


def _difference(study: NetworkStudy, method: NetworkMethod) -> Cell:
    found = method.minus_best_baseline
    if method.name == study.best_baseline:
        return Cell("best baseline", look="number verdict")
    if found is None or not math.isfinite(found.value):
        return Cell("–", look="number verdict")
    mark = "no interval" if found.verdict == "unknown" else VERDICT_MARKS[found.verdict]
    small = bounds(found, sign=True) if has_interval(found) else ""
    return Cell(f"{number(found.value, sign=True)} {mark}", small, f"number verdict {found.verdict}")


def _null(method: NetworkMethod) -> Cell:
    null = method.null
    if null is None or not math.isfinite(null.p_accuracy):
        return Cell("–", look="number")
    return Cell(p_number(null.p_accuracy), f"mean {percent(null.mean_accuracy)}", "number")


def _facts(study: NetworkStudy) -> Sequence[Block]:
    notes = " ".join(note.rstrip(".") + "." for note in study.notes)
    blocks: list[Block] = [Sentence(notes)] if notes else []
    table = facts_table({**study.facts, **study.settings}, f"What was run for networks/{study.folder}.")
    return [*blocks, *([table] if table is not None else [])]
