"""The small print of a study of attention: what was left out, what a number is of, what not to conclude."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from brainlm.data.parcels import Parcels
from brainlm.evaluation.attention.contrast import Contrast
from brainlm.evaluation.attention.gathering import Gathered
from brainlm.evaluation.attention.permuting import fewest_permutations
from brainlm.evaluation.attention.rule import AttentionRule
from brainlm.evaluation.statistics import few_subjects_note

LEVEL = 0.05


def notes(
    gathered: Gathered,
    metadata: pd.DataFrame,
    parcels: Parcels,
    rule: AttentionRule,
    contrast: Contrast | None,
    facts: Mapping[str, Any],
    *,
    num_tested: int,
) -> list[str]:
    """Sentences, those that matter most first."""
    found = [] if contrast is None else _of_contrast(contrast, num_tested, rule)
    subjects = metadata["subject"].nunique()
    found += few_subjects_note(subjects)
    found.append(
        "Intervals of correlations between group maps lie low, if anything: a resample has fewer different subjects, "
        "and its mean map is noisier."
    )
    attention = gathered.attention
    missing_N = np.isnan(gathered.maps_NP).sum(axis=1)
    if missing_N.any():
        found.append(
            f"{int((missing_N > 0).sum())} recordings have parcels without signal (up to {int(missing_N.max())} of "
            f"{len(parcels)}): every map is brought to the same mean over the parcels that have one."
        )
    if rule.choice.kind != "rollout":
        found.append(
            f"Rollout is of {len(attention.rollout_recordings_M)} of {len(metadata)} recordings, spread evenly; lags "
            "are of a sample of this kind, too."
        )
    trs = sorted(set(metadata["tr"].astype(float)))
    if len(trs) > 1 and not rule.resample:
        found.append(
            f"Repetition times differ ({', '.join(f'{tr:g}' for tr in trs)} s): a patch is as many time points in each "
            "recording, and lags in seconds are those of the middle one."
        )
    if facts.get("head", "plain") != "plain":
        found.append(
            "The model adds what its Transformer says to a Gaussian conditional mean: the loss of R2 is of both, and "
            "the Gaussian part knows no attention."
        )
    if gathered.attribution is not None and float(np.median(gathered.attribution.error_M)) > LEVEL:
        miss = 100 * float(np.median(gathered.attribution.error_M))
        found.append(f"Attributions miss what they should add up to by {miss:.0f} % in the middle window.")
    if facts.get("seen"):
        found.append(str(facts["seen"]))
    return found


def _of_contrast(contrast: Contrast, num_tested: int, rule: AttentionRule) -> list[str]:
    found = [f"Differences and t are {contrast.direction}: positive is more attention in {contrast.levels[0]}."]
    if contrast.remark:
        found.append(f"{contrast.remark[0].upper()}{contrast.remark[1:]}.")
    if contrast.num_left_out:
        why = "not recorded at both levels" if contrast.kind == "paired" else "in none of the two groups, or in both"
        if contrast.within:
            why += f", or at a {contrast.within} with one group only"
        found.append(f"{contrast.num_left_out} subjects are left out of the contrast: {why}.")
    if contrast.within:
        found.append(f"Groups are compared within {contrast.within}: its means are taken off, labels move within it.")
    if fewest_permutations(num_tested, LEVEL) > rule.permutations:
        found.append(
            f"With {rule.permutations} permutations an effect in a single one of {num_tested} tests cannot pass the "
            f"false discovery rate of {LEVEL:g}: give --permutations {fewest_permutations(num_tested, LEVEL)} or more."
        )
    smallest = _smallest_p(contrast)
    if smallest > LEVEL / num_tested:
        found.append(
            f"With so few subjects no p can be below {smallest:.2g}, whatever the effect: a single one of "
            f"{num_tested} tests cannot pass the correction."
        )
    return found


def _smallest_p(contrast: Contrast) -> float:
    """Of all sign flips or exchanges; two-sided, so that equal groups and signs count twice."""
    first, second = contrast.num_subjects
    if contrast.kind == "paired":
        return 2.0 / 2.0**first
    return (2.0 if first == second else 1.0) / comb(first + second, first)
