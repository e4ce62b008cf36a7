"""The linear guess: hidden parcels from the visible ones of the same time point, under a known covariance.

Pure tensors: the model uses it to fill hidden tokens, ``baselines/gaussian.py`` as a method of its own. Where
covariances come from belongs there. B windows, P parcels, T time points, G groups (runs of time points of one
window that see the same parcels), L time points of the longest group, K visible parcels of the fullest group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

# Bytes of matrices factorised at a time: on the CPU near the cache's size, elsewhere only to bound memory.
CHUNK_BYTES_CPU = 2**24
CHUNK_BYTES_DEVICE = 2**28

# Added to the diagonal of a recording's own covariance, relative to the mean variance: few points leave it singular.
OWN_RIDGE = 1e-4


def conditional_mean(
    covariance: Float[Tensor, "P P"] | Float[Tensor, "B P P"],
    signal_BPT: Float[Tensor, "B P T"],
    visible_BPT: Bool[Tensor, "B P T"],
) -> Float[Tensor, "B P T"]:
    """E[x | visible x] of zero-mean Gaussian x, time point by time point.

    Sigma_hv Sigma_vv^-1 x_v where hidden, the signal itself where visible, 0 at time points of which nothing is
    visible. Neighbouring time points with the same visible parcels share one Cholesky factorisation of just
    those parcels, so patch masks cost one small solve per patch. Values outside ``visible_BPT`` are not looked
    at (they may be NaN). Computed in float32 (float64 for a float64 covariance) even under autocast; gradients
    flow to the covariance and the visible signal.

    Args:
        covariance: positive definite; one for all windows or one for each.

    Raises:
        torch.linalg.LinAlgError: a covariance is not positive definite.
    """
    with torch.autocast(signal_BPT.device.type, enabled=False):
        dtype = torch.float64 if covariance.dtype == torch.float64 else torch.float32
        covariance = covariance.to(dtype)
        seen_BTP = visible_BPT.transpose(1, 2).contiguous()
        signal_BTP = signal_BPT.transpose(1, 2).to(dtype).masked_fill(~seen_BTP, 0.0)
        weights_BTP = _solve_visible(covariance, signal_BTP, seen_BTP)
        mean_BTP = weights_BTP @ covariance
        return torch.where(seen_BTP, signal_BTP, mean_BTP).transpose(1, 2).to(signal_BPT.dtype)


def conditional_scatter(
    covariance: Float[Tensor, "P P"] | Float[Tensor, "B P P"], visible_BPT: Bool[Tensor, "B P T"]
) -> Float[Tensor, "B P P"]:
    """The sum over time points of Cov[x | visible x] for zero-mean Gaussian x.

    Sigma - Sigma_:v Sigma_vv^-1 Sigma_v: a time point, which is 0 where a parcel is visible. With the second moment of
    ``conditional_mean`` it makes the expected second moment of a window (Dempster, Laird & Rubin 1977, section 4.1).
    Time points of which nothing or everything is visible add nothing.

    Raises:
        torch.linalg.LinAlgError: a covariance is not positive definite.
    """
    num_windows, num_parcels, num_timepoints = visible_BPT.shape
    seen_BTP = visible_BPT.transpose(1, 2).contiguous()
    each_BPP = covariance.expand(num_windows, num_parcels, num_parcels)
    total_BPP = torch.zeros_like(each_BPP, memory_format=torch.contiguous_format)
    for block in _blocks(covariance, seen_BTP):
        window_G = block.time_GL[:, 0] // num_timepoints
        num_points_G = (block.time_GL < num_windows * num_timepoints).sum(dim=1)
        cross_GPK = F.pad(each_BPP[window_G], (0, 1)).gather(2, block.parcel_GK[:, None, :].expand(-1, num_parcels, -1))
        explained_GPP = cross_GPK @ torch.cholesky_solve(cross_GPK.transpose(1, 2), block.factor_GKK)
        total_BPP.index_add_(0, window_G, num_points_G[:, None, None] * (each_BPP[window_G] - explained_GPP))
    return total_BPP


def sized_as(population_PP: Float[Tensor, "P P"], own_BPP: Float[Tensor, "B P P"]) -> Float[Tensor, "B P P"]:
    """Recordings' own second moments at the population's size, positive definite at any rank.

    The conditional mean does not depend on a common scale, but a blend of two covariances does. The size is the mean
    variance over the parcels that a recording has: one that it lacks has second moment 0 and takes no part.
    """
    own_BP = own_BPP.diagonal(dim1=1, dim2=2)
    wanted_B = (population_PP.diagonal() * (own_BP > 0)).sum(dim=1)
    size_B = own_BP.sum(dim=1)
    sized_BPP = own_BPP * torch.where(size_B > 0, wanted_B / size_B, 0.0)[:, None, None]
    sized_BPP.diagonal(dim1=1, dim2=2).add_(OWN_RIDGE * population_PP.diagonal().mean())
    return sized_BPP


def _solve_visible(covariance: Tensor, signal_BTP: Tensor, seen_BTP: Tensor) -> Tensor:
    """Sigma_vv^-1 x_v where time points are partly visible, 0 elsewhere: (B, T, P)."""
    padded_signal = F.pad(signal_BTP.flatten(0, 1), (0, 1, 0, 1))
    padded_weights = torch.zeros_like(padded_signal)
    for block in _blocks(covariance, seen_BTP):
        place_GKL = block.time_GL[:, None, :], block.parcel_GK[:, :, None]
        padded_weights[place_GKL] = torch.cholesky_solve(padded_signal[place_GKL], block.factor_GKK)
    return padded_weights[:-1, :-1].view_as(signal_BTP)


@dataclass(frozen=True)
class _Block:
    """Groups factorised together.

    Groups are ragged; what is missing points to one more parcel (index P) and one more time point (index B * T,
    windows being laid end to end) that are zero everywhere, so that padding needs no masks.
    """

    factor_GKK: Tensor
    time_GL: Tensor
    parcel_GK: Tensor


def _blocks(covariance: Tensor, seen_BTP: Tensor) -> Iterator[_Block]:
    """The Cholesky factors of all groups with both visible and hidden parcels, a chunk at a time."""
    num_windows, num_timepoints, num_parcels = seen_BTP.shape
    starts_N = _group_starts(seen_BTP)
    lengths_N = torch.diff(starts_N, append=starts_N.new_tensor([num_windows * num_timepoints]))
    seen_NP = seen_BTP.flatten(0, 1)[starts_N]
    counts_N = seen_NP.sum(dim=1)
    group_G = ((counts_N > 0) & (counts_N < num_parcels)).nonzero().squeeze(1)
    # Sorted by size, so that a chunk of nearly equal groups pads little; the sizes go to the host once.
    group_G = group_G[torch.argsort(counts_N[group_G], stable=True)]
    counts = counts_N[group_G].tolist()
    offset_L = torch.arange(int(lengths_N.max()), device=starts_N.device)
    padded_covariance = F.pad(covariance, (0, 1, 0, 1))
    for begin, end in _chunks(counts, covariance.element_size(), on_cpu=covariance.device.type == "cpu"):
        part_G = group_G[begin:end]
        start_G1, length_G1 = starts_N[part_G, None], lengths_N[part_G, None]
        parcel_GK = _visible_parcels(seen_NP[part_G], width=counts[end - 1])
        matrices_GKK = _submatrices(padded_covariance, start_G1[:, 0] // num_timepoints, parcel_GK)
        yield _Block(
            factor_GKK=torch.linalg.cholesky(matrices_GKK),
            time_GL=torch.where(offset_L < length_G1, start_G1 + offset_L, num_windows * num_timepoints),
            parcel_GK=parcel_GK,
        )


def _group_starts(seen_BTP: Tensor) -> Tensor:
    """The time points (windows laid end to end) where the visible parcels change or a window begins."""
    begins_BT = torch.ones(seen_BTP.shape[:2], dtype=torch.bool, device=seen_BTP.device)
    begins_BT[:, 1:] = (seen_BTP[:, 1:] != seen_BTP[:, :-1]).any(dim=2)
    return begins_BT.flatten().nonzero().squeeze(1)


def _chunks(counts: list[int], element_size: int, *, on_cpu: bool) -> list[tuple[int, int]]:
    """Ranges of groups whose padded matrices fit into a chunk; ``counts`` ascend."""
    limit = CHUNK_BYTES_CPU if on_cpu else CHUNK_BYTES_DEVICE
    ranges, end = [], len(counts)
    while end > 0:
        begin = max(0, end - max(1, limit // (counts[end - 1] ** 2 * element_size)))
        ranges.append((begin, end))
        end = begin
    return ranges


def _visible_parcels(seen_GP: Tensor, width: int) -> Tensor:
    """The visible parcels of each group in ascending order, filled up with index P: (G, K = width)."""
    real_GK, parcel_GK = torch.sort(seen_GP.to(torch.uint8), dim=1, descending=True, stable=True)
    return parcel_GK[:, :width].masked_fill(real_GK[:, :width] == 0, seen_GP.shape[1])


def _submatrices(padded_covariance: Tensor, window_G: Tensor, parcel_GK: Tensor) -> Tensor:
    """The covariance of each group's visible parcels, filled up with the identity: (G, K, K)."""
    rows_GK1, columns_G1K = parcel_GK[:, :, None], parcel_GK[:, None, :]
    if padded_covariance.dim() == 2:
        picked_GKK = padded_covariance[rows_GK1, columns_G1K]
    else:
        picked_GKK = padded_covariance[window_G[:, None, None], rows_GK1, columns_G1K]
    filling_GK = parcel_GK == padded_covariance.shape[-1] - 1
    picked_GKK.diagonal(dim1=1, dim2=2).add_(filling_GK)
    return picked_GKK
