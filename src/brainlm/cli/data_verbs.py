"""``brainlm import`` and ``brainlm inspect``."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from brainlm.atomic import check_writable
from brainlm.cli.console import next_command, progress_bar, say, show_failures, show_table, step
from brainlm.cli.main import DONE, SOME_FAILED
from brainlm.cli.next_steps import after_store
from brainlm.data.atlas import Atlas
from brainlm.data.importing import import_recordings as import_tables
from brainlm.data.importing import recognise_atlas
from brainlm.data.inspecting import inspect_store
from brainlm.data.outliers import MAX_READ
from brainlm.data.parcels import Parcels
from brainlm.data.people import PeopleRules
from brainlm.data.planned import ImportSummary
from brainlm.data.shipped_atlases import NAMES, canonical
from brainlm.data.sources import abide, demo
from brainlm.data.sources.coordinates import holds_coordinates, read_coordinates
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.report.sentences import counted


def import_recordings(
    source: str,
    store: Path,
    *,
    atlas: str | None = None,
    parcels: Path | None = None,
    participants: list[str] = [],
    id_column: str | None = None,
    missing: list[str] = [],
    value_labels: list[str] = [],
    tr: float | None = None,
    pattern: str | None = None,
    orientation: Literal["auto", "time-first", "parcels-first"] = "auto",
    drop_columns: list[str] = [],
    ignore_header: bool = False,
    header: Literal["auto", "first-line", "none"] = "auto",
    index: Literal["auto", "first-column", "none"] = "auto",
    column: str | None = None,
    targets: list[str] = [],
    dtype: Literal["float32", "float16"] = "float32",
    split: SplitRule | None = None,
    packed: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Read parcel time series and write them as a store, divided by subject into train, validation and test.

    Args:
        source: a folder, a file or a pattern such as 'data/*.tsv' (.tsv .csv .1D .dat .txt .npy
            .npz .mat, or Arrow data of the BrainLM authors or of Brainmarks); or 'demo' or 'abide'.
        store: the store to write.
        atlas: name (A424, CC200, schaefer:400:7, schaefer:400:7+aseg, ...) or path of the atlas that the columns are
            parcels of; 'auto' proposes those that fit, and takes one only if all its names are those of the columns.
        parcels: its parcels.tsv, where there is no atlas image; or the BrainLM authors' coordinates.
        participants: table with a row a participant, or a session; its columns become phenotypes; repeat it for
            several.
        id_column: the column of the participants table with the subjects, such as SUB_ID; known names are found.
        missing: values of that table that mean missing, such as -9999,n/a, or age:-1 for one column; none if what
            looks like such a code is a value.
        value_labels: names for codes, such as DX_GROUP:1=autism,2=control; repeat it for other columns.
        tr: repetition time in seconds, where neither the participants table nor JSON sidecars say it.
        pattern: regular expression with named groups (subject, session, task, run, site) for names that are not BIDS.
        orientation: which axis comes first, where the number of parcels does not tell.
        drop_columns: columns that are no parcels, by name, such as --drop_columns time.
        ignore_header: trust the order of the parcels whatever the tables call them.
        header: whether the first line of tables names columns, where that is not certain.
        index: whether the first column of tables names or counts rows, where that is not certain.
        column: the column of Arrow data with the recordings, when not the raw one.
        targets: JSON files of values by subject, or their folder, that become phenotypes of Arrow data; those in
            'targets' beside a data set of Brainmarks are found.
        dtype: type of the stored signals.
        split: how subjects are divided; some sources have a rule of their own, used when nothing is given.
        packed: for 'abide': a folder with a packed copy, instead of the download.
        overwrite: replace a store that is there.
    """
    check_writable(store)
    rules = PeopleRules.parse(id_column, missing, value_labels)
    step(f"importing {source} -> {store}")
    with progress_bar("recordings") as bar:
        if source == "demo":
            summary = demo.import_demo(store, split=split, dtype=dtype, overwrite=overwrite, progress=bar.update)
        elif source == "abide":
            rule = abide.SPLIT if split is None else split
            summary = abide.import_abide(
                store,
                packed=packed,
                participants=participants,
                people_rules=rules,
                split=rule,
                dtype=dtype,
                overwrite=overwrite,
                progress=bar.update,
            )
        else:
            chosen = _atlas(atlas, parcels, source, drop_columns)
            summary = import_tables(
                [source],
                store,
                parcels=chosen.parcels,
                atlas=chosen.name,
                participants=participants,
                people_rules=rules,
                tr=tr,
                pattern=pattern,
                split=split,
                dtype=dtype,
                orientation=orientation,
                drop_columns=drop_columns,
                ignore_header=ignore_header,
                header=header,
                index=index,
                column=column,
                targets=targets,
                atlas_image=chosen.image,
                overwrite=overwrite,
                progress=bar.update,
            )
    return _report_import(summary)


def _atlas(atlas: str | None, parcels: Path | None, source: str, drop_columns: Sequence[str]) -> Atlas:
    if atlas is None and parcels is None:
        raise ConfigError(
            "which parcels the columns are is not said",
            expected="--atlas NAME_OR_PATH or --parcels parcels.tsv",
            found="neither",
            remedy="for example --atlas A424; --atlas auto proposes those that fit; --parcels takes a parcels.tsv with "
            "the columns label and name, or the coordinates that come with the BrainLM authors' data",
        )
    if atlas is not None and atlas.lower() == "auto":
        return _recognised(source, None if parcels is None else _table(parcels).parcels, len(drop_columns))
    if atlas is None and parcels is not None:
        return _table(parcels)
    found = Atlas.load(str(atlas), table=parcels, needs_image=False)
    if found.image is None and canonical(str(atlas)) is not None:
        say(f"parcels: the table of {found.name} that comes with the package; the store gets no label image")
    return found


def _table(parcels: Path) -> Atlas:
    if holds_coordinates(parcels):
        table = read_coordinates(parcels)
        return Atlas(table, None, parcels.resolve().stem, table.fingerprint)
    return Atlas.load(str(parcels))


def _recognised(source: str, parcels: Parcels | None, num_dropped: int) -> Atlas:
    """The one atlas whose names are those of the columns; where that is not certain, an error with the candidates."""
    found = recognise_atlas(source, parcels=parcels, drop_columns=num_dropped)
    certain = [candidate for candidate in found if candidate.is_certain]
    if len(certain) == 1:
        say(f"atlas: {certain[0].atlas}, the only one that fits in every parcel ({certain[0].evidence})")
        return Atlas.load(certain[0].atlas, needs_image=False)
    if not found:
        raise ConfigError(
            "no atlas that comes with the package fits these tables",
            expected="the number of parcels of " + ", ".join(dict.fromkeys(name.split(":")[0] for name in NAMES)),
            found=source,
            remedy="say what the columns are: --parcels parcels.tsv (columns label, name, and if known x, y, z)",
        )
    raise ConfigError(
        "which atlas the columns are of is not certain: the number of parcels alone does not tell",
        expected="column names, or coordinates (--parcels), that are those of one atlas",
        found="; ".join(f"{candidate.atlas} ({candidate.evidence})" for candidate in found),
        remedy=f"if it is {found[0].atlas}: {_typed_with(found[0].atlas)}",
    )


def _typed_with(atlas: str) -> str:
    """The command as it was typed, with this atlas for ``auto``."""
    words = [atlas if word.lower() == "auto" else word for word in sys.argv[1:]]
    return shlex.join(["brainlm", *(re.sub(r"^(--atlas)=auto$", rf"\1={atlas}", word) for word in words)])


def _report_import(summary: ImportSummary) -> int:
    parts = ", ".join(f"{name} {number}" for name, number in summary.num_per_split.items())
    of = counted(summary.num_subjects, "subject")
    say(f"{counted(summary.num_recordings, 'recording')} of {of} in {summary.store} ({parts})")
    for note in summary.notes:
        say(f"note: {note}")
    show_failures(summary.failures, all_in=summary.store / "manifest.json")
    next_command(*after_store(summary.store, imported=True))
    return SOME_FAILED if summary.failures else DONE


def inspect(store: Path, *, html: bool | Path = False, max_read: int = MAX_READ, verify: bool = False) -> int:
    """Show what is in a store: recordings by split, site, task, TR and length, phenotypes, and what was left out.

    With --html also as one page with pictures: coverage on the brain, motion, and the recordings that stand out.

    Args:
        store: the store.
        html: write the page, too: to this file, or beside the store (study.html for study.store).
        max_read: for the page, compare the connectivity of at most this many recordings, drawn at random; 0: of all.
        verify: compare every file with its checksum again, also those that were whole before (reads the whole store).
    """
    opened = Store.open(store, verify=verify)
    page = _page(opened, html) if html else None
    inspection = inspect_store(opened)
    for table in inspection.tables:
        show_table(table.title, table.frame, note=table.note)
    if page is not None:
        from brainlm.report.store_page import build_store_page

        with progress_bar("page") as bar:
            written = build_store_page(
                opened, inspection=inspection, out=page, max_read=max_read, on_progress=bar.update
            )
        say(f"open it in a browser: {written}")
    next_command(*after_store(store, looked=True))
    return DONE


def _page(store: Store, html: bool | Path) -> Path:
    """Where the page goes, checked before anything is shown."""
    from brainlm.report.store_page import page_path

    return page_path(store.path, html if isinstance(html, Path) else None)
