"""Another view of what matters: integrated gradients of the summary vector with respect to the signal, by captum.

Attention says what CLS looks at, gradients say what changes it. Shapes: B windows, P parcels, T time points, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from brainlm.data.store import Store
from brainlm.evaluation.attention.sample import sample_batches
from brainlm.inference.brainlm import BrainLM
from brainlm.model.autoencoder import MaskedAutoencoder, Places

STEPS = 16  # of the path from a silent window to the true one
AT_ONCE = 8  # windows on the path that go through the network together
WHAT = (
    "integrated gradients, from a window without signal, of the CLS vector along its mean displacement from that of "
    "such a window; absolute values summed over time, as shares of all parcels"
)


@dataclass(frozen=True, eq=False)
class Attribution:
    """Shares of each recording's attribution, NaN = no signal; ``error_M`` is by how much the attributions of a window
    miss what they should add up to, relative to that.
    """

    share_MP: Float32[np.ndarray, "M P"]
    error_M: Float32[np.ndarray, "M"]


def attribute(
    model: BrainLM,
    store: Store,
    recordings: Int64[np.ndarray, "M"],
    *,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Attribution:
    """Integrated gradients (Sundararajan et al. 2017, ICML) in the middle window of each of ``recordings``.

    A window without signal is zero everywhere: every parcel stays at the recording's own centre.
    """
    from captum.attr import IntegratedGradients

    network = model.network
    direction_D = _displacement(model, store, recordings, resample=resample)

    def along(signal_BPT: Tensor, valid_BPT: Tensor) -> Tensor:
        return _cls(network, signal_BPT, valid_BPT) @ direction_D

    gradients = IntegratedGradients(along)
    shares, errors = [], []
    for batch in sample_batches(model, store, recordings, batch_size=1, resample=resample):
        signal_BPT = batch.signal_BPT.detach().requires_grad_()
        found_BPT, delta_B = gradients.attribute(
            signal_BPT,
            additional_forward_args=(batch.valid_BPT,),
            n_steps=STEPS,
            internal_batch_size=AT_ONCE,
            return_convergence_delta=True,
        )
        total = found_BPT.sum() - delta_B.sum()
        sums_P = (found_BPT.abs() * batch.valid_BPT).sum(dim=2)[0]
        share_P = (sums_P / sums_P.sum()).masked_fill(~batch.valid_BPT[0].any(dim=1), torch.nan)
        shares.append(share_P.detach().cpu().float().numpy())
        errors.append(float((delta_B.sum() / total).abs().detach()))
        if on_progress is not None:
            on_progress(len(shares), len(recordings))
    return Attribution(np.stack(shares), np.array(errors, dtype=np.float32))


@torch.no_grad()
def _displacement(
    model: BrainLM, store: Store, recordings: Int64[np.ndarray, "M"], *, resample: bool
) -> Float[Tensor, "D"]:
    """The unit vector from the CLS of a silent window to the mean one of the windows."""
    moved = []
    for batch in sample_batches(model, store, recordings, batch_size=AT_ONCE, resample=resample):
        full_BD = _cls(model.network, batch.signal_BPT, batch.valid_BPT)
        silent_BD = _cls(model.network, torch.zeros_like(batch.signal_BPT), batch.valid_BPT)
        moved.append(full_BD - silent_BD)
    mean_D = torch.cat(moved).mean(dim=0)
    return mean_D / mean_D.norm()


def _cls(
    network: MaskedAutoencoder, signal_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]
) -> Float[Tensor, "B D"]:
    return network.encode(signal_BPT, visible=Places.of(network.seen(valid_BPT))).cls_BD.float()
