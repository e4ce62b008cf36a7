"""Divide packed ABIDE files by site, so that one part is a cohort of its own: see docs/results.md.

    python benchmarks/divide_abide.py abide/ USM,YALE abide_15/ abide_2/

The sites named go into the last folder, all others into the one before.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

SERIES, PEOPLE, PARCELS = "abide_cc200_f16.npy", "participants.tsv", "parcels.tsv"


def main(source: Path, sites: list[str], others: Path, chosen: Path) -> None:
    """Write both folders, each with files of the same names as ``source``."""
    people = pd.read_csv(source / PEOPLE, sep="\t", keep_default_na=False)
    series_NP = np.load(source / SERIES, mmap_mode="r")
    is_chosen = people["site"].isin(sites)
    for folder, part in ((others, people[~is_chosen].copy()), (chosen, people[is_chosen].copy())):
        folder.mkdir(parents=True, exist_ok=True)
        spans = zip(part["offset"], part["n_vols"], strict=True)
        np.save(folder / SERIES, np.concatenate([series_NP[first : first + length] for first, length in spans]))
        part["offset"] = part["n_vols"].cumsum() - part["n_vols"]
        part.to_csv(folder / PEOPLE, sep="\t", index=False)
        shutil.copyfile(source / PARCELS, folder / PARCELS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3]), Path(sys.argv[4]))
