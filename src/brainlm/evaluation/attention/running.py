"""A study of attention from store to results, and the files it leaves; pictures are the report's.

Shapes: P parcels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from brainlm.atomic import write_text
from brainlm.data.parcels import Parcels
from brainlm.data.store import Store
from brainlm.evaluation.attention.contrast import Contrast, read_contrast
from brainlm.evaluation.attention.gathering import MAPS, Listener, gather
from brainlm.evaluation.attention.images import write_image
from brainlm.evaluation.attention.judging import judge
from brainlm.evaluation.attention.networks import Networks
from brainlm.evaluation.attention.rule import AttentionRule
from brainlm.evaluation.attention.subject_maps import Subjects
from brainlm.evaluation.statistics import SIGNIFICANT
from brainlm.files import csv_text, write_json
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.cohort import check_recordings

STUDIES, RESULTS_FILE, TABLE_FILE = "attention", "results.json", "table.csv"


@dataclass(frozen=True, eq=False)
class AttentionStudy:
    """A study's folder, its results, and the parcels they are of."""

    folder: Path
    results: dict[str, Any]
    parcels: Parcels

    @property
    def relative_P(self) -> Float64[np.ndarray, "P"]:  # noqa: N802 - shape suffix
        """Attention as a multiple of what each parcel would get if all got the same; NaN without signal."""
        return _floats(self.results["parcels"]["attention"]) / self.results["uniform"]

    @property
    def t_P(self) -> Float64[np.ndarray, "P"] | None:  # noqa: N802 - shape suffix
        """The contrast's t; None without a contrast."""
        return _floats(self.results["contrast"]["t"]) if self.results["contrast"] else None

    @property
    def network_P(self) -> list[str]:  # noqa: N802 - shape suffix
        """The name of each parcel's network; empty for none."""
        networks = Networks.of(self.parcels, self.results["settings"]["networks"])
        if networks is None:
            return [""] * len(self.parcels)
        return [networks.names[number] if number >= 0 else "" for number in networks.network_P]

    def table(self) -> pd.DataFrame:
        """One row a parcel, in the order of the recordings' columns."""
        parcels, contrast = self.results["parcels"], self.results["contrast"]
        table = pd.DataFrame(
            {
                "label": self.parcels.labels,
                "name": self.parcels.table["name"].astype(str),
                **({} if parcels["patch"] is None else {"patch": parcels["patch"]}),
                "network": self.network_P,
                "attention": _floats(parcels["attention"]),
                "attention_low": _floats(parcels["low"]),
                "attention_high": _floats(parcels["high"]),
                "relative_to_uniform": self.relative_P,
                "rollout": _floats(parcels["rollout"]),
                "attribution": _floats(parcels["attribution"]),
            }
        )
        if contrast is not None:
            columns = {"contrast": "difference", "t": "t", "p": "p", "q": "q", "p_fwe": "p_fwe"}
            table = table.assign(**{name: _floats(contrast[key]) for name, key in columns.items()})
        return table


def attention_study(
    model: BrainLM,
    store: Store,
    rule: AttentionRule,
    *,
    folder: Path,
    facts: Callable[[], Mapping[str, Any]] = dict,
    on_progress: Listener | None = None,
) -> AttentionStudy:
    """Compute and judge; nothing is written but what is kept for another time.

    Args:
        model: its scaler must be fitted.
        store: the recordings.
        rule: what is asked for.
        folder: the study's; what is kept for all studies is in ``maps`` beside it.
        facts: for the record; asked for in the end, so that the time it took is known.
        on_progress: called with what is done, how much of it, and of how much.

    Raises:
        ConfigError: a contrast, layer or head that there is not.
        DataError: recordings that do not fit the model, or groups too small to compare.
        AtlasError: other parcels, or a network column that there is not.
    """
    metadata = store.metadata
    check_recordings(store, model, resample=rule.resample)
    contrast = check_question(store, rule)
    gathered = gather(
        model,
        store,
        rule,
        Subjects.of(metadata),
        folder=folder.parent / MAPS,
        on_progress=on_progress,
    )
    tr_s = model.tr_s if rule.resample and model.tr_s else float(np.median(metadata["tr"]))
    results = judge(
        gathered,
        metadata,
        store.parcels,
        rule,
        contrast,
        patch_P=model.network.tokenizer.rows_of_parcels().cpu().numpy() if model.config.parcels_per_patch > 1 else None,
        patch_s=tr_s * model.config.timepoints_per_patch,
        facts={"head": model.config.head, **facts()},
    )
    return AttentionStudy(folder, results, store.parcels)


def check_question(store: Store, rule: AttentionRule) -> Contrast | None:
    """The contrast that is asked for, if one is; worth asking for before a model is opened.

    Raises:
        ConfigError: a contrast that there is not.
        DataError: groups too small to compare.
        AtlasError: a network column that there is not.
    """
    Networks.of(store.parcels, rule.networks)
    if not rule.contrast:
        return None
    return read_contrast(store.metadata, rule.contrast, levels=rule.levels, within=rule.within)


def write_images(study: AttentionStudy, atlas: Path | None) -> list[str]:
    """Write ``maps/*.nii.gz`` in the atlas's grid; returns their names in the study's folder, none without an image.

    Raises:
        AtlasError: the label image cannot be read or is not of these parcels.
        DataError: the disk is full.
    """
    if atlas is None:
        return []
    maps = {"attention": (study.relative_P, "CLS attention as a multiple of uniform")}
    contrast, t_P = study.results["contrast"], study.t_P
    if contrast is not None and t_P is not None:
        what = f"t of {contrast['direction']}"
        significant_P = _floats(contrast["q"]) <= SIGNIFICANT
        maps["contrast_t"] = (t_P, what)
        maps["contrast_significant"] = (np.where(significant_P, t_P, 0.0), f"{what}, 0 where q is not below .05")
    names = []
    for name, (values_P, description) in maps.items():
        names.append(f"maps/{name}.nii.gz")
        write_image(study.folder / names[-1], study.parcels, atlas, values_P, description=description)
    return names


def write_study(study: AttentionStudy) -> None:
    """Write ``table.csv`` and ``results.json``.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    write_text(study.folder / TABLE_FILE, csv_text(study.table()))
    write_json(study.folder / RESULTS_FILE, study.results)


def _floats(values: list[float | None]) -> Float64[np.ndarray, "P"]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
