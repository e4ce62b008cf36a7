"""A trained model that takes recordings: embed, reconstruct, forecast, and see where it looks.

Everything is deterministic: nothing is masked unless asked, and masks come from a seed. What the input must be like
comes from the checkpoint and is checked (``checks.py``). The same on batches of tensors is ``network``
(``model/autoencoder.py``) with ``scaler`` in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.resampling import num_resampled, resampled
from brainlm.data.same_parcels import check_same_parcels
from brainlm.data.scaling import ScaledBatch, Scaler, TensorStatistics, warn_of_few
from brainlm.data.store import Store
from brainlm.data.windows import cut_windows, mix_seed, spread_starts
from brainlm.errors import ConfigError, DataError
from brainlm.inference.card import write_card
from brainlm.inference.checks import amplitudes, check_tr, is_trained_tr, warn_of_amplitude
from brainlm.inference.folder import Checkpoint, locate, read_checkpoint, write_checkpoint
from brainlm.inference.means import RunningMeans
from brainlm.inference.pooling import attend_windows, embed_windows
from brainlm.inference.released import released_checkpoint
from brainlm.inference.results import Attention, Embedding, Reconstruction
from brainlm.model.autoencoder import MaskedAutoencoder, OwnCovariance
from brainlm.model.config import ModelConfig
from brainlm.model.forecasting import PatchForecaster, check_context, longest_context
from brainlm.model.masks import Mask, MaskKind, hide
from brainlm.model.official import read_official

WINDOWS_AT_ONCE = 16  # windows of one recording that go through the network together


class BrainLM:
    """A network with all that belongs to it: scaler, parcels and where it comes from.

    ``BrainLM.from_pretrained(path_or_id)`` opens one; ``save_pretrained(folder)`` writes one.
    """

    def __init__(
        self,
        network: MaskedAutoencoder,
        scaler: Scaler,
        parcels: Parcels,
        provenance: Mapping[str, Any] | None = None,
        evaluation: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network.eval()
        self.scaler = scaler
        self.parcels = parcels
        self.provenance = dict(provenance or {})
        self.evaluation = evaluation

    def __repr__(self) -> str:
        atlas = self.provenance.get("data", {}).get("atlas")
        return (
            f"BrainLM({self.network.num_parameters:,} parameters, {len(self.parcels)} parcels"
            f"{f' of {atlas}' if atlas else ''}, windows of {self.config.num_timepoints} time points"
            f"{f' at TR {self.tr_s:g} s' if self.tr_s else ''}, {self.config.head} head, on {self.device})"
        )

    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, *, subfolder: str | None = None, parcels: Parcels | None = None
    ) -> BrainLM:
        """The model of a run folder, a checkpoint folder, a published folder or a Hugging Face Hub id.

        The published weights (old_13M, vitmae_111M, vitmae_650M) come without scaling statistics: call ``fit_scaler``.

        Args:
            path_or_id: such as ``runs/13m`` or ``vandijklab/brainlm``.
            subfolder: where in it the checkpoint is, such as ``old_13M``.
            parcels: of weights in a published layout that belong to another atlas than A424.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        folder = locate(path_or_id, subfolder=subfolder)
        official = read_official(folder)
        if official is None and parcels is not None:
            raise ConfigError("parcels are only for weights in a published layout", found=f"{folder} has its own")
        found = read_checkpoint(folder) if official is None else released_checkpoint(official, parcels=parcels)
        return cls(found.network, found.scaler, found.parcels, found.provenance, found.evaluation)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint folder that ``from_pretrained`` opens on any machine, with a model card.

        Raises:
            CheckpointError: the disk is full or the place cannot be written.
        """
        checkpoint = Checkpoint(self.network, self.scaler, self.parcels, self.provenance, self.evaluation)
        write_checkpoint(folder, checkpoint)
        write_card(Path(folder), checkpoint)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        token: str | None = None,
        commit_message: str | None = None,
        license: str | None = None,
    ) -> str:
        """Upload the model with its card to the Hugging Face Hub; returns its address. See ``hub.push_to_hub``."""
        from brainlm.inference.hub import push_to_hub

        return push_to_hub(self, repo_id, private=private, token=token, commit_message=commit_message, license=license)

    @property
    def config(self) -> ModelConfig:
        """The network's settings."""
        return self.network.config

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    def to(self, device: str | torch.device) -> BrainLM:
        """Move the network; returns the model itself.

        Raises:
            ConfigError: there is no such device here, or this build of PyTorch cannot use it.
        """
        try:
            self.network.to(device)
        except (AssertionError, RuntimeError, NotImplementedError) as error:  # what PyTorch raises, by build and device
            raise ConfigError(
                f"the model cannot be moved to the device {str(device)!r}",
                expected="cpu, or a device that this build of PyTorch finds (cuda, cuda:1, mps)",
                found=str(error).splitlines()[0],
                remedy="give --device cpu, or install a build of PyTorch for this device",
            ) from error
        return self

    @property
    def trained_tr_s(self) -> list[float]:
        """The repetition times (s) of the recordings that the model was trained on; empty when not recorded."""
        return [float(tr) for tr in self.provenance.get("data", {}).get("tr_s", ())]

    @property
    def tr_s(self) -> float | None:
        """The repetition time (s) that recordings are resampled to on request; None when not recorded."""
        usual = self.provenance.get("data", {}).get("usual_tr_s")
        return usual if usual is not None else median_low(self.trained_tr_s) if self.trained_tr_s else None

    def fit_scaler(self, cohort: Store | Sequence[Recording], *, resample: bool = False) -> BrainLM:
        """Fit the scaler on the recordings at hand; returns the model itself.

        Needed for the published weights, whose statistics nobody has. Leave test recordings out of the cohort. Fewer
        than 20 recordings are warned of.

        Args:
            cohort: of the model's parcels.
            resample: fit it on what ``embed`` and the others see with ``resample``. Each recording is resampled once
                more for this and then let go: of a store, no more than two are in memory.

        Raises:
            DataError: no recordings, other parcels than the model's, or no parcel varies.
        """
        kind, divisor = self.scaler.kind, self.scaler.divisor
        if isinstance(cohort, Store):
            self.check_store(cohort)
            trs, lengths = list(map(float, cohort.metadata["tr"])), cohort.num_timepoints.tolist()
        else:
            for recording in cohort:
                self.check_parcels(recording.num_parcels, what=f"recording {recording.name}")
            trs, lengths = [one.tr for one in cohort], [one.num_timepoints for one in cohort]
        used = [self._used_tr(tr, resample=resample) for tr in trs]
        if used != trs:
            made = (resampled(cohort[index], tr).bold for index, tr in enumerate(used))
            lengths = [num_resampled(*each) for each in zip(lengths, trs, used, strict=True)]
            self.scaler = Scaler.fit_one_by_one(made, lengths, kind, num_parcels=len(self.parcels), divisor=divisor)
        elif isinstance(cohort, Store):
            self.scaler = Scaler.fit(cohort, kind, allow_any_split=True, divisor=divisor)
        else:
            self.scaler = Scaler.fit_recordings([one.bold for one in cohort], kind, divisor=divisor)
        warn_of_few(len(cohort), kind)
        return self

    def _used_tr(self, tr: float, *, resample: bool) -> float:
        """The repetition time (s) that a recording of ``tr`` is used on."""
        if not resample or self.tr_s is None or is_trained_tr(tr, self.trained_tr_s):
            return tr
        return self.tr_s

    def prepare(self, recording: Recording, *, resample: bool = False) -> Recording:
        """The recording as the weights expect it, resampled if its repetition time is too far from theirs and if asked.

        Raises:
            DataError: other parcels than the model's, or a repetition time far from the trained ones.
        """
        what = f"recording {recording.name}"
        self.check_parcels(recording.num_parcels, what=what)
        recording = resampled(recording, self._used_tr(recording.tr, resample=resample))
        check_tr(recording.tr, self.trained_tr_s, what=what)
        return recording

    def scale(self, recording: Recording, starts: Int64[np.ndarray, "W"]) -> ScaledBatch:
        """The windows of a recording at these first time points, in the model's units and on its device.

        Time points beyond the recording's end are not valid.

        Raises:
            DataError: the recording has other parcels than the model.
            ConfigError: the scaler was never fitted.
        """
        self.check_parcels(recording.num_parcels, what=f"recording {recording.name}")
        raw_WPT = cut_windows(recording.bold, starts, self.config.num_timepoints).to(self.device)
        return self.scaler.apply(raw_WPT, self._statistics(recording).repeated(len(starts)))

    def _windows(self, recording: Recording) -> _ScaledWindows:
        """As many windows of a prepared recording as fit without overlap, scaled, their amplitude looked at."""
        starts = spread_starts(recording.num_timepoints, self.config.num_timepoints)
        scaled = self.scale(recording, starts)
        warn_of_amplitude(float(amplitudes(scaled).median()), self.scaler, what=f"recording {recording.name}")
        return _ScaledWindows(starts, scaled.signal_BPT, scaled.valid_BPT)

    def check_parcels(self, num_parcels: int, *, what: str) -> None:
        """Raise DataError unless ``what`` has the model's number of parcels."""
        if num_parcels != len(self.parcels):
            raise DataError(
                f"{what} does not fit the model",
                expected=f"{len(self.parcels)} parcels ({self.provenance.get('data', {}).get('atlas', 'its atlas')})",
                found=f"{num_parcels} parcels",
                remedy="parcellate with the model's atlas; its parcels.tsv says which",
            )

    def check_store(self, store: Store) -> None:
        """Raise DataError or AtlasError unless the store has the model's parcels in the model's order."""
        self.check_parcels(store.num_parcels, what=f"the store {store.path}")
        check_same_parcels(store.parcels, self.parcels, what=f"the store {store.path}")

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
    def embed(self, recording: Recording, *, resample: bool = False) -> Embedding:
        """The recording as vectors, from as many windows as fit without overlap; see ``Embedding``.

        Args:
            recording: of the model's parcels.
            resample: bring it to the model's repetition time if its own is too far from it.

        Raises:
            DataError: other parcels than the model's, or another repetition time.
            ConfigError: the scaler was never fitted.
        """
        windows = self._windows(self.prepare(recording, resample=resample))
        parts = [embed_windows(self.network, *windows.part(part)) for part in windows.slices]
        return Embedding(
            cls=torch.cat([part.cls_BD for part in parts]).mean(dim=0).cpu().numpy(),
            mean=torch.cat([part.mean_BD for part in parts]).mean(dim=0).cpu().numpy(),
            parcels=torch.cat([part.parcels_BPD for part in parts]).mean(dim=0).cpu().numpy(),
            windows=torch.cat([part.cls_BD for part in parts]).cpu().numpy(),
        )

    @torch.no_grad()
    def reconstruct(
        self,
        recording: Recording,
        *,
        mask: MaskKind = "random",
        ratio: float | int = 0.75,
        seed: int = 0,
        resample: bool = False,
    ) -> Reconstruction:
        """Hide parts of a recording and predict them back.

        Args:
            recording: of the model's parcels; cut into as many windows as fit without overlap.
            mask: what is hidden in each window.
            ratio: the share hidden, or for ``future`` the number of patches.
            seed: of the masks.
            resample: as in ``embed``; what comes back is then on that repetition time, too.

        Raises:
            DataError: other parcels than the model's, or another repetition time.
            ConfigError: a mask that cannot be made, or the scaler was never fitted.
        """
        recording = self.prepare(recording, resample=resample)
        scaled = self._windows(recording)
        starts = scaled.starts
        seeds_W = torch.from_numpy(mix_seed(seed, starts).view(np.int64)).to(self.device)
        hidden_WN = hide((Mask(mask, ratio),), seeds_W, self.network.present_grid(scaled.valid_BPT)).flatten(1)
        own = self.own_covariance(recording, starts, before_only=mask == "future")
        predicted_WPT = torch.cat(
            [
                self.network.reconstruct(
                    *scaled.part(part), hidden_WN[part], own=None if own is None else own.part(part)
                )
                for part in scaled.slices
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
    def forecast(
        self, recording: Recording, *, horizon: int = 20, context: int | None = None, resample: bool = False
    ) -> Float32[np.ndarray, "horizon P"]:
        """The ``horizon`` time points after the recording's end, in its own units; NaN for parcels without signal.

        The model sees the last points that fit into its window beside one hidden patch and predicts that patch; longer
        horizons go on from its own predictions, patch by patch. What comes before the context, the centre that scaling
        takes off included, makes no difference.

        Args:
            recording: of the model's parcels.
            horizon: time points to predict.
            context: how many of the recording's last time points to use, whole patches of them; by default as many as
                there are and the model can see.
            resample: as in ``embed``; the prediction is then on that repetition time, too.

        Raises:
            DataError: other parcels than the model's, or another repetition time, or fewer points than the context.
            ConfigError: the horizon is not positive, the context does not fit the model, its windows are a single
                patch, or its scaler was never fitted.
        """
        forecaster = PatchForecaster(self.network, horizon)
        recording = self.prepare(recording, resample=resample)
        if context is None:
            context = min(longest_context(self.config), recording.num_timepoints)
        else:
            check_context(self.config, context)
        if context > recording.num_timepoints:
            raise DataError(
                f"recording {recording.name} is shorter than the context",
                expected=f"{context} time points or more",
                found=str(recording.num_timepoints),
                remedy="choose a shorter context, or leave it out to use what there is",
            )
        bold_TP = recording.bold[-context:]
        statistics = TensorStatistics.of(bold_TP).to(self.device)
        scaled = self.scaler.apply(torch.from_numpy(bold_TP).T[None].to(self.device), statistics)
        warn_of_amplitude(float(amplitudes(scaled)), self.scaler, what=f"recording {recording.name}")
        future_1PH = self.scaler.restore(forecaster(scaled.signal_BPT, scaled.valid_BPT), statistics)
        present_1P1 = scaled.valid_BPT.any(dim=2, keepdim=True)
        return future_1PH.masked_fill(~present_1P1, torch.nan)[0].T.cpu().numpy()

    @torch.no_grad()
    def attention(
        self, recording: Recording, *, layer: int = -1, head: int | None = None, resample: bool = False
    ) -> Attention:
        """Where the encoder looks, from as many windows as fit without overlap; see ``Attention``.

        Args:
            recording: of the model's parcels.
            layer: the encoder block that ``cls``, ``parcels`` and ``lags`` are of, from 0, or from -1 at the end.
            head: the head that they are of; by default the mean over heads.
            resample: as in ``embed``.

        Raises:
            DataError: other parcels than the model's, or another repetition time.
            ConfigError: there is no such block or head, or the scaler was never fitted.
        """
        windows = self._windows(self.prepare(recording, resample=resample))
        means = RunningMeans()
        for number in range(len(windows.starts)):  # one at a time: rollout holds the queries and keys of all layers
            part = windows.part(slice(number, number + 1))
            means.add(attend_windows(self.network, *part, between=layer, head=head, rollout=True).quantities)
        mean = {name: values.float().numpy() for name, values in means.means().items()}
        heads_HP = mean["cls"][layer]
        return Attention(
            cls=heads_HP.mean(axis=0) if head is None else heads_HP[head],
            layers=mean["cls"],
            rollout=mean["rollout"],
            parcels=mean["rows"],
            lags=mean["between"],
        )


@dataclass(frozen=True, eq=False)
class _ScaledWindows:
    """The scaled windows of one recording and where they start, to be gone through a few at a time."""

    starts: Int64[np.ndarray, "W"]
    signal_BPT: Float32[Tensor, "W P T"]
    valid_BPT: Bool[Tensor, "W P T"]

    @property
    def slices(self) -> list[slice]:
        """Which go through the network together."""
        return [slice(first, first + WINDOWS_AT_ONCE) for first in range(0, len(self.starts), WINDOWS_AT_ONCE)]

    def part(self, windows: slice) -> tuple[Tensor, Tensor]:
        """Signal and validity of some of them."""
        return self.signal_BPT[windows], self.valid_BPT[windows]


def _laid_out(
    values_WPT: Tensor, starts: Int64[np.ndarray, "W"], num_timepoints: int, empty: float | bool
) -> np.ndarray:
    """Windows back in their places of the recording, (T, P); ``empty`` where no window was."""
    values_WTP = values_WPT.transpose(1, 2).cpu().numpy()
    out = np.full((num_timepoints, values_WTP.shape[2]), empty, dtype=values_WTP.dtype)
    for window_TP, start in zip(values_WTP, starts, strict=True):
        out[start : start + len(window_TP)] = window_TP[: num_timepoints - start]
    return out
