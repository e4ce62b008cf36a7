"""What every method that fills in hidden values gets and gives: the model and its baselines alike.

Evaluation scores any ``Predictor``; fitting one is its own module's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class MaskedBatch:
    """Windows with hidden parts, in scaled units, and everything else that a method may look at.

    ``signal_BPT`` holds the truth also where hidden: a method must not look there. ``outside`` holds, for each window,
    the time points of the same recording outside it (for future masks only those before it), (T_out, P), perhaps no
    rows; values that are not valid are zeros.
    """

    signal_BPT: Float[Tensor, "B P T"]
    valid_BPT: Bool[Tensor, "B P T"]
    hidden_BPT: Bool[Tensor, "B P T"]
    outside: tuple[Float[Tensor, "_ P"], ...]
    recording_B: Int64[Tensor, "B"]
    start_B: Int64[Tensor, "B"]

    def rows(self, rows: Int64[np.ndarray, "R"]) -> MaskedBatch:
        """Some of the windows."""
        return MaskedBatch(
            self.signal_BPT[rows],
            self.valid_BPT[rows],
            self.hidden_BPT[rows],
            tuple(self.outside[row] for row in rows),
            self.recording_B[rows],
            self.start_B[rows],
        )

    @property
    def visible(self) -> Bool[Tensor, "B P T"]:
        """What a method may look at within the window."""
        return self.valid_BPT & ~self.hidden_BPT

    @property
    def scored(self) -> Bool[Tensor, "B P T"]:
        """What a method is judged by: hidden and real."""
        return self.valid_BPT & self.hidden_BPT

    @property
    def seen(self) -> Float[Tensor, "B P T"]:
        """The signal where visible, 0 elsewhere."""
        return self.signal_BPT.masked_fill(~self.visible, 0.0)


@runtime_checkable
class Predictor(Protocol):
    """A method that fills in hidden values.

    ``name`` is what tables show; ``mask_kinds`` are the kinds of mask it has something to say about.
    """

    @property
    def name(self) -> str: ...

    @property
    def mask_kinds(self) -> frozenset[str]: ...

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """Finite values in scaled units; only those at ``batch.scored`` count."""
        ...


ANY_MASK = frozenset({"random", "parcel", "future"})


def squared_error(predictor: Predictor, batches: Iterable[MaskedBatch]) -> float:
    """The sum of squared errors over all scored values: by this, settings are chosen on the validation split."""
    total = 0.0
    for batch in batches:
        error_BPT = (predictor.predict(batch) - batch.signal_BPT).double() * batch.scored
        total += float(error_BPT.square().sum())
    return total
