"""The sections about training, examples, parcels, embeddings and attention, from the parts of the run.

A part that is missing becomes a sentence. The words around the blocks that never change are in ``run_page.html``; the
scores beside the baselines are in ``score_sections.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from brainlm.report import embedding_figures, figures, parcel_charts
from brainlm.report.blocks import Block, Picture, Section, Sentence
from brainlm.report.brain_maps import Brain, picture
from brainlm.report.embedding import choose_column, project, shares
from brainlm.report.run_folder import RunFolder
from brainlm.report.score_sections import sample
from brainlm.report.sentences import counted, dominance, number
from brainlm.report.style import HIDDEN, INK, MODEL, MUTED, Mark

MAX_EXAMPLES = 4


def training(run: RunFolder) -> Section:
    """Training curves."""
    blocks: tuple[Block, ...] = (Sentence(run.missing("log"), missing=True),)
    if run.log is not None:
        panels = figures.training_panels(run.log)
        blocks = (Sentence("The log holds no rows yet: training was stopped before its first one.", missing=True),)
        if panels:
            caption = (
                "Training curves. Loss: mean squared error over hidden values, in scaled units. Validation uses the "
                "same windows and masks every time, of subjects the weights are never fitted on."
            )
            if run.log.kept_steps is not None:
                caption += f" Dotted line: the weights in this folder, after {counted(run.log.kept_steps, 'step')}."
            blocks = (Picture(panels, caption),)
    return Section("training", "Training", blocks)


def examples(run: RunFolder, marks: Mapping[str, Mark]) -> Section:
    """Signal, hidden part and prediction of a few parcels."""
    if run.examples is None:
        return Section("examples", "Reconstruction, by example", (Sentence(run.missing("examples"), missing=True),))
    num_parcels = run.examples.signal.shape[1]
    names = (
        [str(name) for name in run.parcels.table["name"]]
        if run.parcels is not None
        else [f"parcel {index + 1}" for index in range(num_parcels)]
    )
    rows = figures.example_rows(run.examples, names, marks, max_rows=MAX_EXAMPLES)
    blocks: list[Block] = [
        Sentence(
            "The first kept window of each condition, in the order of the file, not chosen by how well it went. In "
            "each, parcels are ranked by the model's R² over their hidden points in this window; shown are those at "
            f"the 90th, 50th and 10th percentile, on one vertical scale. {len(rows)} of "
            f"{counted(len(run.examples.names), 'kept window')} shown."
        )
    ]
    model = next((mark for mark in marks.values() if mark.marker == "o"), Mark("model", MODEL, "o"))
    for row in rows:
        key = [Mark("signal", INK, "line"), Mark("hidden from the methods", HIDDEN, "band")]
        key.append(Mark(model.label, model.colour, "line"))
        if row.baseline is not None:
            key.append(Mark(row.baseline, marks[row.baseline].colour if row.baseline in marks else MUTED, "line"))
        caption = f"{row.heading}, {row.condition}. Scaled units; predictions are drawn where the signal was hidden."
        blocks.append(Picture(row.panels, caption, heading=row.condition, key=tuple(key)))
    if not rows:
        blocks.append(Sentence("No window has a parcel with enough hidden points to be ranked.", missing=True))
    return Section("examples", "Reconstruction, by example", tuple(blocks))


def parcels(run: RunFolder, brain: Brain | None) -> Section:
    """R2 of every parcel, and where the model is ahead of or behind the best baseline."""
    title = "Where in the brain"
    evaluation = run.evaluation
    condition = evaluation.headline if evaluation is not None else None
    if evaluation is None or condition is None or condition.model is None or condition.model.r2_per_parcel is None:
        return Section("parcels", title, (Sentence(run.missing("evaluation"), missing=True),))
    values = condition.model.r2_per_parcel
    if not np.isfinite(values).any():
        return Section("parcels", title, (Sentence("No parcel has an R²: none had hidden values with variance."),))
    num_below, num_known = int((values < 0).sum()), int(np.isfinite(values).sum())
    about = (
        f"R² of {condition.model.name} per parcel, {condition.label}, pooled over {sample(evaluation)}: median "
        f"{number(float(np.nanmedian(values)))}, {num_below or 'none'} of {counted(num_known, 'parcel')} below 0."
    )
    blocks = [*_no_brain(run, brain), picture(run.parcels, brain, values, parcel_charts.r2_scale(values), about)]
    rival = condition.baseline.r2_per_parcel if condition.baseline is not None else None
    if rival is not None and condition.best_baseline is not None and np.isfinite(values - rival).any():
        blocks.append(_lead_map(run, brain, values - rival, condition.best_baseline))
    return Section("parcels", title, tuple(blocks))


def _lead_map(run: RunFolder, brain: Brain | None, lead: np.ndarray, baseline: str) -> Picture:
    num_behind, num_known = int((lead < 0).sum()), int(np.isfinite(lead).sum())
    about = (
        f"The same minus R² of {baseline}, the best baseline here: the model is behind in {num_behind} of "
        f"{counted(num_known, 'parcel')} (no intervals at this level)."
    )
    scale = parcel_charts.difference_scale(lead)
    return picture(run.parcels, brain, lead, scale, about, drawn_as_above=True)


def _no_brain(run: RunFolder, brain: Brain | None) -> list[Block]:
    if brain is not None:
        return []
    if run.parcels is None:
        return [Sentence(run.missing("parcels"), missing=True)]
    text = "There is no map of the brain: parcels.tsv lacks MNI coordinates and atlas.nii.gz is not in the run folder."
    return [Sentence(text, missing=True)]


def embedding_map(run: RunFolder, colour_by: str | None) -> Section:
    """PCA of the CLS vectors coloured by a phenotype, beside subjects, and what accounts for their variance."""
    title = "Embeddings"
    if run.embeddings is None:
        return Section("embeddings", title, (Sentence(run.missing("embeddings"), missing=True),))
    metadata = run.embeddings.metadata
    column = choose_column(metadata, colour_by)
    if len(metadata) < 3:
        return Section(
            "embeddings", title, (Sentence("Fewer than three recordings: too few for a map.", missing=True),)
        )
    projection = project(run.embeddings.cls)
    panels = [embedding_figures.column_panel(projection, metadata[column], column)] if column is not None else []
    if "subject" in metadata and metadata["subject"].nunique() < len(metadata):
        panels.append(embedding_figures.subject_panel(projection, metadata["subject"]))
    elif "site" in metadata and metadata["site"].nunique() > 1 and column != "site":
        panels.append(embedding_figures.column_panel(projection, metadata["site"], "site"))
    found = shares(run.embeddings, column)
    panels += [embedding_figures.share_panel(found, column)] if found else []
    if not panels:
        text = "No column of the metadata has levels to colour by. Add phenotypes to the store to see them here."
        return Section("embeddings", title, (Sentence(text, missing=True),))
    blocks: list[Block] = [Sentence(dominance(found, column))] if found else []
    blocks.append(Picture(tuple(panels), _embedding_caption(run, metadata)))
    return Section("embeddings", title, tuple(blocks))


def _embedding_caption(run: RunFolder, metadata: pd.DataFrame) -> str:
    assert run.embeddings is not None
    text = f"CLS embeddings of {counted(len(metadata), 'recording')}"
    if "subject" in metadata:
        text += f" of {counted(metadata['subject'].nunique(), 'subject')}"
    if "split" in metadata:
        splits = metadata["split"].value_counts()
        text += f" ({', '.join(f'{count:,} {name}' for name, count in splits.items())})"
    if "store" in metadata.attrs:
        text += f", from {metadata.attrs['store']}"
    text += (
        ": principal components of the centred, unscaled vectors, fitted on all of them. Share: between-group over "
        "total sum of squares in all dimensions (for a quantity, R² of a straight line). By chance: the mean under "
        "random relabelling, of whole subjects where a column is constant within subjects. Shares of different columns "
        "overlap."
    )
    if run.embeddings.num_left_out:
        text += f" {counted(run.embeddings.num_left_out, 'recording')} with non-finite vectors left out."
    return text


def _embedded(run: RunFolder) -> str:
    # The same verb writes both files, from the same recordings.
    if run.embeddings is None:
        return "recordings"
    return counted(len(run.embeddings.metadata) + run.embeddings.num_left_out, "recording")


def attention(run: RunFolder, brain: Brain | None) -> Section:
    """Mean attention of the CLS token on the brain, against what equal attention would be."""
    title = "Attention of the CLS token"
    if run.attention is None:
        return Section("attention", title, (Sentence(run.missing("attention"), missing=True),))
    ratio = run.attention.cls / run.attention.uniform
    values = np.log2(np.where(ratio > 0, ratio, np.nan))
    if not np.isfinite(values).any():
        return Section("attention", title, (Sentence("No parcel has attention above 0."),))
    about = (
        f"Mean CLS attention per parcel over {_embedded(run)}, as a multiple of the uniform level 1/{len(ratio)}: from "
        f"{np.nanmin(ratio):.2f}× to {np.nanmax(ratio):.2f}×. Attention says where the model looks, not what it needs."
    )
    blocks = _no_brain(run, brain)
    blocks.append(picture(run.parcels, brain, values, parcel_charts.attention_scale(values), about))
    return Section("attention", title, tuple(blocks))
