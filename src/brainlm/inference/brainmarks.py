"""Our checkpoints as the benchmark suite Brainmarks wants them: a transform of samples and a module over batches.

The suite (Lane et al. 2025, arXiv 2510.13768) is not imported here; the plug-ins that it finds, and that register what
is here, are in ``src/brainmarks``. Shapes: B recordings, W windows, V windows that are there, P parcels, T time points,
N patches, L of them that can hold signal, K visible ones, D width.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from brainlm.data.recording import Recording
from brainlm.data.resampling import resampled
from brainlm.data.scaling import ScaledBatch, Scaler, TensorStatistics, warn_of_few
from brainlm.data.windows import cut_windows, spread_starts
from brainlm.errors import ConfigError, DataError
from brainlm.inference.brainlm import WINDOWS_AT_ONCE, BrainLM
from brainlm.inference.checks import amplitudes, check_tr, is_trained_tr, warn_of_amplitude
from brainlm.inference.pooling import tokens_in_place
from brainlm.model.autoencoder import MaskedAutoencoder, Places

CHECKPOINT_VARIABLE = "BRAINLM_CHECKPOINT"

# The suite's parcellated spaces and their number of parcels (DATA_DIMS in brainmarks/readers.py, version 0.1.1).
SPACES = {"a424": 424, "schaefer400": 400, "schaefer400_tians3": 450, "schaefer400_tians3_buckner7": 457}

Sample = Mapping[str, Any]


@runtime_checkable
class Samples(Protocol):
    """A dataset of the suite, or a list of its samples."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class BatchEmbeddings(NamedTuple):
    """What the suite unpacks: (B, 1, D), nothing (there are no register tokens) and (B, W·L, D)."""

    cls_embeds: Float32[Tensor, "B 1 D"]
    reg_embeds: None
    patch_embeds: Float32[Tensor, "B tokens D"]


def checkpoint_model(
    checkpoint: str | None = None,
    *,
    space: str | None = None,
    resample: bool = True,
    refit: bool = False,
    num_windows: int | None = None,
) -> tuple[SampleTransform, EmbeddingModule]:
    """A transform and a module that embed recordings as ``BrainLM.embed`` does.

    Args:
        checkpoint: a run folder, a checkpoint folder or a Hub id; by default what ``BRAINLM_CHECKPOINT`` names.
        space: the suite's name of the model's parcels; by default the space with the model's number of parcels.
        resample: bring recordings to the model's repetition time where ``BrainLM.embed`` would refuse theirs.
        refit: fit the scaler on the dataset's training recordings even if the checkpoint has its own.
        num_windows: at most this many windows of every recording, evenly spread; without it, all.

    Raises:
        ConfigError: no checkpoint was named, or the space is not one of the model's.
        CheckpointError: it cannot be opened.
    """
    name = checkpoint or os.environ.get(CHECKPOINT_VARIABLE)
    if not name:
        raise ConfigError(
            "no checkpoint was named for the Brainmarks model brainlm_checkpoint",
            expected="a run folder, a checkpoint folder or a Hub id",
            found=f"neither model_kwargs.checkpoint nor the environment variable {CHECKPOINT_VARIABLE}",
            remedy=f"add model_kwargs.checkpoint=PATH behind --overrides, or set {CHECKPOINT_VARIABLE}",
        )
    model = BrainLM.from_pretrained(name)
    found_space = space_of(len(model.parcels), space)
    preparation = Preparation(
        num_parcels=len(model.parcels),
        num_timepoints=model.config.num_timepoints,
        trained_tr_s=tuple(model.trained_tr_s),
        tr_s=model.tr_s,
        resample=resample,
        refit=refit,
        num_windows=num_windows,
    )
    return SampleTransform(model.scaler, preparation), EmbeddingModule(model.network, found_space)


def space_of(num_parcels: int, space: str | None = None) -> str:
    """The suite's space of a model or of recordings with this many parcels.

    A name that the suite does not know goes, for a dataset of one's own; every sample's parcels are counted anyway.

    Raises:
        ConfigError: the space has another number of parcels, or none was given and none has this one.
    """
    if space is not None:
        if SPACES.get(space, num_parcels) != num_parcels:
            raise ConfigError(
                f"{num_parcels} parcels do not make the space {space}",
                expected=f"{SPACES[space]} parcels",
                found=f"{num_parcels}",
                remedy="take a checkpoint (and data) of that atlas, or another space",
            )
        return space
    fitting = [name for name, number in SPACES.items() if number == num_parcels]
    if len(fitting) != 1:
        raise ConfigError(
            f"{len(fitting) or 'none'} of the spaces of Brainmarks has the model's number of parcels",
            expected=", ".join(f"{number} ({name})" for name, number in SPACES.items()),
            found=f"a model of {num_parcels} parcels",
            remedy="name the space with model_kwargs.space; for a dataset of your own it may be any word",
        )
    return fitting[0]


@dataclass(frozen=True)
class Preparation:
    """How samples become windows: what the checkpoint says, and what the user chose (see ``checkpoint_model``).

    ``trained_tr_s`` and ``tr_s`` are ``BrainLM``'s: the repetition times of training, and the one to resample to.
    """

    num_parcels: int
    num_timepoints: int
    trained_tr_s: tuple[float, ...] = ()
    tr_s: float | None = None
    resample: bool = True
    refit: bool = False
    num_windows: int | None = None

    def __post_init__(self) -> None:
        if self.num_windows is not None and self.num_windows < 1:
            raise ConfigError("a recording needs at least one window", found=f"num_windows={self.num_windows}")


class SampleTransform:
    """From a sample of the suite to scaled windows, in the reading process and on its processor.

    A sample's ``bold`` (T, P) was scaled by its ``mean`` and ``std`` (1, P); here it is brought back to its own units
    and then treated as ``BrainLM.embed`` treats a recording. ``signal`` (W, P, T) and ``valid`` take its place, the
    same number W of windows for every recording, so that they make a batch: ``num_windows``, or the largest number
    among the training recordings, known after ``fit``. Windows that a recording lacks are not valid; of a longer
    recording W are taken, evenly spread.
    """

    def __init__(self, scaler: Scaler, preparation: Preparation) -> None:
        self.scaler = scaler
        self.preparation = preparation
        self.num_windows = preparation.num_windows

    def fit(self, train_dataset: Samples) -> None:
        """Learn how many windows the training recordings have and, where it is asked for or the checkpoint has none,
        the statistics of the scaler. Where the checkpoint's own are used, signals of another size are warned of.

        Raises:
            DataError: a sample does not fit the model.
        """
        fits_scaler = self.preparation.refit or not self.scaler.fitted
        raw, counts, sizes = [], [], []
        for index in range(len(train_dataset)):
            recording = self._recording(train_dataset[index])
            prepared = self._prepared(recording)
            starts = self._starts(prepared, self.preparation.num_windows)
            counts.append(len(starts))
            if fits_scaler:
                raw.append(prepared.bold)
            else:
                sizes.append(float(amplitudes(self._scaled(prepared, starts, len(starts))).median()))
        if fits_scaler:
            self.scaler = Scaler.fit_recordings(raw, self.scaler.kind, divisor=self.scaler.divisor)
            warn_of_few(len(raw), self.scaler.kind)
        else:
            middle = float(np.median(sizes))
            warn_of_amplitude(middle, self.scaler, what="the middle one of the training recordings (refit=true helps)")
        self.num_windows = self.preparation.num_windows or max(counts)

    def __call__(self, sample: Sample) -> dict[str, Any]:
        """The sample with ``signal`` and ``valid`` in place of ``bold``, ``mean``, ``std`` and ``tr``.

        Raises:
            DataError: it does not fit the model.
            ConfigError: the scaler was never fitted.
        """
        recording = self._prepared(self._recording(sample))
        starts = self._starts(recording, self.num_windows)
        scaled = self._scaled(recording, starts, self.num_windows or len(starts))
        kept = {name: value for name, value in sample.items() if name not in ("bold", "mean", "std", "tr")}
        return {**kept, "signal": scaled.signal_BPT, "valid": scaled.valid_BPT}

    def _recording(self, sample: Sample) -> Recording:
        bold_TP, mean_1P, std_1P = (np.asarray(sample[name], np.float32) for name in ("bold", "mean", "std"))
        subject = str(sample.get("sub", "of the dataset"))
        if bold_TP.ndim != 2 or bold_TP.shape[1] != self.preparation.num_parcels:
            raise DataError(
                f"the sample of subject {subject} does not fit the model",
                expected=f"time points x {self.preparation.num_parcels} parcels",
                found=" x ".join(map(str, bold_TP.shape)),
                remedy="take a dataset in the model's space, or a checkpoint of the dataset's",
            )
        # The suite writes a deviation of zero where a parcel has no signal.
        spread_1P = np.where(std_1P == 0, np.float32(np.nan), std_1P)
        return Recording(bold_TP * spread_1P + mean_1P, _seconds(sample["tr"]), subject)

    def _prepared(self, recording: Recording) -> Recording:
        """The recording, resampled if ``BrainLM.embed`` would refuse its repetition time and if that is wanted."""
        preparation = self.preparation
        if preparation.resample and preparation.tr_s and not is_trained_tr(recording.tr, preparation.trained_tr_s):
            return resampled(recording, preparation.tr_s)
        check_tr(recording.tr, preparation.trained_tr_s, what=f"the sample of subject {recording.subject}")
        return recording

    def _starts(self, recording: Recording, most: int | None) -> Int64[np.ndarray, "W"]:
        return spread_starts(recording.num_timepoints, self.preparation.num_timepoints, max_windows=most)

    def _scaled(self, recording: Recording, starts: Int64[np.ndarray, "V"], num_windows: int) -> ScaledBatch:
        """The windows at these time points, and as many more without data as make ``num_windows``."""
        raw_VPT = cut_windows(recording.bold, starts, self.preparation.num_timepoints)
        absent_PT = torch.full_like(raw_VPT[0], torch.nan)
        raw_WPT = torch.cat((raw_VPT, absent_PT.expand(num_windows - len(starts), -1, -1)))
        return self.scaler.apply(raw_WPT, TensorStatistics.of(recording.bold).repeated(num_windows))


def _seconds(tr: Any) -> float:
    """The suite's tables hold float32: 0.72 s arrives as 0.7200000286 s, which is meant as 0.72."""
    return float(str(np.float32(tr)))


class EmbeddingModule(nn.Module):
    """Windows of a batch as embeddings, with gradients where they are asked for.

    ``cls_embeds`` is the mean of the windows' CLS vectors, as ``BrainLM.embed(...).cls``. ``patch_embeds`` holds the
    tokens of all windows behind one another, without those of an image's padding. What a recording lacks (parcels
    without signal, time behind its end, whole windows) is filled with the mean of the tokens that it has in that window
    or at all: the mean over tokens is then ``BrainLM.embed(...).mean``, and no classifier sees a token of no data.

    Args:
        network: the checkpoint's network; its decoder is kept, and not used.
        space: of the data, in the suite's words.
    """

    has_signal_N: Tensor

    def __init__(self, network: MaskedAutoencoder, space: str) -> None:
        super().__init__()
        self.__space__ = space
        self.network = network
        window_1PT = torch.ones(1, network.tokenizer.num_parcels, network.config.num_timepoints, dtype=torch.bool)
        self.register_buffer("has_signal_N", network.present(window_1PT.to(network.device))[0], persistent=False)
        self.eval()

    def forward(self, batch: Mapping[str, Any]) -> BatchEmbeddings:
        """Embed a batch of transformed samples (``signal`` and ``valid``, (B, W, P, T))."""
        signal_BWPT, valid_BWPT = batch["signal"], batch["valid"]
        there_BW = valid_BWPT.flatten(2).any(dim=2)
        chunks = (windows[there_BW].split(WINDOWS_AT_ONCE) for windows in (signal_BWPT, valid_BWPT))
        parts = [self._windows(signal_VPT, valid_VPT) for signal_VPT, valid_VPT in zip(*chunks, strict=True)]
        cls_VD, tokens_VLD = (torch.cat(part) for part in zip(*parts, strict=True))
        return BatchEmbeddings(_mean_of_windows(cls_VD, there_BW)[:, None], None, _laid_out(tokens_VLD, there_BW))

    def _windows(
        self, signal_VPT: Float32[Tensor, "V P T"], valid_VPT: Bool[Tensor, "V P T"]
    ) -> tuple[Float32[Tensor, "V D"], Float32[Tensor, "V L D"]]:
        """CLS, and a token for each patch that can hold signal; patches without data get the mean of the others."""
        encoding = self.network.encode(signal_VPT, visible=Places.of(self.network.seen(valid_VPT)))
        present_VN1 = self.network.present(valid_VPT)[:, :, None]
        tokens_VND = tokens_in_place(encoding, self.network.tokenizer.num_tokens)
        mean_V1D = (tokens_VND * present_VN1).sum(dim=1, keepdim=True) / present_VN1.sum(dim=1, keepdim=True)
        return encoding.cls_BD.float(), torch.where(present_VN1, tokens_VND, mean_V1D)[:, self.has_signal_N]


def _mean_of_windows(values_VD: Float32[Tensor, "V D"], there_BW: Bool[Tensor, "B W"]) -> Float32[Tensor, "B D"]:
    recording_V = there_BW.nonzero()[:, 0]
    sums_BD = values_VD.new_zeros(len(there_BW), values_VD.shape[1]).index_add(0, recording_V, values_VD)
    return sums_BD / there_BW.sum(dim=1, keepdim=True)


def _laid_out(tokens_VLD: Float32[Tensor, "V L D"], there_BW: Bool[Tensor, "B W"]) -> Float32[Tensor, "B tokens D"]:
    """The tokens of each recording's windows in a row; a window that is not there holds the recording's mean token."""
    if there_BW.all():
        return tokens_VLD.unflatten(0, there_BW.shape).flatten(1, 2)
    mean_BD = _mean_of_windows(tokens_VLD.mean(dim=1), there_BW)
    filled_BWLD = mean_BD[:, None, None].repeat(1, there_BW.shape[1], tokens_VLD.shape[1], 1)
    filled_BWLD[there_BW] = tokens_VLD
    return filled_BWLD.flatten(1, 2)
