"""A trained model that takes recordings: embed, reconstruct, forecast, and see where it looks.

Everything is deterministic: nothing is masked unless asked, and masks come from a seed. The same on batches of tensors
is ``network`` (``model/autoencoder.py``) with ``scaler`` in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.scaling import ScaledBatch, Scaler, TensorStatistics
from brainlm.data.windows import mix_seed, spread_starts
from brainlm.errors import ConfigError, DataError
from brainlm.inference.folder import Checkpoint, locate, read_checkpoint, write_checkpoint
from brainlm.inference.results import Attention, Embedding, Reconstruction
from brainlm.model.attention import ClsWatch, cls_attention, parcel_attention
from brainlm.model.autoencoder import MaskedAutoencoder, OwnCovariance, Places
from brainlm.model.config import ModelConfig
from brainlm.model.masks import Mask, MaskKind, hide

WINDOWS_AT_ONCE = 16  # windows of one recording that go through the network together


class BrainLM:
    """A network with all that belongs to it: scaler, parcels and where it comes from.

    ``BrainLM.from_pretrained(path_or_id)`` opens one; ``save_pretrained(folder)`` writes one.
    """

    def __init__(
        self, network: MaskedAutoencoder, scaler: Scaler, parcels: Parcels, provenance: Mapping[str, Any] | None = None
    ) -> None:
        self.network = network.eval()
        self.scaler = scaler
        self.parcels = parcels
        self.provenance = dict(provenance or {})

    @classmethod
    def from_pretrained(cls, path_or_id: str | Path) -> BrainLM:
        """The model of a run folder, a checkpoint folder or a Hugging Face Hub id.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        checkpoint = read_checkpoint(locate(path_or_id))
        return cls(checkpoint.network, checkpoint.scaler, checkpoint.parcels, checkpoint.provenance)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint folder that ``from_pretrained`` opens on any machine."""
        write_checkpoint(folder, Checkpoint(self.network, self.scaler, self.parcels, self.provenance))

    @property
    def config(self) -> ModelConfig:
        """The network's settings."""
        return self.network.config

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    def to(self, device: str | torch.device) -> BrainLM:
        """Move the network; returns the model itself."""
        self.network.to(device)
        return self

    def scale(self, recording: Recording, starts: Int64[np.ndarray, "W"]) -> ScaledBatch:
        """The windows of a recording at these first time points, in the model's units and on its device.

        Time points beyond the recording's end are not valid.

        Raises:
            DataError: the recording has other parcels than the model.
        """
        self.check_parcels(recording.num_parcels, what=f"recording {recording.name}")
        length = self.config.num_timepoints
        padded_TP = np.full((max(recording.num_timepoints, int(starts.max()) + length), recording.num_parcels), np.nan)
        padded_TP[: recording.num_timepoints] = recording.bold
        raw_WTP = np.stack([padded_TP[start : start + length] for start in starts]).astype(np.float32)
        raw_WPT = torch.from_numpy(raw_WTP).to(self.device).transpose(1, 2)
        return self.scaler.apply(raw_WPT, _repeated(self._statistics(recording), len(starts)))

    def check_parcels(self, num_parcels: int, *, what: str) -> None:
        """Raise DataError unless ``what`` has the model's number of parcels."""
        if num_parcels != len(self.parcels):
            raise DataError(
                f"{what} does not fit the model",
                expected=f"{len(self.parcels)} parcels ({self.provenance.get('data', {}).get('atlas', 'its atlas')})",
                found=f"{num_parcels} parcels",
                remedy="parcellate with the model's atlas; its parcels.tsv says which",
            )

    def _statistics(self, recording: Recording) -> TensorStatistics:
        return TensorStatistics.of(recording.bold).to(self.device)

    def own_covariance(
        self, recording: Recording, starts: Int64[np.ndarray, "W"], *, before_only: bool = False
    ) -> OwnCovariance | None:
        """The recording's own covariance outside each window (or only before it), for a Gaussian head that uses it.

        None for a model that does not.
        """
        if not self.config.own_covariance_points:
            return None
        raw_1PT = torch.from_numpy(recording.bold).T[None].to(self.device)
        scaled_TP = self.scaler.apply(raw_1PT, self._statistics(recording)).signal_BPT[0].T
        length = self.config.num_timepoints
        behind = [len(scaled_TP) if before_only else start + length for start in starts]
        outside = [torch.cat((scaled_TP[:start], scaled_TP[end:])) for start, end in zip(starts, behind, strict=True)]
        return OwnCovariance.of(outside, num_parcels=len(self.parcels))

    @torch.no_grad()
    def embed(self, recording: Recording) -> Embedding:
        """The recording as vectors, from as many windows as fit without overlap; see ``Embedding``.

        Raises:
            DataError: the recording has other parcels than the model.
        """
        starts = spread_starts(recording.num_timepoints, self.config.num_timepoints)
        scaled = self.scale(recording, starts)
        parts = [
            embed_windows(self.network, scaled.signal_BPT[part], scaled.valid_BPT[part])
            for part in _slices(len(starts))
        ]
        return Embedding(
            cls=torch.cat([part.cls_BD for part in parts]).mean(dim=0).cpu().numpy(),
            mean=torch.cat([part.mean_BD for part in parts]).mean(dim=0).cpu().numpy(),
            parcels=torch.cat([part.parcels_BPD for part in parts]).mean(dim=0).cpu().numpy(),
            windows=torch.cat([part.cls_BD for part in parts]).cpu().numpy(),
        )

    @torch.no_grad()
    def reconstruct(
        self, recording: Recording, *, mask: MaskKind = "random", ratio: float | int = 0.75, seed: int = 0
    ) -> Reconstruction:
        """Hide parts of a recording and predict them back.

        Args:
            recording: of the model's parcels; cut into as many windows as fit without overlap.
            mask: what is hidden in each window.
            ratio: the share hidden, or for ``future`` the number of patches.
            seed: of the masks.

        Raises:
            DataError: other parcels than the model's.
            ConfigError: a mask that cannot be made.
        """
        starts = spread_starts(recording.num_timepoints, self.config.num_timepoints)
        scaled = self.scale(recording, starts)
        seeds_W = torch.from_numpy(mix_seed(seed, starts).view(np.int64)).to(self.device)
        hidden_WN = hide((Mask(mask, ratio),), seeds_W, self.network.present_grid(scaled.valid_BPT)).flatten(1)
        own = self.own_covariance(recording, starts, before_only=mask == "future")
        predicted_WPT = torch.cat(
            [
                self.network.reconstruct(
                    scaled.signal_BPT[part],
                    scaled.valid_BPT[part],
                    hidden_WN[part],
                    own=None if own is None else own.part(part),
                )
                for part in _slices(len(starts))
            ]
        )
        hidden_WPT = self.network.tokenizer.expand(hidden_WN) & scaled.valid_BPT
        true, guess = scaled.signal_BPT[hidden_WPT].double(), predicted_WPT[hidden_WPT].double()
        r2 = 1 - (true - guess).square().sum() / (true - true.mean()).square().sum()

        def laid_out(values_WPT: Tensor, empty: float | bool) -> np.ndarray:
            return _laid_out(values_WPT, starts, recording.num_timepoints, empty)

        return Reconstruction(
            signal=laid_out(scaled.signal_BPT.masked_fill(~scaled.valid_BPT, torch.nan), np.nan),
            predicted=laid_out(predicted_WPT.masked_fill(~scaled.valid_BPT, torch.nan), np.nan),
            hidden=laid_out(hidden_WPT, False),
            r2=float(r2),
        )

    @torch.no_grad()
    def forecast(self, recording: Recording, *, horizon: int = 20) -> Float32[np.ndarray, "horizon P"]:
        """The ``horizon`` time points after the recording's end, in its own units; NaN for parcels without signal.

        The model sees the last points that fit into its window beside one hidden patch and predicts that patch; longer
        horizons go on from its own predictions, patch by patch.

        Raises:
            DataError: other parcels than the model's.
            ConfigError: the horizon is not positive, or the model's windows are a single patch.
        """
        step, length = self.config.timepoints_per_patch, self.config.num_timepoints
        if horizon < 1 or length == step:
            raise ConfigError(
                "nothing can be forecast",
                expected="a horizon of at least 1 and a model with more than one patch in time",
                found=f"horizon {horizon}, windows of {length} points in patches of {step}",
            )
        statistics = self._statistics(recording)
        raw_1PT = torch.from_numpy(recording.bold).T[None].to(self.device)
        self.check_parcels(recording.num_parcels, what=f"recording {recording.name}")
        scaled = self.scaler.apply(raw_1PT, statistics)
        present_P1 = scaled.valid_BPT[0].any(dim=1, keepdim=True)
        own = None
        if self.config.own_covariance_points:
            own = OwnCovariance.of([scaled.signal_BPT[0].T], num_parcels=len(self.parcels))
        known_PT = scaled.signal_BPT[0]
        while known_PT.shape[1] < recording.num_timepoints + horizon:
            next_PT = self._next_patch(known_PT, present_P1, own)
            known_PT = torch.cat((known_PT, next_PT), dim=1)
        future_1PT = known_PT[None, :, recording.num_timepoints :][:, :, :horizon]
        restored_PT = self.scaler.restore(future_1PT, statistics)[0].masked_fill(~present_P1, torch.nan)
        return restored_PT.T.cpu().numpy()

    def _next_patch(self, known_PT: Tensor, present_P1: Tensor, own: OwnCovariance | None) -> Float[Tensor, "P step"]:
        """The patch that follows ``known_PT`` (scaled); what lies before a short past is not valid."""
        step, length = self.config.timepoints_per_patch, self.config.num_timepoints
        past_PT = known_PT[:, -(length - step) :]
        signal_PT = past_PT.new_zeros(past_PT.shape[0], length)
        signal_PT[:, length - step - past_PT.shape[1] : length - step] = past_PT
        valid_PT = present_P1.expand(-1, length).clone()
        valid_PT[:, : length - step - past_PT.shape[1]] = False
        grid = self.network.present_grid(valid_PT[None])
        hidden_1N = hide((Mask("future", 1),), torch.zeros(1, dtype=torch.int64, device=self.device), grid).flatten(1)
        return self.network.reconstruct(signal_PT[None], valid_PT[None], hidden_1N, own=own)[0, :, -step:]

    @torch.no_grad()
    def attention(self, recording: Recording, *, layer: int = -1) -> Attention:
        """Where one encoder block looks, the last by default; see ``Attention``.

        Raises:
            DataError: other parcels than the model's.
            ConfigError: there is no such block.
        """
        starts = spread_starts(recording.num_timepoints, self.config.num_timepoints)
        scaled = self.scale(recording, starts)
        cls_WP, parcels_WPP = [], []
        for part in _slices(len(starts)):
            windows = scaled.signal_BPT[part], scaled.valid_BPT[part]
            cls_WP.append(parcel_share(self.network, cls_attention(self.network, *windows, layer=layer).mean(dim=1)))
            parcels_WPP.append(_between_parcels(self.network, parcel_attention(self.network, *windows, layer=layer)))
        return Attention(
            cls=torch.cat(cls_WP).mean(dim=0).cpu().numpy(), parcels=torch.cat(parcels_WPP).mean(dim=0).cpu().numpy()
        )


@dataclass(frozen=True, eq=False)
class WindowEmbedding:
    """A batch of windows as vectors, float32: CLS, the mean over patches, and each parcel's mean over time (NaN where
    it has no signal).
    """

    cls_BD: Float32[Tensor, "B D"]
    mean_BD: Float32[Tensor, "B D"]
    parcels_BPD: Float32[Tensor, "B P D"]


@torch.no_grad()
def embed_windows(
    network: MaskedAutoencoder,
    signal_BPT: Float[Tensor, "B P T"],
    valid_BPT: Bool[Tensor, "B P T"],
    *,
    watch: ClsWatch | None = None,
) -> WindowEmbedding:
    """Scaled windows as vectors, with nothing masked; ``watch`` sees where CLS looks on the way."""
    # Differs from the authors' code, where 75 % of the tokens are hidden at random also when embedding.
    tokenizer = network.tokenizer
    present_BN = network.present(valid_BPT)
    if watch is None:
        encoding = network.encode(signal_BPT, visible=Places.of(present_BN))
    else:
        encoding = network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    tokens_BKD = encoding.tokens_BKD.float()
    index_BKD = encoding.places.index_BK[:, :, None].expand_as(tokens_BKD)
    tokens_BND = tokens_BKD.new_zeros(*present_BN.shape, tokens_BKD.shape[2]).scatter(1, index_BKD, tokens_BKD)
    tokens_BND = tokens_BND * present_BN[:, :, None]
    grid = (tokenizer.num_rows, tokenizer.num_columns)
    count_BR = present_BN.unflatten(1, grid).sum(dim=2)
    rows_BRD = tokens_BND.unflatten(1, grid).sum(dim=2) / count_BR[:, :, None]
    parcels_BPD = rows_BRD[:, tokenizer.rows_of_parcels()]
    return WindowEmbedding(
        cls_BD=encoding.cls_BD.float(),
        mean_BD=tokens_BND.sum(dim=1) / present_BN.sum(dim=1, keepdim=True),
        parcels_BPD=parcels_BPD.masked_fill(~valid_BPT.any(dim=2)[:, :, None], torch.nan),
    )


def parcel_share(network: MaskedAutoencoder, attention_BN: Float[Tensor, "B N"]) -> Float[Tensor, "B P"]:
    """Attention to patches, summed over time and shared equally among the parcels of each patch."""
    tokenizer = network.tokenizer
    rows = tokenizer.rows_of_parcels()
    by_row_BR = attention_BN.unflatten(1, (tokenizer.num_rows, tokenizer.num_columns)).sum(dim=2)
    return (by_row_BR / torch.bincount(rows, minlength=tokenizer.num_rows))[:, rows]


def _between_parcels(network: MaskedAutoencoder, attention_BRR: Float[Tensor, "B R R"]) -> Float[Tensor, "B P P"]:
    rows = network.tokenizer.rows_of_parcels()
    shared_BRR = attention_BRR / torch.bincount(rows, minlength=network.tokenizer.num_rows)
    return shared_BRR[:, rows][:, :, rows]


def _slices(count: int) -> list[slice]:
    return [slice(first, first + WINDOWS_AT_ONCE) for first in range(0, count, WINDOWS_AT_ONCE)]


def _repeated(statistics: TensorStatistics, count: int) -> TensorStatistics:
    return TensorStatistics(*(part.expand(count, -1) for part in (statistics.median, statistics.mean, statistics.std)))


def _laid_out(
    values_WPT: Tensor, starts: Int64[np.ndarray, "W"], num_timepoints: int, empty: float | bool
) -> np.ndarray:
    """Windows back in their places of the recording, (T, P); ``empty`` where no window was."""
    values_WTP = values_WPT.transpose(1, 2).cpu().numpy()
    out = np.full((num_timepoints, values_WTP.shape[2]), empty, dtype=values_WTP.dtype)
    for window_TP, start in zip(values_WTP, starts, strict=True):
        out[start : start + len(window_TP)] = window_TP[: num_timepoints - start]
    return out
