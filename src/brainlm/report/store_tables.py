"""What a store's page tells in tables: counts by column, inputs left out, phenotypes, and how the store came about."""

from __future__ import annotations

import pandas as pd

from brainlm.data.exclusions import ReasonGroup, group_reasons
from brainlm.data.splits import SPLITS
from brainlm.report.blocks import Block, Cell, Section, Sentence, Table
from brainlm.report.looked import Looked
from brainlm.report.sentences import counted, joined
from brainlm.report.store_figures import share_text

COUNTED = {"split": "split", "site": "site", "task": "task", "session": "session", "run": "run",
           "tr": "repetition time"}  # fmt: skip
MAX_VALUES = 15  # of a column; the rarer ones are summed up
MAX_ROWS = 12  # longer tables open on a click
MAX_REASONS, MAX_EXCLUSIONS, MAX_PHENOTYPES = 25, 200, 100


def number_cell(text: str) -> Cell:
    """A cell of a column of numbers."""
    return Cell(text, look="number")


def counts_table(looked: Looked) -> Table:
    """Recordings, people, share and hours for each value of the columns that tell recordings apart."""
    columns = [column for column in COUNTED if looked.known(column).any()]
    rows = tuple(row for column in columns for row in _count_rows(looked, column))
    caption = f"Recordings in numbers, by {joined([COUNTED[column] for column in columns])}."
    return Table(("by", "", "recordings", "people", "share", "hours"), rows, caption, len(rows) > MAX_ROWS, words=True)


def _count_rows(looked: Looked, column: str) -> list[tuple[Cell, ...]]:
    frame = looked.metadata[[column, "subject"]].assign(minutes=looked.minutes)[looked.known(column)]
    found = frame.groupby(column).agg(
        recordings=("subject", "size"), people=("subject", "nunique"), minutes=("minutes", "sum")
    )
    if column == "split":
        found = found.reindex([*(s for s in SPLITS if s in found.index), *sorted(set(found.index) - set(SPLITS))])
    if len(found) > MAX_VALUES:
        found = found.sort_values("recordings", ascending=False, kind="stable")
    rows = [(f"{value:g} s" if column == "tr" else str(value), *row) for value, *row in found.itertuples()]
    if len(rows) > MAX_VALUES:
        others = frame[~frame[column].isin(found.index[:MAX_VALUES])]
        name = counted(len(rows) - MAX_VALUES, "other")
        rows[MAX_VALUES:] = [(name, len(others), others["subject"].nunique(), others["minutes"].sum())]
    return [
        (
            Cell(COUNTED[column], look="name first") if place == 0 else Cell(""),
            Cell(name, look="value"),
            number_cell(f"{int(recordings):,}"),
            number_cell(f"{int(people):,}"),
            number_cell(share_text(recordings / len(looked.metadata))),
            number_cell(f"{minutes / 60:,.1f}"),
        )
        for place, (name, recordings, people, minutes) in enumerate(rows)
    ]


def left_out(looked: Looked) -> Section:
    """The inputs that did not become recordings, by reason."""
    exclusions = looked.store.manifest.exclusions
    title = "What was left out"
    if not exclusions:
        return Section("excluded", title, (Sentence("No input was left out when the store was made."),))
    groups = group_reasons(exclusions)
    text = f"{counted(len(exclusions), 'input')} did not become a recording, for {counted(len(groups), 'reason')}."
    blocks: list[Block] = [Sentence(text), _by_reason(groups)]
    if len(exclusions) > len(groups):
        rows = tuple(
            (Cell(entry["source"], look="path"), Cell(entry["reason"], look="why"))
            for entry in exclusions[:MAX_EXCLUSIONS]
        )
        caption = "Each input left out, as manifest.json of the store lists them"
        caption += f" (the first {MAX_EXCLUSIONS} of {len(exclusions):,})." if len(exclusions) > MAX_EXCLUSIONS else "."
        blocks.append(Table(("input", "reason"), rows, caption, folded=True, words=True))
    return Section("excluded", title, tuple(blocks))


def _by_reason(groups: tuple[ReasonGroup, ...]) -> Table:
    rows = tuple(
        (
            Cell(group.reason, look="why"),
            number_cell(f"{group.num_inputs:,}"),
            Cell(group.remedy, look="why"),
            Cell(group.examples, look="path"),
        )
        for group in groups[:MAX_REASONS]
    )
    caption = "Inputs left out, by reason; “…” stands for what differs between them."
    caption += f" {len(groups) - MAX_REASONS:,} rarer reasons are not shown." if len(groups) > MAX_REASONS else ""
    return Table(("reason", "inputs", "remedy", "which"), rows, caption, words=True)


def people(looked: Looked) -> Section:
    """The phenotypes, and how many recordings have them."""
    title = "What is known of the people"
    tables = {table.title: table.frame for table in looked.inspection.tables}
    if "phenotypes" not in tables:
        text = "The store holds no phenotypes. A participants table brings them in when a store is made."
        return Section("people", title, (Sentence(text),))
    frame = tables["phenotypes"]
    shown = frame.head(MAX_PHENOTYPES)
    rows = tuple(
        (
            Cell(name, look="name"),
            number_cell(f"{present:,}"),
            number_cell(share_text(present / len(looked.metadata))),
            Cell(values, look="why"),
        )
        for name, present, values in zip(shown["phenotype"], shown["present"], shown["values"], strict=True)
    )
    caption = "Phenotypes, counted by recording."
    caption += f" {len(frame) - len(shown):,} more are not shown." if len(frame) > len(shown) else ""
    table = Table(("phenotype", "known", "share", "values"), rows, caption, len(rows) > 2 * MAX_ROWS, words=True)
    return Section("people", title, (table,))


def origin(looked: Looked) -> Section:
    """What the manifest says."""
    frame: pd.DataFrame = looked.inspection.table("store")
    rows = tuple((Cell(entry, look="name"), Cell(value, look="why")) for entry, value in frame.to_numpy().tolist())
    table = Table(("entry", "value"), rows, "What manifest.json says of the store.", words=True)
    return Section("origin", "How it came about", (table,))
