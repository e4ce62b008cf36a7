"""The sections of a store's page with charts: what is in it, coverage, motion. What stands out is in
``outlier_section.py``, what is told in tables alone in ``store_tables.py``.

The words that never change are in ``store_page.html``.
"""

from __future__ import annotations

import numpy as np

from brainlm.report import store_figures as figures
from brainlm.report.blocks import Block, Cell, Picture, Section, Sentence, Table
from brainlm.report.brain_maps import Brain, picture
from brainlm.report.looked import Looked
from brainlm.report.sentences import counted, number
from brainlm.report.store_tables import counts_table, number_cell
from brainlm.report.style import Panel

MAX_PARCELS = 12  # with the least coverage, listed
HIGH_FD_MM = 0.5  # a usual limit for motion (Power et al. 2012, NeuroImage 59: 2142-2154)
CHARTED = {"site": "By site", "task": "By task", "session": "By session", "tr": "By repetition time"}


def contents(looked: Looked) -> Section:
    """How many recordings with each value of each column, and how long they are."""
    metadata = looked.metadata
    charted = [column for column in CHARTED if metadata.loc[looked.known(column), column].nunique() > 1]
    panels = [
        figures.bars_panel(metadata, column, title=CHARTED[column], unit=" s" if column == "tr" else "")
        for column in charted
    ]
    panels = panels or [figures.bars_panel(metadata, "split", title="By split")]
    panels.append(
        figures.histogram_panel(looked.minutes, title="Length", label="minutes", text=lambda value: f"{value:.1f} min")
    )
    per_person = metadata.groupby("subject").size()
    if per_person.max() > per_person.min():
        title, label = "Recordings of one person", "recordings"
        panels.append(
            figures.histogram_panel(per_person, title=title, label=label, text=lambda v: f"{v:g}", of="people")
        )
    points = metadata["num_timepoints"]
    low, middle, high = points.min(), points.median(), points.max()
    span = f"{low:,} time points each" if low == high else f"{low:,} to {high:,} time points, median {middle:,.0f}"
    each = f"; {per_person.max():,} of each person" if per_person.max() == per_person.min() > 1 else ""
    key = figures.split_key(metadata) if charted else ()
    drawn = Picture(tuple(panels), f"Recordings, and how long they are: {span}{each}.", key=key)
    return Section("contents", "What is in it", (drawn, counts_table(looked)))


def coverage(looked: Looked, brain: Brain | None) -> Section:
    """The share of each parcel that the recordings have seen, on the brain, and the parcels that lack most."""
    found, parcels = looked.inspection.coverage, looked.store.parcels
    if found.share.min() == 1 and not found.num_incomplete:
        text = f"All {len(parcels):,} parcels have signal in all recordings."
        return Section("coverage", "Coverage", (Sentence(text),))
    label = "Coverage" if found.num_measured else "Recordings with signal"
    blocks: list[Block] = [Sentence(_coverage_text(looked))]
    if brain is None:
        text = "There is no map of the brain: the store's parcels.tsv lacks coordinates."
        blocks.append(Sentence(text, missing=True))
    scale = figures.coverage_scale(found.share, label)
    blocks.append(picture(parcels, brain, found.share, scale, _coverage_caption(looked), scale_note=""))
    return Section("coverage", "Coverage", (*blocks, _worst_parcels(looked)))


def _coverage_text(looked: Looked) -> str:
    found = looked.inspection.coverage
    num_parcels = int((found.num_without_signal > 0).sum())
    if not num_parcels:
        return "Every parcel has signal in every recording, if not in all of its voxels."
    lacking = "lacks" if num_parcels == 1 else "lack"
    recordings = counted(found.num_incomplete, "recording")
    return (
        f"{counted(num_parcels, 'parcel')} of {looked.store.num_parcels:,} {lacking} signal in some recording; "
        f"{recordings} of {len(looked.metadata):,} {'lacks' if found.num_incomplete == 1 else 'lack'} some parcel. "
        "Such a parcel is marked as not valid, never filled in."
    )


def _coverage_caption(looked: Looked) -> str:
    found, num = looked.inspection.coverage, len(looked.metadata)
    about = (
        f"Coverage of each parcel: the share of its voxels in the atlas that have signal, mean over "
        f"{counted(found.num_measured, 'recording')}."
        if found.num_measured
        else f"Share of the {counted(num, 'recording')} in which each parcel has signal. (How much of each parcel was "
        "seen is not known of this store: “brainlm parcellate” measures it.)"
    )
    median = figures.share_text(float(np.median(found.share)))
    return f"{about} The lowest is {figures.share_text(float(found.share.min()))}, the median {median}."


def _worst_parcels(looked: Looked) -> Table:
    found, table = looked.inspection.coverage, looked.store.parcels.table
    worst = np.lexsort((-found.num_without_signal, found.share))
    worst = worst[found.share[worst] < 1][:MAX_PARCELS]
    rows = tuple(
        (
            Cell(str(table["name"].iloc[p]), look="name"),
            number_cell(str(table["label"].iloc[p])),
            number_cell(figures.share_text(float(found.share[p]))),
            number_cell(f"{found.num_without_signal[p]:,}"),
        )
        for p in worst
    )
    least, title = ("coverage", "coverage") if found.num_measured else ("signal", "recordings with signal")
    caption = f"The {counted(len(rows), 'parcel')} with the least {least}."
    return Table(("parcel", "label", title, "recordings without"), rows, caption, words=True)


def motion(looked: Looked) -> Section:
    """Framewise displacement, censored volumes, signal to noise and coverage of the recordings, where any is known."""
    title = "Motion and signal"
    if not looked.measured:
        text = (
            "How much people moved is not known of this store: `brainlm parcellate` reads it from confounds and motion "
            "files. A column `mean_fd` (mm) of a participants table is shown here, too."
        )
        return Section("motion", title, (Sentence(text, missing=True),))
    drawn = Picture(tuple(_motion_panels(looked)), "How good the scans were. Vertical lines: medians.")
    return Section("motion", title, (*_motion_text(looked), drawn))


def _motion_panels(looked: Looked) -> list[Panel]:
    metadata = looked.metadata
    charts = {
        "mean_fd": ("Mean framewise displacement", "mm", figures.millimetres),
        "max_fd": ("Largest framewise displacement", "mm", figures.millimetres),
        "tsnr": ("Temporal signal to noise", "median over parcels", lambda value: number(value, digits=0)),
        "coverage": ("Coverage", "%, mean over parcels", lambda value: figures.share_text(value / 100)),
    }
    panels = [
        figures.histogram_panel(
            metadata[name] * (100 if name == "coverage" else 1), title=heading, label=label, text=text
        )
        for name, (heading, label, text) in charts.items()
        if name in looked.measured
    ]
    if {"num_censored", "num_volumes"} <= set(looked.measured) and metadata["num_censored"].max() > 0:
        share = 100 * metadata["num_censored"] / metadata["num_volumes"]
        title, label = "Volumes left out for motion", "% of the scan"
        panels.append(figures.histogram_panel(share, title=title, label=label, text=lambda value: f"{value:.0f} %"))
    if looked.mean_fd is not None and len(looked.sites) > 1:
        panels.append(figures.site_panel(looked.mean_fd, metadata["site"], "mean FD", "mm", figures.millimetres))
    return panels


def _motion_text(looked: Looked) -> tuple[Sentence, ...]:
    if looked.mean_fd is None:
        return ()
    known = looked.mean_fd.dropna()
    num_high = int((known > HIGH_FD_MM).sum())
    text = f"Half of the recordings have a mean framewise displacement below {figures.millimetres(known.median())}; "
    text += f"{num_high or 'none'} of {len(known):,} {'is' if num_high == 1 else 'are'} above {HIGH_FD_MM:g} mm."
    if "num_censored" in looked.measured and looked.metadata["num_censored"].max() > 0:
        text += f" {counted(int(looked.metadata['num_censored'].sum()), 'volume')} were left out for motion."
    return (Sentence(text),)
