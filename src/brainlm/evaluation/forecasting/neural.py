"""The networks that learn to forecast: the neural baselines, the model's network untrained, and the model fine-tuned.

All have the budget of one ``ForecastConfig`` and the same windows; what was trained is kept by a key of all it depends
on, so that a killed job goes on. Training itself is in ``training/forecast.py``, the networks in ``baselines`` and
``model/forecasting.py``.

Shapes: P parcels, H time points of the horizon.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from brainlm.baselines.forecaster import Group, NetworkForecaster
from brainlm.baselines.ode_forecasters import LatentODEForecaster, NeuralODEForecaster
from brainlm.baselines.sequence_forecasters import LSTMForecaster
from brainlm.data.context_windows import ContextWindows
from brainlm.errors import CheckpointError
from brainlm.files import read_cache, write_arrays
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.folder import read_provenance
from brainlm.inference.identity import weights_sha256
from brainlm.inference.untrained import untrained
from brainlm.model.checkpoint import WEIGHTS_FILE
from brainlm.model.forecasting import PatchForecaster
from brainlm.training.forecast import ForecastConfig, TrainedForecaster, seconds_per_window, train_forecaster
from brainlm.training.provenance import with_finetuning

NEURAL_VERSION = 1  # part of every key: a change of what is trained makes old weights strangers
FINETUNED_FOLDER = "finetuned"
WEIGHTS_FOLDER = "weights"

Listener = Callable[[str, Mapping[str, float]], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LearntForecaster(NetworkForecaster):
    """A network that was trained here, as a ``Forecaster``.

    ``relative_time``: what a window of a training step takes, as a multiple of what it takes the model fine-tuned.
    """

    relative_time: float = math.nan


@dataclass(frozen=True)
class NeuralMethod:
    """A kind of network: its row's name and group, the name of its files, and how it is made (model, horizon, seed)."""

    name: str
    group: Group
    slug: str
    make: Callable[[BrainLM, int, int], nn.Module]


def _scratch(model: BrainLM, horizon: int, seed: int) -> nn.Module:
    """The model's network with new weights; it keeps the moments of a Gaussian head, which are counted, not learnt."""
    network = untrained(model, seed=seed).network
    with torch.no_grad():
        for name in ("covariance_PP", "temporal_TT"):
            if hasattr(network, name):
                getattr(network, name).copy_(getattr(model.network, name))
    return PatchForecaster(network, horizon)


METHODS = (
    NeuralMethod("LSTM", "neural", "lstm", lambda m, h, seed: LSTMForecaster(len(m.parcels), h, seed=seed)),
    NeuralMethod(
        "Neural ODE", "neural", "neural-ode", lambda m, h, seed: NeuralODEForecaster(len(m.parcels), h, seed=seed)
    ),
    NeuralMethod(
        "Latent ODE", "neural", "latent-ode", lambda m, h, seed: LatentODEForecaster(len(m.parcels), h, seed=seed)
    ),
    NeuralMethod("Same Transformer, not pretrained", "scratch", "scratch", _scratch),
)
FINETUNED = NeuralMethod(
    "BrainLM, fine-tuned",
    "finetuned",
    FINETUNED_FOLDER,
    lambda m, h, _: PatchForecaster(copy.deepcopy(m.network), h),
)


def neural_forecasters(
    model: BrainLM,
    train: ContextWindows,
    validation: ContextWindows | None,
    config: ForecastConfig,
    *,
    finetune: bool,
    folder: Path,
    methods: Collection[str] = ("neural", "scratch"),
    on_progress: Listener | None = None,
) -> list[LearntForecaster]:
    """The networks that are asked for, trained or read from ``folder``, on the model's device.

    Args:
        model: pretrained; it stays as it is.
        train: what they learn from, scaled by the model's scaler.
        validation: what decides on learning rate and epoch; see ``train_forecaster``.
        config: the budget of each.
        finetune: train a copy of the model, too; it is written as a checkpoint into ``folder/finetuned``.
        folder: where trained weights are kept.
        methods: groups (``neural``, ``scratch``) or names of files (``lstm``, ``neural-ode``, ...); others are not
            looked at.
        on_progress: called with a method's name and the figures of each of its epochs.

    Raises:
        ConfigError: see ``train_forecaster``.
        CheckpointError: the disk is full or the place cannot be written.
    """
    wanted = [method for method in METHODS if {method.group, method.slug} & set(methods)]
    budget = _Budget(model, weights_sha256(model), train, validation, config, folder, on_progress)
    return [budget.forecaster(method) for method in (*wanted, *([FINETUNED] if finetune else []))]


def speed_sentence(forecasters: Sequence[object]) -> str:
    """How long a training window takes each network, as a multiple of the model's; "" where none was trained."""
    times = [
        f"{each.name} {each.relative_time:.2g}"
        for each in forecasters
        if isinstance(each, LearntForecaster) and each.group == "neural" and math.isfinite(each.relative_time)
    ]
    if not times:
        return ""
    return f"A window in training takes, as a multiple of the model's own time: {', '.join(times)}."


@dataclass(frozen=True)
class _Record:
    """What stands beside kept weights."""

    tuned: str
    seconds: float
    relative_time: float


@dataclass(frozen=True, eq=False)
class _Budget:
    """All that the networks have in common."""

    model: BrainLM
    identity: str
    train: ContextWindows
    validation: ContextWindows | None
    config: ForecastConfig
    folder: Path
    on_progress: Listener | None

    def forecaster(self, method: NeuralMethod) -> LearntForecaster:
        """The method, trained unless it is kept already."""
        network = method.make(self.model, self.train.horizon, self.config.seed)
        record = self._read_checkpoint(network) if method is FINETUNED else self._read(method, network)
        if record is None:
            record = self._train(method, network)
        network.to(self.model.device).eval()
        return LearntForecaster(
            method.name,
            method.group,
            network,
            tuned=record.tuned,
            seconds=record.seconds,
            relative_time=record.relative_time,
        )

    def key(self, method: NeuralMethod) -> str:
        """What the weights depend on, as a hash."""
        stores = (self.train.store, None if self.validation is None else self.validation.store)
        parts = (
            str(NEURAL_VERSION),
            method.slug,
            self.identity,
            *("" if store is None else store.fingerprint for store in stores),
            f"{self.train.context} {self.train.horizon}",
            # Where it is computed changes no more than the last digits.
            repr(dataclasses.replace(self.config, accelerator="auto")),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def path(self, method: NeuralMethod) -> Path:
        """Where the weights are kept."""
        return self.folder / WEIGHTS_FOLDER / f"{method.slug}.npz"

    def _train(self, method: NeuralMethod, network: nn.Module) -> _Record:
        network.cpu()
        told = self.on_progress
        trained = train_forecaster(
            network,
            self.train,
            self.validation,
            self.config,
            on_progress=None if told is None else lambda figures: told(method.name, figures),
        )
        record = _Record(trained.tuned, round(trained.seconds, 1), self._relative_time(network, trained.device))
        if method is FINETUNED:
            assert isinstance(network, PatchForecaster)
            self._write_checkpoint(network, trained, record)
        else:
            self._write(method, network, record)
        return record

    def _relative_time(self, network: nn.Module, device: torch.device) -> float:
        """Measured one right after the other, on the device that was trained on."""
        ours = PatchForecaster(copy.deepcopy(self.model.network), self.train.horizon)
        times = []
        for one in (network, ours):
            times.append(seconds_per_window(one.to(device), self.train, self.config))
            one.cpu()
        return times[0] / times[1]

    def _write_checkpoint(self, network: PatchForecaster, trained: TrainedForecaster, record: _Record) -> None:
        """The fine-tuned model as a checkpoint; its record of where it comes from says whom it has seen."""
        folder = self.folder / FINETUNED_FOLDER
        seen = {
            str(subject)
            for windows in (self.train, self.validation)
            if windows is not None
            for subject in windows.store.metadata["subject"].iloc[windows.recordings]
        }
        taught = {
            "task": f"forecast of {self.train.horizon} time points from {self.train.context}",
            "key": self.key(FINETUNED),
            **dataclasses.asdict(record),
            "settings": dataclasses.asdict(self.config),
            "attempts": [dataclasses.asdict(attempt) for attempt in trained.attempts],
        }
        provenance = with_finetuning(self.model.provenance, self.train.store, seen, taught=taught)
        # Weights are written last: those of an earlier key must not stand beside this record for a moment.
        (folder / WEIGHTS_FILE).unlink(missing_ok=True)
        BrainLM(network.network, self.model.scaler, self.model.parcels, provenance).save_pretrained(folder)

    def _read_checkpoint(self, network: nn.Module) -> _Record | None:
        """The weights of a fine-tuned model put into ``network``, if its checkpoint is of this key."""
        assert isinstance(network, PatchForecaster)
        folder = self.folder / FINETUNED_FOLDER
        if not (folder / WEIGHTS_FILE).is_file():
            return None
        try:
            taught = read_provenance(folder).get("finetuned", {})
            if taught.get("key") != self.key(FINETUNED):
                return None
            network.network.load_state_dict(BrainLM.from_pretrained(folder).network.state_dict())
            return _Record(**{field.name: taught[field.name] for field in dataclasses.fields(_Record)})
        except (CheckpointError, KeyError) as error:
            logger.warning("%s is damaged and trained again: %s", folder, error)
            return None

    def _write(self, method: NeuralMethod, network: nn.Module, record: _Record) -> None:
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        write_arrays(self.path(method), arrays, key=self.key(method), facts=dataclasses.asdict(record))

    def _read(self, method: NeuralMethod, network: nn.Module) -> _Record | None:
        """Kept weights put into ``network``, if there are any of this key."""
        found = read_cache(self.path(method), self.key(method))
        if found is None:
            return None
        network.load_state_dict({name: torch.from_numpy(array) for name, array in found.arrays.items()})
        return _Record(**found.facts)
