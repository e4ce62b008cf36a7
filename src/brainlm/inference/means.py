"""Means of several quantities over windows that come a few at a time, some of which have nothing to say of a parcel.

Plain sums over the recordings of a store are in ``stores.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor


class RunningMeans:
    """Element by element means over the first axis, in double precision; NaN is left out, and is what is never seen."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Float[Tensor, "B ..."]]) -> None:
        """Take more of the quantities named; of each, arrays of one shape but for the first axis."""
        for name, more in values.items():
            more = more.cpu()  # double precision is not had everywhere
            total = more.nansum(dim=0, dtype=torch.float64)
            count = (~more.isnan()).sum(dim=0, dtype=torch.int32)
            if name in self._sums:
                self._sums[name] += total
                self._counts[name] += count
            else:
                self._sums[name], self._counts[name] = total, count

    def means(self) -> dict[str, Float64[Tensor, "..."]]:
        """The mean of every quantity that was added."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}
