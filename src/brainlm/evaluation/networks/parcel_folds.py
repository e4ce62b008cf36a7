"""Which parcels are tested when: homologous pairs stay together, and every fold has its share of each network.

Folds are over parcels, not over people: the question is whether features of a parcel tell its network.

Shapes: Q parcels with a network, M and N of them in a fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from brainlm.errors import ConfigError

NUM_INNER = 5  # folds within the training parcels, in which k and metric are chosen


@dataclass(frozen=True, eq=False)
class ParcelFold:
    """The parcels that are learnt from and those that are tested, as positions among the Q.

    Attributes:
        repeat: which drawing of folds it belongs to.
        inner_M: the inner fold of each training parcel.
    """

    repeat: int
    train_M: Int64[np.ndarray, "M"]
    test_N: Int64[np.ndarray, "N"]
    inner_M: Int64[np.ndarray, "M"]

    @property
    def apart(self) -> Bool[np.ndarray, "M M"]:
        """Training parcels that may vote for each other in the inner folds: those of different ones."""
        return self.inner_M[:, None] != self.inner_M[None]


def draw_folds(
    unit_Q: Int64[np.ndarray, "Q"],
    number_Q: Int64[np.ndarray, "Q"] | None,
    *,
    folds: int,
    repeats: int,
    seed: int,
) -> list[ParcelFold]:
    """``folds`` times ``repeats`` of them; each parcel is tested once in every repeat.

    Args:
        unit_Q: parcels of the same number go together.
        number_Q: the network of each parcel, of which every fold gets its share; None: folds know no networks.
        folds: in one repeat.
        repeats: how often they are drawn anew.
        seed: of the drawing.

    Raises:
        ConfigError: fewer than 2 folds or 1 repeat, or more folds than there are parts of the brain to test.
    """
    num_units = len(np.unique(unit_Q))
    if folds < 2 or repeats < 1 or 2 * folds > num_units:
        raise ConfigError(
            "parcels cannot be cut into these folds",
            expected=f"2 to {num_units // 2} folds ({num_units} pairs and single parcels) and 1 repeat or more",
            found=f"--folds {folds} --repeats {repeats}",
        )
    drawn = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        fold_Q = _dealt(unit_Q, number_Q, folds, rng)
        for fold in range(folds):
            train_M = np.flatnonzero(fold_Q != fold)
            inner_M = _dealt(unit_Q[train_M], None if number_Q is None else number_Q[train_M], NUM_INNER, rng)
            drawn.append(ParcelFold(repeat, train_M, np.flatnonzero(fold_Q == fold), inner_M))
    return drawn


def _dealt(
    unit_Q: Int64[np.ndarray, "_"], number_Q: Int64[np.ndarray, "_"] | None, folds: int, rng: np.random.Generator
) -> Int64[np.ndarray, "_"]:
    """The fold of each parcel: the units of each network are shuffled and dealt out like cards, without a break."""
    first_U, unit_of_Q = np.unique(unit_Q, return_index=True, return_inverse=True)[1:]
    order_U = rng.permutation(len(first_U))
    if number_Q is not None:
        order_U = order_U[np.argsort(number_Q[first_U][order_U], kind="stable")]
    fold_U = np.empty(len(first_U), np.int64)
    fold_U[order_U] = np.arange(len(first_U)) % folds
    return fold_U[unit_of_Q]
