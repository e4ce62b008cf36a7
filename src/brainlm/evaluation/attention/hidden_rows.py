"""Which parcels of a window are hidden, in which order, and which are reconstructed throughout.

What comes of it is in ``hiding.py``. Shapes: B windows, P parcels, R rows of patches (a parcel each, or several).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from brainlm.evaluation.attention.sample import SampleBatch
from brainlm.model.autoencoder import MaskedAutoencoder

MODES = ("deletion", "insertion")
SHARES = (0.05, 0.1, 0.2, 0.4)  # of the candidates: hidden in a deletion, alone shown in an insertion
ORDERS = ("most", "least", "random")
NUM_DRAWS = 3  # of random parcels, in every window and share
TARGET_SHARE = 0.2  # of the parcels, hidden in every condition and reconstructed


@dataclass(frozen=True)
class Condition:
    """One way of hiding: numbers in ``MODES``, ``SHARES`` and ``ORDERS``, and which random draw."""

    mode: int
    share: int
    order: int
    draw: int

    @property
    def is_deletion(self) -> bool:
        """Whether the chosen parcels are hidden, and not all others."""
        return MODES[self.mode] == "deletion"

    @property
    def weight(self) -> float:
        """Of a draw, so that random parcels count once."""
        return 1 / NUM_DRAWS if ORDERS[self.order] == "random" else 1.0


def conditions() -> list[Condition]:
    """All that is hidden in turn."""
    return [
        Condition(mode, share, order, draw)
        for mode in range(len(MODES))
        for share in range(len(SHARES))
        for order, name in enumerate(ORDERS)
        for draw in range(NUM_DRAWS if name == "random" else 1)
    ]


@dataclass(frozen=True, eq=False)
class HidingPlan:
    """The rows of each window that are reconstructed, and the others (candidates) in every order they are chosen by.

    A pure function of the seed, the recordings and their maps; batch-mates do not matter.
    """

    target_BR: Bool[np.ndarray, "B R"]
    ranked: tuple[tuple[Int64[np.ndarray, "_"], ...], ...]  # by order and draw, then by window: first to last
    device: torch.device

    @classmethod
    def of(
        cls, network: MaskedAutoencoder, batch: SampleBatch, maps_BP: Float[np.ndarray, "B P"], *, seed: int
    ) -> HidingPlan:
        """The plan for windows whose parcels are attended as ``maps_BP`` says."""
        present_BR = network.present_grid(batch.valid_BPT).any(dim=2).cpu().numpy()
        attended_BR = _by_row(network, maps_BP)
        target_BR = np.zeros_like(present_BR)
        ranked = []
        for window, key in enumerate(batch.key_B.tolist()):
            rng = np.random.default_rng([seed, key & (2**64 - 1)])
            rows = rng.permutation(np.flatnonzero(present_BR[window]))
            num_targets = max(1, round(TARGET_SHARE * len(rows)))
            target_BR[window, rows[:num_targets]] = True
            candidates = np.sort(rows[num_targets:])
            falling = candidates[np.argsort(-np.nan_to_num(attended_BR[window, candidates]), kind="stable")]
            ranked.append((falling, falling[::-1], *(rng.permutation(candidates) for _ in range(NUM_DRAWS))))
        return cls(target_BR, tuple(zip(*ranked, strict=True)), batch.valid_BPT.device)

    @property
    def targets(self) -> Bool[Tensor, "B R"]:
        """The rows that are reconstructed."""
        return torch.from_numpy(self.target_BR).to(self.device)

    def hidden(self, condition: Condition) -> Bool[Tensor, "B R"]:
        """All rows that are hidden: the targets and what the condition says."""
        hidden_BR = self.target_BR.copy()
        for own_R, ranked in zip(hidden_BR, self.ranked[condition.order + condition.draw], strict=True):
            num_chosen = max(1, round(SHARES[condition.share] * len(ranked)))
            own_R[ranked[:num_chosen] if condition.is_deletion else ranked[num_chosen:]] = True
        return torch.from_numpy(hidden_BR).to(self.device)


def rows_hidden(
    network: MaskedAutoencoder, valid_BPT: Bool[Tensor, "B P T"], row_BR: Bool[Tensor, "B R"]
) -> Bool[Tensor, "B N"]:
    """All patches with data of these rows."""
    present_BRC: Tensor = network.present_grid(valid_BPT)
    return (row_BR[:, :, None] & present_BRC).flatten(1)


def _by_row(network: MaskedAutoencoder, maps_BP: np.ndarray) -> Float64[np.ndarray, "B R"]:
    """The mean over each row's parcels with signal; NaN for a row without."""
    rows_P = network.tokenizer.rows_of_parcels().cpu().numpy()
    in_row_PR = np.eye(network.tokenizer.num_rows)[rows_P]
    known_BP = np.isfinite(maps_BP)
    sums_BR = np.where(known_BP, maps_BP, 0.0) @ in_row_PR
    counts_BR = known_BP @ in_row_PR
    return np.where(counts_BR > 0, sums_BR / np.maximum(counts_BR, 1), np.nan)
