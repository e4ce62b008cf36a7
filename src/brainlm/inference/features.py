"""scikit-learn's view of a model: a transformer from recordings to feature vectors.

What it may be given is in ``cohort.py``, what a vector is in ``brainlm.py``; whole stores with their attention are in
``stores.py``.

Shapes: B windows, P parcels, T time points, D width, N recordings, F features.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from brainlm.data.recording import Recording
from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.inference.batching import scaled_windows
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.checks import amplitudes, warn_of_amplitude
from brainlm.inference.cohort import check_recordings, recordings_of
from brainlm.inference.pooling import WindowEmbedding, embed_windows
from brainlm.model.autoencoder import MaskedAutoencoder

Pooling = Literal["cls", "mean", "parcels"]

MODELS_KEPT_OPEN = 2  # of those given by path; a grid over more of them opens them again

_Stamp = tuple[str, int, int]  # a file's name, time of change and size


class BrainLMFeatures(TransformerMixin, BaseEstimator):
    """Recordings as rows of features, for scikit-learn's pipelines, grids and cross-validation.

    Predict a phenotype from a store, the recordings of a person never on both sides of a fold::

        store = brainlm.Store.open("cohort.store")
        pipeline = make_pipeline(BrainLMFeatures("runs/13m"), StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
        predicted = cross_val_predict(
            pipeline, store, store.metadata["age"], groups=store.metadata["subject"], cv=GroupKFold(5)
        )

    What it is given is a store, or a sequence of recordings or (T, P) arrays, of any lengths. ``fit`` opens the model,
    checks the recordings and, where nobody published the statistics of the model's scaler, fits them on these
    recordings: in cross-validation, on those of the training fold. A model that comes with its scaler learns nothing
    here; then the vectors do not depend on the fold, and computing them once, before cross-validation, gives the same
    result in a fraction of the time. Each fold of a store is read into memory.

    A parcel without signal is NaN under pooling ``parcels``; put an imputer behind it. People the model was pretrained
    on do not belong into a test fold.

    Args:
        model: a run folder, checkpoint folder, folder of released weights, Hugging Face Hub id, or an open ``BrainLM``,
            which is never changed. A folder is opened once per process and again when its files have changed.
        pooling: ``cls`` (D features) and ``mean`` (of all patch tokens, D) are averaged over the windows of a
            recording, ``parcels`` (P x D, parcel by parcel) over windows and time.
        tr: repetition time of plain arrays, in seconds; recordings and stores know their own.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        batch_size: windows that go through the network at once, of one recording or several.
        device: where the network runs; None is the CPU for a path, and where it is for an open model.

    Attributes:
        model_: what computes the features: the network that was given, with its own scaler.
        n_features_in_: P.
    """

    def __init__(
        self,
        model: str | Path | BrainLM,
        *,
        pooling: Pooling = "cls",
        tr: float | None = None,
        resample: bool = False,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.tr = tr
        self.resample = resample
        self.batch_size = batch_size
        self.device = device

    def fit(self, X: Any, y: Any = None) -> BrainLMFeatures:  # noqa: ARG002
        """Open the model, check the recordings and fit the scaler on them if the model has none.

        Raises:
            DataError: there are no recordings, or they do not fit the model.
            ConfigError: a setting that does not exist.
            CheckpointError: the model cannot be opened.
        """
        self._check_settings()
        # A shallow copy: the network is shared, but a scaler that is fitted here is its own.
        model = copy.copy(_open(self.model, self.device))
        recordings = recordings_of(X, tr=self.tr)
        check_recordings(recordings, model, resample=self.resample)
        if not model.scaler.fitted:
            model.fit_scaler(recordings, resample=self.resample)
        self.model_ = model
        self.n_features_in_ = len(model.parcels)
        return self

    def transform(self, X: Any) -> Float32[np.ndarray, "N F"]:
        """The features, one row a recording.

        Raises:
            NotFittedError: ``fit`` was not called.
            DataError: there are no recordings, or they do not fit the model.
        """
        check_is_fitted(self)
        self._check_settings()
        recordings = recordings_of(X, tr=self.tr)
        check_recordings(recordings, self.model_, resample=self.resample)
        features = pooled_features(
            self.model_, recordings, (self.pooling,), batch_size=self.batch_size, resample=self.resample
        )
        return features[self.pooling]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """``cls_0``, ``cls_1``, ... or ``mean_0``, ...; with pooling ``parcels`` the parcel's name and the number.

        Args:
            input_features: nothing, or a name for each parcel, which is used under pooling ``parcels``.

        Raises:
            NotFittedError: ``fit`` was not called.
            ValueError: as many input features as the model has parcels were expected.
        """
        check_is_fitted(self)
        names = _parcel_names(self.model_) if input_features is None else [str(name) for name in input_features]
        if len(names) != self.n_features_in_:
            raise ValueError(
                f"input_features should have length equal to number of features: {self.n_features_in_} parcels, "
                f"found {len(names)}"
            )
        prefixes = names if self.pooling == "parcels" else [self.pooling]
        width = self.model_.config.encoder_width
        return np.array([f"{prefix}_{number}" for prefix in prefixes for number in range(width)], dtype=object)

    def _check_settings(self) -> None:
        if self.pooling not in get_args(Pooling):
            raise ConfigError(
                "no such pooling", expected=f"one of {', '.join(get_args(Pooling))}", found=repr(self.pooling)
            )
        if not self.batch_size >= 1:
            raise ConfigError("a batch needs at least one window", found=f"batch_size {self.batch_size}")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # one 2-D array is one recording
        tags.input_tags.allow_nan = True
        tags.no_validation = True  # of scikit-learn's kind
        return tags

    def __sklearn_clone__(self) -> BrainLMFeatures:
        # Otherwise every fold and every point of a grid would copy the weights of an open model.
        shell = object.__new__(type(self))
        shell.__dict__ = {**vars(self), "model": ""}
        clone: BrainLMFeatures = BaseEstimator.__sklearn_clone__(shell)
        clone.model = self.model
        return clone

    def __getstate__(self) -> dict[str, Any]:
        # A pickle opens on a machine without this one's device.
        state = dict(super().__getstate__())
        networks: dict[int, MaskedAutoencoder] = {}
        for name in ("model", "model_"):
            if isinstance(state.get(name), BrainLM):
                state[name] = _on_cpu(state[name], networks)
        return state


def pooled_features(
    model: BrainLM,
    recordings: Store | Sequence[Recording],
    poolings: Sequence[Pooling],
    *,
    batch_size: int = 32,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[Pooling, Float32[np.ndarray, "N F"]]:
    """Every recording as vectors of several kinds, from one pass: the mean over as many windows as fit.

    Args:
        model: its scaler must be fitted.
        recordings: checked before with ``check_recordings``.
        poolings: which vectors; F is D for ``cls`` and ``mean``, P x D for ``parcels``.
        batch_size: windows at a time; changes no result.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        on_progress: called with recordings done and of how many.
    """
    widths = {pooling: _num_features(model, pooling) for pooling in poolings}
    sums = {pooling: torch.zeros(len(recordings), width) for pooling, width in widths.items()}
    num_windows_N = torch.zeros(len(recordings))
    amplitude: list[Tensor] = []
    for batch in scaled_windows(model, recordings, batch_size, resample=resample):
        embedding = embed_windows(model.network, batch.signal_BPT, batch.valid_BPT)
        for pooling, sums_NF in sums.items():
            sums_NF.index_add_(0, batch.recording_B, _pooled(embedding, pooling).cpu())
        num_windows_N.index_add_(0, batch.recording_B, torch.ones(len(batch.recording_B)))
        amplitude.append(amplitudes(batch))
        if on_progress is not None:
            on_progress(int(batch.recording_B[-1]) + 1, len(recordings))
    warn_of_amplitude(float(torch.cat(amplitude).median()), model.scaler, what="the middle one of the windows")
    return {pooling: sums_NF.div_(num_windows_N[:, None]).numpy() for pooling, sums_NF in sums.items()}


def _num_features(model: BrainLM, pooling: Pooling) -> int:
    width = model.config.encoder_width
    return width * len(model.parcels) if pooling == "parcels" else width


def _pooled(embedding: WindowEmbedding, pooling: Pooling) -> Float32[Tensor, "B F"]:
    if pooling == "parcels":
        return embedding.parcels_BPD.flatten(1)
    return embedding.cls_BD if pooling == "cls" else embedding.mean_BD


def _parcel_names(model: BrainLM) -> list[str]:
    """The names in the parcels table, made unique by the label where they are not."""
    table = model.parcels.table
    names = table["name"].astype(str)
    return (names.where(~names.duplicated(keep=False), names + "-" + table["label"].astype(str))).tolist()


def _open(model: str | Path | BrainLM, device: str | None) -> BrainLM:
    """The model on the device; one that is elsewhere is copied, because it is someone else's."""
    if isinstance(model, BrainLM):
        return model if device is None else _moved(model, device)
    name, files = str(model), list[_Stamp]()
    if Path(model).is_dir():
        # What retraining changes: a folder is not taken for what it was an hour ago.
        folder = Path(model).absolute()
        name, files = str(folder), sorted(_stamp(path) for path in folder.iterdir() if path.is_file())
    # Moved again, because the network of a `model_` may have been moved by hand.
    return _moved(_opened(name, tuple(files), device or "cpu"), device or "cpu")


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return path.name, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=MODELS_KEPT_OPEN)
def _opened(path_or_id: str, _files: tuple[_Stamp, ...], device: str) -> BrainLM:
    return _moved(BrainLM.from_pretrained(path_or_id), device)


def _moved(model: BrainLM, device: str) -> BrainLM:
    try:
        wanted = torch.device(device)
        if wanted.type == model.device.type and wanted.index in (None, model.device.index):
            return model
        moved = copy.copy(model)
        moved.network = copy.deepcopy(model.network).to(wanted)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise ConfigError(
            "there is no such device to compute features on",
            expected="a device that torch sees here, such as cpu, cuda or cuda:1",
            found=f"{device!r}: {str(error).splitlines()[0]}",
        ) from error
    return moved


def _on_cpu(model: BrainLM, networks: dict[int, MaskedAutoencoder]) -> BrainLM:
    """The model with nothing on a device; a network that two of them share stays one."""
    portable = copy.copy(model)
    portable.scaler = dataclasses.replace(model.scaler)  # without its copies on devices
    if id(model.network) not in networks:
        on_cpu = model.device.type == "cpu"
        networks[id(model.network)] = model.network if on_cpu else copy.deepcopy(model.network).to("cpu")
    portable.network = networks[id(model.network)]
    return portable
