"""The section about the recordings of a store that stand out: which, why, and what they look like.

How they are found is in ``brainlm.data.outliers``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from brainlm.data.outliers import THRESHOLD
from brainlm.report.blocks import Block, Cell, Picture, Section, Sentence, Table
from brainlm.report.carpet import carpet_panel, order_note
from brainlm.report.looked import Looked
from brainlm.report.outlier_figures import outlier_marks, outlier_panels
from brainlm.report.sentences import counted, number
from brainlm.report.store_figures import millimetres, share_text
from brainlm.report.store_tables import number_cell
from brainlm.report.style import Mark

MAX_LISTED = 40
CARPET_SEED = 0
MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "mean_fd": ("mean FD", millimetres),
    "tsnr": ("tSNR", lambda value: number(value, digits=0)),
    "coverage": ("coverage", share_text),
}


def outliers(looked: Looked) -> Section:
    """A chart, a list with reasons, and carpets."""
    found = looked.outliers
    blocks: list[Block] = [Sentence(_what_was_found(looked))]
    if np.isfinite(found.distance_z).any():
        blocks.append(
            Picture(outlier_panels(found, looked.short_names, looked.mean_fd), _caption(looked), key=_key(looked))
        )
    if len(found.flagged):
        blocks.append(_listed(looked))
    return Section("outliers", "What stands out", (*blocks, _carpets(looked)))


def _what_was_found(looked: Looked) -> str:
    found = looked.outliers
    num = len(found.flagged)
    if num:
        text = f"{counted(num, 'recording')} of {len(looked.metadata):,} {'stands' if num == 1 else 'stand'} out. "
        them = "it" if num == 1 else "them"
        text += f"That is a reason to look at {them}, not yet one to leave {them} out."
        return text if found.read.all() else f"{text} Only {int(found.read.sum()):,} were compared by connectivity."
    if not np.isfinite(found.spread_z).any():
        return "These are too few recordings to say what is usual: nothing is called an outlier."
    return "No recording stands out from the others, by its spread or by how its parcels go together."


def _key(looked: Looked) -> tuple[Mark, ...]:
    return tuple(
        Mark(f"{mark.label} ({int(chosen.sum()):,})", mark.colour, mark.marker)
        for mark, chosen in outlier_marks(looked.outliers)
        if chosen.any()
    )


def _caption(looked: Looked) -> str:
    found = looked.outliers
    num_read, num = int(found.read.sum()), len(looked.metadata)
    text = (
        "A dot a recording. Spread: median over parcels of its standard deviation over the cohort's. Distance: root "
        "mean squared difference of its correlation matrix to the mean of all, over what is usual at its length. "
        f"Dotted lines: a robust z-score of {THRESHOLD:g}."
    )
    if num_read < num:
        text += f" Correlations: of {num_read:,} recordings drawn at random (--max_read); spread: of all {num:,}."
    if found.num_parcels < looked.store.num_parcels:
        text += f" Correlations of {found.num_parcels:,} of the {looked.store.num_parcels:,} parcels."
    return text


def _listed(looked: Looked) -> Table:
    metadata, flagged = looked.metadata, looked.outliers.flagged
    keys = [name for name in ("session", "task", "run", "site") if looked.known(name).any()]
    measures = {name: entry for name, entry in MEASURES.items() if name in looked.measured}
    rows = []
    for index in flagged[:MAX_LISTED].tolist():
        row = metadata.iloc[index]
        cells = [Cell(str(row["subject"]), look="name"), Cell("; ".join(reasons(looked, index)), look="why")]
        cells += [Cell(str(row[name])) for name in keys]
        cells.append(number_cell(f"{row['num_timepoints']:,}"))
        cells += [number_cell("" if pd.isna(row[name]) else text(row[name])) for name, (_, text) in measures.items()]
        rows.append(tuple(cells))
    caption = "Recordings that stand out, the most conspicuous first."
    if len(flagged) > MAX_LISTED:
        caption += f" {len(flagged) - MAX_LISTED:,} more: find_outliers(store) of brainlm.data.outliers gives all."
    head = ("person", "why", *keys, "time points", *(title for title, _ in measures.values()))
    return Table(head, tuple(rows), caption, words=True)


def reasons(looked: Looked, index: int) -> list[str]:
    """Why a recording stands out, in words."""
    found = looked.outliers
    told = []
    if found.twin[index] >= 0:
        told.append(f"the same signal as {looked.names[found.twin[index]]}")
    if found.by_spread[index]:
        told.append(f"{_times(found.spread[index])} the cohort's spread")
    if found.by_connectivity[index]:
        told.append(f"correlations {_times(found.distance[index])} as far from the cohort's as usual")
    return told


def _times(ratio: float) -> str:
    if ratio < 0.1:
        return f"1/{1 / ratio:,.0f} of"
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def _carpets(looked: Looked) -> Picture:
    panels = [
        carpet_panel(
            looked.store.bold(index),
            float(looked.metadata["tr"].iloc[index]),
            looked.store.parcels,
            title=heading,
            note=_carpet_note(looked, index),
        )
        for index, heading in carpets_of(looked).items()
    ]
    caption = (
        f"Carpet plots: a row a parcel, {order_note(looked.store.parcels)}, z-scored over time, black −2 to white +2; "
        "ochre: no signal. Above: root mean square over parcels of the change from volume to volume, which leaps when "
        "a head moves. Stripes through all parcels are motion, breathing or the scanner rather than neurons."
    )
    return Picture(tuple(panels), caption, heading="What they look like")


def carpets_of(looked: Looked) -> dict[int, str]:
    """Positions of the recordings to show, and why: the worst, the worst of the other kind, and one at random."""
    found, num = looked.outliers, len(looked.metadata)
    by_spread, by_distance = np.nan_to_num(np.abs(found.spread_z)), np.nan_to_num(found.distance_z)
    rank, heading = np.fmax(by_spread, by_distance), "The farthest from the others"
    if not rank.any():
        moved = looked.mean_fd.fillna(0).to_numpy(np.float64) if looked.mean_fd is not None else np.zeros(num)
        rank, heading = moved, "The one with most motion" if moved.any() else "The first one"
    worst = int(np.argmax(rank))
    stands_out = found.by_spread | found.by_connectivity
    chosen = {worst: "The most conspicuous" if stands_out[worst] else heading}
    second = int(np.argmax(by_distance if by_spread[worst] >= by_distance[worst] else by_spread))
    if stands_out[second] and second != worst:
        chosen[second] = "Conspicuous in another way"
    others = np.setdiff1d(np.arange(num), [*chosen, *found.flagged])
    others = others if len(others) else np.setdiff1d(np.arange(num), list(chosen))
    if len(others):
        chosen[int(np.random.default_rng(CARPET_SEED).choice(others))] = "One drawn at random"
    return chosen


def _carpet_note(looked: Looked, index: int) -> str:
    row = looked.metadata.iloc[index]
    pieces = [looked.names[index], *reasons(looked, index)]
    pieces += [f"site {row['site']}"] if row["site"] else []
    if looked.mean_fd is not None and pd.notna(row["mean_fd"]):
        pieces.append(f"mean FD {millimetres(row['mean_fd'])}")
    return "; ".join(pieces)
