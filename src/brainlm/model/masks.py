"""Which patches the model does not see: random, future, whole parcels, and mixtures, made outside the model.

A mask is a pure function of one 64-bit number per window, so that it is the same whatever the batch, the worker or the
device. Shapes: B batch, R spatial patches, C temporal patches, N = R x C patches. True = hidden.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from brainlm.errors import ConfigError

MaskKind = Literal["random", "future", "parcel"]
KINDS: tuple[MaskKind, ...] = ("random", "future", "parcel")

# splitmix64 (Steele, Lea & Flood 2014), written for signed 64-bit integers that wrap around.
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_SUBSET = 0x5DEECE66D  # flips bits of a seed, so that subsets are drawn independently of masks


@dataclass(frozen=True)
class Mask:
    """One way of hiding: ``random`` and ``parcel`` hide a share of the patches or parcels, ``future`` the last patches.

    Args:
        kind: what is hidden.
        amount: the share hidden (0 < amount < 1), or for ``future`` the number of temporal patches.
        weight: how often a mixture picks this one, relative to the others.
    """

    kind: MaskKind
    amount: float | int
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.kind == "future":
            fits = self.amount >= 1 and float(self.amount).is_integer()
        else:
            fits = 0.0 < self.amount < 1.0
        if not fits or not 0.0 < self.weight < math.inf:
            raise ConfigError(
                f"the mask {self.kind}:{self.amount:g} cannot be made",
                expected="a share between 0 and 1 (random, parcel) or a whole number of patches (future)",
                found=f"{self.amount:g}, weight {self.weight:g}",
                remedy="write for example random:0.75, parcel:0.5 or future:1",
            )

    @property
    def label(self) -> str:
        """How tables and figures call it."""
        if self.kind == "future":
            return f"future {int(self.amount)} patch{'es' if self.amount > 1 else ''}"
        return f"{self.kind} {100 * self.amount:g} %"


def parse_masks(text: str) -> tuple[Mask, ...]:
    """The masks that ``text`` names: ``kind:amount``, several joined by ``+``, each with an optional ``@weight``.

    ``random:0.75`` hides 75 % of the patches; ``random:0.2+random:0.75@2+future:1`` is a mixture.

    Raises:
        ConfigError: a kind or an amount that does not exist.
    """
    masks = []
    for part in text.replace(" ", "").split("+"):
        name, _, rest = part.partition(":")
        amount, _, weight = rest.partition("@")
        try:
            if name not in KINDS:
                raise ValueError
            masks.append(Mask(name, float(amount), float(weight or 1)))
        except ValueError:
            raise ConfigError(
                f"cannot read the mask {part!r}",
                expected="kind:amount or kind:amount@weight, kind one of " + ", ".join(KINDS),
                found=text,
                remedy="write for example random:0.75 or random:0.2+random:0.75+future:1",
            ) from None
    return tuple(masks)


def draw(seeds_B: Int64[Tensor, "B"], count: int) -> Int64[Tensor, "B count"]:
    """``count`` well-mixed 64-bit integers for each seed, the same on every device."""
    steps = torch.arange(1, count + 1, dtype=torch.int64, device=seeds_B.device)
    state = seeds_B[:, None] + steps * _GOLDEN
    state = (state ^ _shift(state, 30)) * _MIX_1
    state = (state ^ _shift(state, 27)) * _MIX_2
    return state ^ _shift(state, 31)


def _shift(value: Int64[Tensor, "*shape"], bits: int) -> Int64[Tensor, "*shape"]:
    """Logical right shift; torch's own keeps the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def hide(
    masks: tuple[Mask, ...], seeds_B: Int64[Tensor, "B"], present_BRC: Bool[Tensor, "B R C"]
) -> Bool[Tensor, "B R C"]:
    """The hidden patches of each window.

    Args:
        masks: one mask, or several of which each window's seed picks one by weight.
        seeds_B: one 64-bit number per window.
        present_BRC: patches that hold any valid value; shares are taken of these, and absent patches are never hidden.

    Raises:
        ConfigError: a future mask that leaves nothing to see.
    """
    if len(masks) == 1:
        return _hide_one(masks[0], seeds_B, present_BRC)
    weights = torch.tensor([mask.weight for mask in masks], dtype=torch.float64, device=seeds_B.device)
    # The upper 53 bits of one more draw, as a number in [0, 1); the seed is complemented so that it is independent.
    uniform_B = _shift(draw(~seeds_B, 1)[:, 0], 11).double() / float(1 << 53)
    choice_B = torch.searchsorted(weights.cumsum(0) / weights.sum(), uniform_B, right=True).clamp(max=len(masks) - 1)
    hidden_BRC = torch.zeros_like(present_BRC)
    for number, mask in enumerate(masks):
        chosen = (choice_B == number)[:, None, None]
        hidden_BRC |= _hide_one(mask, seeds_B, present_BRC) & chosen
    return hidden_BRC


def num_hidden(masks: tuple[Mask, ...], num_rows: int, num_columns: int) -> int | None:
    """How many patches of a window without absent patches are hidden; None for a mixture, where it depends."""
    if len(masks) > 1:
        return None
    (mask,) = masks
    if mask.kind == "future":
        return int(mask.amount) * num_rows
    if mask.kind == "parcel":
        return int(share_of(mask.amount, torch.tensor(num_rows))) * num_columns
    return int(share_of(mask.amount, torch.tensor(num_rows * num_columns)))


def share_of(share: float, count: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """How many of ``count`` places a share is, rounded half to even. Whoever counts hidden patches counts them here:
    a count that differs by one from the mask's would pass a hidden patch to the encoder."""
    return (share * count.double()).round().long()


def choose(share: float, seeds_B: Int64[Tensor, "B"], flag_BN: Bool[Tensor, "B N"]) -> Bool[Tensor, "B N"]:
    """A random subset of the flagged patches: round(share x flagged) of them, another draw than the masks'."""
    return _hide_share(share, seeds_B ^ _SUBSET, flag_BN)


def _hide_one(mask: Mask, seeds_B: Tensor, present_BRC: Tensor) -> Bool[Tensor, "B R C"]:
    if mask.kind == "future":
        return _hide_future(int(mask.amount), present_BRC)
    if mask.kind == "parcel":
        rows_BR = _hide_share(mask.amount, seeds_B, present_BRC.any(dim=2))
        return rows_BR[:, :, None] & present_BRC
    return _hide_share(mask.amount, seeds_B, present_BRC.flatten(1)).view_as(present_BRC)


def _hide_share(share: float, seeds_B: Tensor, present_BN: Bool[Tensor, "B N"]) -> Bool[Tensor, "B N"]:
    """Hide exactly round(share x present) of the present places, those with the smallest draws."""
    # Differs from the authors' code: padding and parcels without signal take no part in the draw.
    noise_BN = draw(seeds_B, present_BN.shape[1]).masked_fill(~present_BN, torch.iinfo(torch.int64).max)
    rank_BN = noise_BN.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank_BN < share_of(share, present_BN.sum(dim=1))[:, None]) & present_BN


def _hide_future(num_patches: int, present_BRC: Bool[Tensor, "B R C"]) -> Bool[Tensor, "B R C"]:
    """Hide the last ``num_patches`` temporal patches that hold any data, for all parcels."""
    num_columns = present_BRC.shape[2]
    if num_patches >= num_columns:
        raise ConfigError(
            f"a future mask of {num_patches} patches leaves nothing to see",
            expected=f"fewer than the window's {num_columns} temporal patches",
            found=str(num_patches),
            remedy="hide fewer patches, or use longer windows or shorter patches",
        )
    column = torch.arange(num_columns, device=present_BRC.device)
    last_B = torch.where(present_BRC.any(dim=1), column, -1).amax(dim=1)
    return (column > (last_B - num_patches)[:, None])[:, None, :] & present_BRC
