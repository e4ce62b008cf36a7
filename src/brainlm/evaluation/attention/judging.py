"""From maps to the results of a study: group map, contrast, networks, and what speaks for or against the map.

Nothing runs the model here (``gathering.py`` did); what follows from the numbers is said in ``conclusion.py``.
Shapes: N recordings, S subjects, P parcels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int64

from brainlm.data.parcels import Parcels
from brainlm.evaluation.attention.attribution import WHAT
from brainlm.evaluation.attention.conclusion import conclude
from brainlm.evaluation.attention.confounds import confounds
from brainlm.evaluation.attention.contrast import Contrast
from brainlm.evaluation.attention.gathering import Gathered
from brainlm.evaluation.attention.hiding_scores import judge_hiding
from brainlm.evaluation.attention.networks import Networks, by_network, lag_curves
from brainlm.evaluation.attention.notes import notes
from brainlm.evaluation.attention.rule import AttentionRule
from brainlm.evaluation.attention.subject_maps import (
    Subjects,
    consistency,
    map_intervals,
    mean_map,
    rank_correlation,
    rounded,
    spearman,
)
from brainlm.evaluation.plain_json import plain
from brainlm.evaluation.statistics import SIGNIFICANT, SubjectBootstrap

FORMAT_VERSION = 1
DIGITS = 6
MIDDLE = (0.05, 0.95)  # quantiles of parcels, for how flat a map is


def judge(
    gathered: Gathered,
    metadata: pd.DataFrame,
    parcels: Parcels,
    rule: AttentionRule,
    contrast: Contrast | None,
    *,
    patch_P: Int64[np.ndarray, "P"] | None,
    patch_s: float,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that goes into ``results.json`` but the files beside it.

    Args:
        gathered: of the recordings of ``metadata``.
        metadata: one row a recording.
        parcels: the table of the parcels.
        contrast: already read from the column, None for none.
        patch_P: the patch of each parcel, where patches have several: what is found of one of them is one finding.
        patch_s: how long a patch is, in seconds.
        facts: for the record.
    """
    attention, subjects = gathered.attention, Subjects.of(metadata)
    networks = Networks.of(parcels, rule.networks)
    maps_SP = subjects.means(gathered.maps_NP)
    resamples = _draw(len(subjects), rule)
    tested = None if contrast is None else _contrast(contrast, gathered, metadata, rule, patch_P)
    num_tested = len(parcels) if tested is None else tested["num_tested"]
    results = {
        "format_version": FORMAT_VERSION,
        "kind": "attention",
        "name": rule.name,
        "layer": attention.layer if rule.choice.kind == "layer" else rule.choice.kind,
        "head": attention.head,
        "what": rule.choice.describe(attention),
        "uniform": attention.uniform,
        "facts": dict(facts),
        "settings": rule.settings() | {"networks": networks.column if networks else ""},
        "num_subjects": len(subjects),
        "num_recordings": len(gathered.maps_NP),
        "parcels": {**_parcels(gathered, maps_SP, resamples), "patch": patch_P},
        "heads": rounded(attention.cls_LHP, DIGITS),
        "lags": {"tr_patch_s": patch_s, **lag_curves(attention.between_GPP, networks)},
        "networks": by_network(
            networks,
            maps_SP,
            gathered.maps_NP,
            resamples,
            contrast,
            uniform=attention.uniform,
            num=rule.permutations,
            seed=rule.seed,
        ),
        "sanity": _sanity(gathered, subjects, maps_SP, resamples, rule),
        "contrast": tested,
        "files": {"surface": None, "view": None, "nifti": []},
        "notes": notes(gathered, metadata, parcels, rule, contrast, facts, num_tested=num_tested),
    }
    results = plain(results)
    return results | {"conclusion": conclude(results)}


def _draw(num_subjects: int, rule: AttentionRule) -> SubjectBootstrap:
    return SubjectBootstrap.draw(
        num_subjects, num_bootstrap=rule.num_bootstrap, seed=rule.seed, confidence=rule.confidence
    )


def _parcels(gathered: Gathered, maps_SP: Float64[np.ndarray, "S P"], resamples: SubjectBootstrap) -> dict[str, Any]:
    intervals = map_intervals(resamples, maps_SP)
    found = gathered.attribution
    return {
        "attention": [interval.value for interval in intervals],
        "low": [interval.low for interval in intervals],
        "high": [interval.high for interval in intervals],
        "rollout": mean_map(gathered.attention.rollout_MP),
        "attribution": [None] * maps_SP.shape[1] if found is None else mean_map(found.share_MP),
        "amplitude": mean_map(gathered.attention.amplitude_NP),
        "silent": gathered.silent_P,
    }


def _sanity(
    gathered: Gathered,
    subjects: Subjects,
    maps_SP: Float64[np.ndarray, "S P"],
    resamples: SubjectBootstrap,
    rule: AttentionRule,
) -> dict[str, Any]:
    """Correlations are of group maps over parcels, intervals over subjects."""
    attention = gathered.attention
    silent_SP = np.tile(gathered.silent_P.astype(np.float64), (len(maps_SP), 1))
    middle = np.nanquantile(mean_map(maps_SP) / attention.uniform, MIDDLE)
    sanity: dict[str, Any] = {
        "middle_90_percent": {"low": float(middle[0]), "high": float(middle[1])},
        "amplitude_r": rank_correlation(resamples, maps_SP, subjects.means(attention.amplitude_NP)).as_dict(),
        "connectivity_r": rank_correlation(resamples, maps_SP, subjects.means(attention.connectivity_NP)).as_dict(),
        "silent_r": rank_correlation(resamples, maps_SP, silent_SP).as_dict(),
        "consistency": consistency(resamples, maps_SP).as_dict(),
        "attribution_r": None,
        "deletion": None,
    }
    if gathered.attribution is not None:
        own, who_M = _own(subjects, gathered.attributed_M)
        shares_KP = _means_by(gathered.attribution.share_MP, who_M)
        sampled_KP = _means_by(gathered.maps_NP[gathered.attributed_M], who_M)
        sanity["attribution_r"] = rank_correlation(_draw(own, rule), sampled_KP, shares_KP).as_dict()
        sanity["attribution_what"] = WHAT
        sanity["attribution_error"] = float(np.median(gathered.attribution.error_M))
    if gathered.hiding is not None:
        who_M = np.unique(subjects.subject_N[gathered.hiding_M])
        sanity["deletion"] = judge_hiding(gathered.hiding.of_subjects(who_M), _draw(len(who_M), rule))
    return sanity


def _own(subjects: Subjects, recordings_M: np.ndarray) -> tuple[int, np.ndarray]:
    """How many subjects a sample has, and the number of each recording's among them."""
    names, who_M = np.unique(subjects.subject_N[recordings_M], return_inverse=True)
    return len(names), who_M


def _means_by(maps_MP: Float[np.ndarray, "M P"], who_M: np.ndarray) -> Float64[np.ndarray, "K P"]:
    return np.stack([mean_map(maps_MP[who_M == number]) for number in range(int(who_M.max()) + 1)])


def _contrast(
    contrast: Contrast,
    gathered: Gathered,
    metadata: pd.DataFrame,
    rule: AttentionRule,
    patch_P: Int64[np.ndarray, "P"] | None,
) -> dict[str, Any]:
    """The test of attention, and the same of amplitude: a contrast of attention that looks like it may be it.

    Parcels of a patch have one attention: the patch is tested, and what is found is each of theirs.
    """
    permuting: dict[str, int] = {"num": rule.permutations, "seed": rule.seed}
    unit_P = np.arange(gathered.maps_NP.shape[1]) if patch_P is None else patch_P
    units = np.unique(unit_P)
    maps_NU = np.stack([mean_map(gathered.maps_NP[:, unit_P == unit].T) for unit in units], axis=1)
    of_units = contrast.test(maps_NU, **permuting)
    place_P = np.searchsorted(units, unit_P)
    maps = ("difference_P", "t_P", "p_P", "q_P", "p_fwe_P")
    test = replace(of_units, **{name: getattr(of_units, name)[place_P] for name in maps})
    loud = contrast.test(gathered.attention.amplitude_NP, **permuting)
    found = confounds(contrast, metadata, **permuting)
    return {
        "column": contrast.column,
        "levels": list(contrast.levels),
        "direction": contrast.direction,
        "kind": contrast.kind,
        "within": contrast.within or None,
        "num_subjects": list(contrast.num_subjects),
        "left_out": contrast.num_left_out,
        "t": test.t_P,
        "p": test.p_P,
        "q": test.q_P,
        "p_fwe": test.p_fwe_P,
        "difference": test.difference_P,
        "num_significant": int((test.q_P <= SIGNIFICANT).sum()),
        "num_tested": len(units),
        "num_found": int((of_units.q_P <= SIGNIFICANT).sum()),
        "num_significant_fwe": int((test.p_fwe_P <= SIGNIFICANT).sum()),
        "smallest_q": np.nanmin(test.q_P, initial=np.inf),
        "amplitude_r": float(spearman(test.t_P[None], loud.t_P[None])[0]),
        "amplitude": {
            "num_significant": int((loud.q_P <= SIGNIFICANT).sum()),
            "smallest_q": np.nanmin(loud.q_P, initial=np.inf),
        },
        "confounds": [{"column": one.column, "p": one.p, "sentence": one.sentence} for one in found],
        "num_permutations": test.num_permutations,
    }
