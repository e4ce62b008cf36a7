"""ABIDE-I as parcellated by the Preprocessed Connectomes Project: C-PAC, CC200, no filter, no global signal regression.

Data: Di Martino et al. (2014), Molecular Psychiatry 19: 659-667; atlas: Craddock et al. (2012), Human Brain Mapping 33:
1914-1928. For non-commercial research.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from brainlm.data.bids import subject_id
from brainlm.data.named_atlases import YEO7
from brainlm.data.parcels import Parcels
from brainlm.data.people import NO_RULES, People, PeopleRules, PeopleTable
from brainlm.data.people_files import PeopleFile, read_people_files
from brainlm.data.planned import ImportSummary, PlannedRecording, Progress, write_store
from brainlm.data.read import Signal, signal_from_values
from brainlm.data.recording import Phenotype
from brainlm.data.shards import StoredType
from brainlm.data.splits import SplitRule
from brainlm.errors import DataError

NUM_PARCELS = 200
ATLAS = "CC200"
SIGNALS = "abide_cc200_f16.npy"
SOURCE = {
    "description": "ABIDE-I resting state, Preprocessed Connectomes Project: C-PAC, CC200, no band-pass filter, no "
    "global signal regression. The files carry no repetition time: it is that of the site",
    "terms": "non-commercial research",
    "url": "http://preprocessed-connectomes-project.org/abide/",
}
# Two sites are seen by no training at all; of the others, 15 % of the people.
SPLIT = SplitRule(validation=0.1, test=0.15, hold_out={"site": ("YALE", "USM")})

# Repetition time (s) by site, as users of the data give it in public code; for LEUVEN 1.65 to 1.67 and for SBL also 2.5
# are found. Pass `tr_s` for others.
TR_S: Mapping[str, float] = {
    **dict.fromkeys(("CALTECH", "CMU", "NYU", "SDSU", "STANFORD", "TRINITY", "UM_1", "UM_2", "USM", "YALE"), 2.0),
    **dict.fromkeys(("LEUVEN_1", "LEUVEN_2"), 1.6667),
    **dict.fromkeys(("OLIN", "PITT"), 1.5),
    **dict.fromkeys(("KKI", "OHSU"), 2.5),
    **dict.fromkeys(("MAX_MUN", "UCLA_1", "UCLA_2"), 3.0),
    "SBL": 2.2,
}

# Names in a store, and in the Project's phenotype table with what its codes mean; -9999 is missing there.
PHENOTYPES = (
    "dx", "age", "sex", "fiq", "viq", "piq", "handedness", "eye_status", "ados_total", "mean_fd",
)  # fmt: skip
PCP_COLUMNS = {
    "dx": "DX_GROUP",
    "age": "AGE_AT_SCAN",
    "sex": "SEX",
    "fiq": "FIQ",
    "viq": "VIQ",
    "piq": "PIQ",
    "handedness": "HANDEDNESS_CATEGORY",
    "eye_status": "EYE_STATUS_AT_SCAN",
    "ados_total": "ADOS_TOTAL",
    "mean_fd": "func_mean_fd",
}
CODES: Mapping[str, Mapping[int, str]] = {
    "dx": {1: "asd", 2: "control"},
    "sex": {1: "M", 2: "F"},
    "eye_status": {1: "open", 2: "closed"},
}
MISSING_CODE = "-9999"


def import_abide(
    out: str | Path,
    *,
    packed: str | Path | None = None,
    data_dir: str | Path | None = None,
    quality_checked: bool = True,
    sites: Collection[str] = (),
    tr_s: Mapping[str, float] = TR_S,
    participants: str | Path | Sequence[str | Path] | None = None,
    people_rules: PeopleRules = NO_RULES,
    split: SplitRule = SPLIT,
    dtype: StoredType = "float32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Write ABIDE-I as the store ``out``: one resting-state recording a person, 200 parcels.

    Phenotypes: ``dx`` (asd, control), ``age`` (years), ``sex``, ``fiq viq piq`` (IQ), ``handedness``, ``eye_status``,
    ``ados_total``, ``mean_fd`` (framewise displacement, mm).

    Args:
        out: the store's folder.
        packed: a folder with ``abide_cc200_f16.npy``, ``participants.tsv`` and ``parcels.tsv``; without it the data are
            fetched by nilearn (1 GB on the net).
        data_dir: nilearn's data folder, when not the usual one.
        quality_checked: fetch only recordings that passed the Project's visual checks.
        sites: take the people of these only; of all unless given.
        tr_s: repetition time by site, for fetched data.
        participants: further tables about the people, whose columns become phenotypes, too.
        people_rules: which of their columns has the subjects, which values are missing, what codes mean.
        split: how the people are divided; by default the sites YALE and USM are held out whole.
        dtype: stored type.
        overwrite: replace a store that is there.
        progress: called after each recording.

    Raises:
        DataError: the data cannot be had, or a file of ``packed`` does not fit the others.
    """
    if packed is not None:
        folder = Path(packed)
        parcels, planned = _packed_parcels(folder / "parcels.tsv"), _plan_packed(folder)
    else:
        labels = np.arange(1, NUM_PARCELS + 1)
        parcels = Parcels(pd.DataFrame({"label": labels, "name": [f"CC200-{label}" for label in labels]}))
        planned = _plan_fetched(data_dir, quality_checked=quality_checked, tr_s=tr_s)
    planned = [plan for plan in planned if not sites or plan.site in sites]
    recorded = [(plan.subject, plan.session) for plan in planned]
    people = People.join(read_people_files(participants), recorded, people_rules)
    return write_store(
        out,
        [people.introduce(plan) for plan in planned],
        parcels=parcels,
        atlas=ATLAS,
        phenotypes=list(dict.fromkeys([*PHENOTYPES, *people.columns])),
        split=split,
        dtype=dtype,
        source=SOURCE,
        notes=people.notes,
        overwrite=overwrite,
        progress=progress,
    )


def _packed_parcels(path: Path) -> Parcels:
    table = pd.read_csv(_present(path), sep="\t")
    return Parcels(
        pd.DataFrame(
            {
                "label": table["label"],
                "name": [f"CC200-{label}" for label in table["label"]],
                **{axis: table[axis] for axis in "xyz"},
                "yeo7": table["yeo7"].map(YEO7),  # 0, no network, becomes missing
            }
        )
    )


def _plan_packed(folder: Path) -> list[PlannedRecording]:
    """All recordings in one array, stacked in time, and where each begins."""
    signals = np.load(_present(folder / SIGNALS), mmap_mode="r", allow_pickle=False)
    file = PeopleFile.read(_present(folder / "participants.tsv"))
    people = PeopleTable.join(file, [(subject_id(one), "") for one in file.table["participant_id"]])
    num_rows = sum(int(float(str(row["n_vols"]))) for row in people.values.values())
    if signals.shape != (num_rows, NUM_PARCELS):
        raise DataError(
            f"{folder / SIGNALS} does not fit participants.tsv beside it",
            expected=f"{num_rows} rows (the sum of n_vols) x {NUM_PARCELS} parcels",
            found=" x ".join(map(str, signals.shape)),
            remedy="copy both files again",
        )
    planned = []
    for key, row in people.values.items():
        start, length = int(float(str(row["offset"]))), int(float(str(row["n_vols"])))
        name = f"{row['file_id']}_rois_cc200.1D"
        values = signals[start : start + length]  # a view: read when its turn comes
        planned.append(
            PlannedRecording(
                partial(_signal, values, name),
                key[0],
                people.tr_s[key],
                task="rest",
                site=people.site[key],
                source=name,
                phenotypes={key: _decoded(key, row[key]) for key in PHENOTYPES},
            )
        )
    return planned


def _plan_fetched(
    data_dir: str | Path | None, *, quality_checked: bool, tr_s: Mapping[str, float]
) -> list[PlannedRecording]:
    from nilearn.datasets import fetch_abide_pcp

    try:
        fetched = fetch_abide_pcp(
            data_dir=str(data_dir) if data_dir is not None else None,
            derivatives=["rois_cc200"],
            pipeline="cpac",
            band_pass_filtering=False,
            global_signal_regression=False,
            quality_checked=quality_checked,
            verbose=0,
        )
    except OSError as error:
        raise DataError(
            "nilearn could not fetch ABIDE",
            expected="internet, or the data in nilearn's data folder",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="on a machine with internet run nilearn.datasets.fetch_abide_pcp(derivatives=['rois_cc200']) and "
            "copy its data folder",
        ) from error
    people = pd.DataFrame(fetched["phenotypic"]).reset_index(drop=True)
    unknown = sorted(set(people["SITE_ID"]) - set(tr_s))
    if unknown:
        raise DataError(
            "the repetition time of some sites is unknown",
            expected="every site in tr_s",
            found=f"none for {', '.join(unknown)}",
            remedy="give tr_s with these sites",
        )
    planned = []
    for row, values in zip(people.to_dict(orient="records"), fetched["rois_cc200"], strict=True):
        name = f"{row['FILE_ID']}_rois_cc200.1D"
        planned.append(
            PlannedRecording(
                partial(_signal, np.asarray(values), name),
                subject_id(f"{int(row['SUB_ID']):07d}"),
                tr_s[row["SITE_ID"]],
                task="rest",
                site=str(row["SITE_ID"]),
                source=name,
                phenotypes={key: _decoded(key, row.get(column)) for key, column in PCP_COLUMNS.items()},
            )
        )
    return planned


def _signal(values_TP: Float[np.ndarray, "T P"], name: str) -> Signal:
    return signal_from_values(values_TP, source=name)


def _decoded(name: str, value: Any) -> Phenotype:
    """The value of a phenotype: codes as words, numbers as floats, missing as None."""
    if value is None or value != value or str(value).removesuffix(".0") in (MISSING_CODE, ""):
        return None
    if isinstance(value, str):
        return value
    return CODES[name][int(value)] if name in CODES else float(value)


def _present(path: Path) -> Path:
    if not path.is_file():
        raise DataError(
            f"the packed copy of ABIDE is not complete: no {path.name} in {path.parent}",
            expected=f"{SIGNALS}, participants.tsv, parcels.tsv",
            found=f"no {path}",
            remedy="correct the path, or leave it out to fetch the data with nilearn",
        )
    return path
