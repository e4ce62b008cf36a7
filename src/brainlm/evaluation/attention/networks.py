"""Attention by network, without a seed region: how much each network gets of it, what a contrast does to it, and lags.

Shapes: S subjects, P parcels, K networks, G lags, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64

from brainlm.data.field_names import nearest
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError
from brainlm.evaluation.attention.contrast import Contrast
from brainlm.evaluation.attention.subject_maps import map_intervals, mean_map
from brainlm.evaluation.networks.labels import NO_NETWORK
from brainlm.evaluation.phenotypes.units import texts
from brainlm.evaluation.statistics import SubjectBootstrap


@dataclass(frozen=True, eq=False)
class Networks:
    """Which network each parcel belongs to: a number, -1 for none; ``names`` in alphabetical order."""

    column: str
    names: tuple[str, ...]
    network_P: Int64[np.ndarray, "P"]

    @classmethod
    def of(cls, parcels: Parcels, column: str = "") -> Networks | None:
        """The networks of a column of the parcels table, the first one by default; None where there is none at all.

        Raises:
            AtlasError: no such column, or nothing but missing values in it.
        """
        if column and column not in parcels.networks:
            raise AtlasError(
                f"the parcels table has no networks {column}",
                expected="a network column of parcels.tsv",
                found=f"network columns: {', '.join(parcels.networks) or 'none'}",
                remedy=f"did you mean {nearest(column, parcels.networks)}?" if parcels.networks else "leave it out",
            )
        if not column and not parcels.networks:
            return None
        chosen = column or parcels.networks[0]
        words = [word if word.lower() not in NO_NETWORK else "" for word in texts(parcels.table[chosen])]
        names = sorted(set(words) - {""})
        if not names:
            if not column:
                return None
            raise AtlasError(
                f"no parcel has a network in {column}",
                expected="the name of a network in some rows of parcels.tsv",
                found=f"{len(words)} missing",
                remedy="choose another column, or leave it out",
            )
        number_of = {name: number for number, name in enumerate(names)}
        return cls(chosen, tuple(names), np.array([number_of.get(word, -1) for word in words], dtype=np.int64))

    def sizes(self) -> list[int]:
        """How many parcels each has."""
        return [int((self.network_P == number).sum()) for number in range(len(self.names))]

    def means(self, maps_NP: Float[np.ndarray, "N P"]) -> Float64[np.ndarray, "N K"]:
        """The mean over each network's parcels with signal."""
        return np.stack([mean_map(maps_NP[:, self.network_P == number].T) for number in range(len(self.names))], axis=1)


def by_network(
    networks: Networks | None,
    maps_SP: Float64[np.ndarray, "S P"],
    maps_NP: Float[np.ndarray, "N P"],
    resamples: SubjectBootstrap,
    contrast: Contrast | None,
    *,
    uniform: float,
    num: int,
    seed: int,
) -> list[dict[str, Any]]:
    """One entry a network: its parcels' mean attention as a multiple of uniform, and the contrast of it.

    q is adjusted over networks.

    Args:
        maps_SP: of subjects, for the means; ``maps_NP`` of recordings, for the contrast.
        uniform: a parcel's share if attention were equal.
        num, seed: of the permutations.
    """
    if networks is None:
        return []
    relative = map_intervals(resamples, networks.means(maps_SP / uniform))
    test = contrast.test(networks.means(maps_NP), num=num, seed=seed) if contrast is not None else None
    entries = []
    for number, (name, size, interval) in enumerate(zip(networks.names, networks.sizes(), relative, strict=True)):
        tested = None
        if test is not None and np.isfinite(test.t_P[number]):
            tested = {"t": float(test.t_P[number]), "p": float(test.p_P[number]), "q": float(test.q_P[number])}
        entries.append(
            {"name": name, "num_parcels": size, "attention_relative": interval.as_dict(), "contrast": tested}
        )
    return entries


def lag_curves(between_GPP: Float[np.ndarray, "G P P"], networks: Networks | None) -> dict[str, Any]:
    """Attention between patches by how much later the attended one is: of one parcel, of one network, of others.

    A lag is in patches, attended minus asking time. Means over pairs of parcels with signal.
    """
    num_parcels, reach = between_GPP.shape[1], len(between_GPP) // 2
    same_PP = np.eye(num_parcels, dtype=bool)
    curves = {"lag": list(range(-reach, reach + 1)), "same_parcel": _over(between_GPP, same_PP)}
    if networks is None:
        return curves | {"same_network": None, "other_network": _over(between_GPP, ~same_PP)}
    network_P = networks.network_P
    known_PP = (network_P[:, None] >= 0) & (network_P >= 0)
    together_PP = network_P[:, None] == network_P
    return curves | {
        "same_network": _over(between_GPP, known_PP & together_PP & ~same_PP),
        "other_network": _over(between_GPP, known_PP & ~together_PP),
    }


def _over(between_GPP: np.ndarray, chosen_PP: np.ndarray) -> Sequence[float | None]:
    values_GK = between_GPP[:, chosen_PP].astype(np.float64)
    if values_GK.shape[1] == 0:
        return [None] * len(values_GK)
    return [float(value) if np.isfinite(value) else None for value in mean_map(values_GK.T)]
