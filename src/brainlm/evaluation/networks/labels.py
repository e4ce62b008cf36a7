"""The true network of every parcel, from a column of the parcels table.

Parcels without a network are counted and take part in nothing. Who is tested when is in ``parcel_folds.py``.

Shapes: P parcels of the atlas, Q parcels with a network, C networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int8, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brainlm.data.homologues import Homologues
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError, ConfigError
from brainlm.evaluation.statistics import SIGNIFICANT, permutation_p
from brainlm.model.autoencoder import MaskedAutoencoder

# What atlases write for "belongs to none", beside an empty field.
NO_NETWORK = frozenset({"", "0", "0.0", "nan", "none", "n/a", "na", "unassigned", "background"})
# Pairs or single parcels of a network: one to test, one for the inner test, one to learn from.
MIN_UNITS = 3
MOST_NAMED = 15  # networks listed in a message
NUM_SHUFFLES = 199
_OTHER_LAYOUT = "pretrain with --model.parcel_order y, or with --model.parcels_per_patch 1 and places not in a grid"


@dataclass(frozen=True, eq=False)
class NetworkLabels:
    """Which network each parcel belongs to.

    Attributes:
        column: of the parcels table.
        names: of the networks, C of them, sorted.
        number_P: of each parcel's network in ``names``; -1 for a parcel that has none or whose network is left out.
        homologues: the left-right pairs; kept together in folds and resamples.
        patch_P: the patch of each parcel, where the model has patches of several; kept together too, because what the
            model says of one of them it says of all: in the training folds they would give the answer away.
        left_out: networks left out because they are too small, and how many parcels they have.
    """

    column: str
    names: tuple[str, ...]
    number_P: Int64[np.ndarray, "P"]
    homologues: Homologues
    patch_P: Int64[np.ndarray, "P"] | None = None
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def positions(self) -> Int64[np.ndarray, "Q"]:
        """The positions of the parcels that have a network."""
        return np.flatnonzero(self.number_P >= 0)

    @property
    def numbers(self) -> Int64[np.ndarray, "Q"]:
        """The network of each of them."""
        return self.number_P[self.positions]

    @property
    def units(self) -> Int64[np.ndarray, "Q"]:
        """Which of them are kept together, counted from 0 without gaps."""
        unit_Q = self.homologues.group_P[self.positions]
        if self.patch_P is not None:
            patch_Q = self.patch_P[self.positions]
            ties = coo_array((np.ones(len(unit_Q)), (unit_Q, unit_Q.max() + 1 + patch_Q)))
            size = max(ties.shape)
            unit_Q = connected_components(coo_array((ties.data, ties.coords), shape=(size, size)), False)[1][unit_Q]
        return np.unique(unit_Q, return_inverse=True)[1].astype(np.int64)

    @property
    def share_of_patches(self) -> float:
        """The highest accuracy for who cannot tell the parcels of a patch from one another; 1 for a parcel a patch."""
        if self.patch_P is None:
            return 1.0
        table = np.zeros((int(self.patch_P.max()) + 1, len(self.names)))
        np.add.at(table, (self.patch_P[self.positions], self.numbers), 1)
        return float(table.max(axis=1).sum() / table.sum())

    @property
    def num_missing(self) -> int:
        """How many parcels take part in nothing."""
        return int((self.number_P < 0).sum())

    @property
    def sizes(self) -> Int64[np.ndarray, "C"]:
        """How many parcels each network has."""
        return np.bincount(self.numbers, minlength=len(self.names)).astype(np.int64)

    @property
    def num_pairs(self) -> int:
        """How many homologous pairs are among the parcels with a network."""
        return int((np.bincount(self.homologues.group_P[self.positions]) > 1).sum())

    def named(self, number: int) -> str | None:
        """The name of a network; None for -1."""
        return None if number < 0 else self.names[number]


def read_labels(
    parcels: Parcels,
    column: str,
    *,
    homologues: Homologues,
    patch_P: Int64[np.ndarray, "P"] | None = None,
    min_parcels: int = 0,
) -> NetworkLabels:
    """The networks that ``column`` of the parcels table says.

    Args:
        parcels: the table.
        column: one of its network columns, such as ``yeo7``.
        homologues: the left-right pairs.
        patch_P: the patch of each parcel, for a model with several in one; see ``tied_by_patches``.
        min_parcels: leave out networks of fewer parcels.

    Raises:
        AtlasError: there is no such column, or fewer than two networks in it.
        ConfigError: a network is too small to be in every training fold.
    """
    if column not in parcels.networks:
        raise AtlasError(
            f"the parcels table has no network column {column!r}",
            expected=f"one of {', '.join(parcels.networks)}" if parcels.networks else "a column with networks",
            found=f"columns {', '.join(map(str, parcels.table.columns))}",
            remedy="name one with --labels" if parcels.networks else "add one to parcels.tsv and write the store anew",
        )
    words = [_word(value) for value in parcels.table[column]]
    counts = pd.Series([word for word in words if word]).value_counts()
    kept = sorted(str(name) for name, count in counts.items() if count >= min_parcels)
    if len(kept) < 2:
        raise AtlasError(
            f"the column {column!r} does not tell networks apart",
            expected=f"two networks or more, of {max(min_parcels, 1)} parcels or more each",
            found=_counted([(str(name), int(count)) for name, count in counts.items()]) or "no network at all",
            remedy="name another column with --labels" + (", or lower --min_parcels" if min_parcels else ""),
        )
    place = {name: number for number, name in enumerate(kept)}
    labels = NetworkLabels(
        column,
        tuple(kept),
        np.array([place.get(word, -1) for word in words], np.int64),
        homologues,
        patch_P,
        tuple((str(name), int(count)) for name, count in counts.items() if str(name) not in place),
    )
    _check_sizes(labels)
    return labels


def tied_by_patches(network: MaskedAutoencoder) -> Int64[np.ndarray, "P"] | None:
    """The patch of each parcel; None where a patch is one parcel.

    Raises:
        ConfigError: patches, or places in a grid, were laid out by networks: whatever is read from them was put there.
    """
    config = network.config
    if config.parcels_per_patch == 1 and config.spatial_positions != "grid":
        return None
    if config.parcel_order.startswith("network:"):
        raise ConfigError(
            "what this model knows of networks was put into it",
            expected="patches or places that were made without labels of networks",
            found=f"parcels_per_patch={config.parcels_per_patch}, spatial_positions={config.spatial_positions}, "
            f"parcel_order={config.parcel_order}: an encoder with random weights would tell networks as well",
            remedy=_OTHER_LAYOUT,
        )
    return network.tokenizer.rows_of_parcels().cpu().numpy() if config.parcels_per_patch > 1 else None


def check_layout(
    network: MaskedAutoencoder, labels: NetworkLabels, surrogate_LQ: Int8[np.ndarray, "L Q"], *, seed: int
) -> None:
    """Refuse a model whose layout follows the networks although no network column is named: atlases are often sorted.

    Counted is how often parcels that are next to each other in a patch (with places in a grid: in the order at all) are
    of one network. It is compared with the surrogates, which are as smooth in space; with too few of these for a test,
    with networks that are shuffled among left-right pairs and single parcels. The order ``y`` is made from coordinates
    alone and needs no test.

    Raises:
        ConfigError: neighbours are of one network more often than these label maps say.
    """
    config = network.config
    is_grid = config.spatial_positions == "grid"
    if (config.parcels_per_patch == 1 and not is_grid) or config.parcel_order == "y":
        return
    order_P = network.tokenizer.order_P.cpu().numpy()
    row_P = network.tokenizer.rows_of_parcels().cpu().numpy()[order_P]
    pair_I2 = np.stack((order_P[:-1], order_P[1:]), axis=1)[is_grid | (row_P[:-1] == row_P[1:])]
    place_P = np.full(len(labels.number_P), -1)
    place_P[labels.positions] = np.arange(len(labels.positions))
    pair_I2 = place_P[pair_I2]
    pair_I2 = pair_I2[(pair_I2 >= 0).all(axis=1)]
    if len(pair_I2) == 0:
        return
    null = "label maps as smooth in space"
    if 1 / (1 + len(surrogate_LQ)) > SIGNIFICANT:
        null = "shuffled networks; there are too few surrogate label maps to say what smoothness in space explains"
        surrogate_LQ = _shuffled(labels, seed=seed)
    number_LQ = np.concatenate((labels.numbers[None], surrogate_LQ))
    share_L = (number_LQ[:, pair_I2[:, 0]] == number_LQ[:, pair_I2[:, 1]]).mean(axis=1)
    p = permutation_p(float(share_L[0]), share_L[1:])
    if p is not None and p <= SIGNIFICANT:
        raise ConfigError(
            f"the layout of this model's parcels follows the networks of {labels.column}",
            expected=f"neighbours in it of one network about as often as in {null}: {share_L[1:].mean():.0%}",
            found=f"{share_L[0]:.0%} (p = {p:.2g}), parcels_per_patch={config.parcels_per_patch}, "
            f"spatial_positions={config.spatial_positions}, parcel_order={config.parcel_order}",
            remedy=_OTHER_LAYOUT,
        )


def _shuffled(labels: NetworkLabels, *, seed: int) -> Int8[np.ndarray, "L Q"]:
    """Networks of whole left-right pairs and single parcels, each given the one of another."""
    rng = np.random.default_rng(seed)
    group_Q = labels.homologues.group_P[labels.positions]
    _, first_U, unit_Q = np.unique(group_Q, return_index=True, return_inverse=True)
    number_U = labels.numbers[first_U].astype(np.int8)
    return np.stack([rng.permutation(number_U)[unit_Q] for _ in range(NUM_SHUFFLES)])


def units_per_network(labels: NetworkLabels) -> Int64[np.ndarray, "C"]:
    """How many pairs or single parcels each network has; a pair of two networks counts for that of its first parcel."""
    first_U = np.unique(labels.units, return_index=True)[1]
    return np.bincount(labels.numbers[first_U], minlength=len(labels.names)).astype(np.int64)


def _word(value: object) -> str:
    """The name of the network, or nothing."""
    if isinstance(value, float):
        value = "" if not np.isfinite(value) else int(value) if value.is_integer() else value
    word = str(value).strip()
    return "" if word.lower() in NO_NETWORK else word


def _check_sizes(labels: NetworkLabels) -> None:
    units_C = units_per_network(labels)
    small = [name for name, units in zip(labels.names, units_C, strict=True) if units < MIN_UNITS]
    if small:
        above = int(labels.sizes[units_C < MIN_UNITS].max()) + 1
        pairs = zip(labels.names, labels.sizes.tolist(), strict=True)
        raise ConfigError(
            f"networks of {labels.column} are too small to be learnt and tested on different parcels",
            expected=f"{MIN_UNITS} parcels or more in each, those of a homologous pair or of one patch counted once",
            found=f"too small: {_some(small)}; parcels: {_counted(list(pairs))}",
            remedy=f"leave them out with --min_parcels {above}, or name another column",
        )


def _counted(counts: Sequence[tuple[str, int]]) -> str:
    return _some([f"{name} {count}" for name, count in counts])


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:MOST_NAMED]) + (f", and {len(words) - MOST_NAMED} more" if words[MOST_NAMED:] else "")
