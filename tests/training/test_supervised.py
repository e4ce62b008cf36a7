"""Any network learns labels: it fits what it can fit, stops in time, keeps its best state, and repeats to the byte."""

import numpy as np
import pytest
import torch
from torch import nn

from brainlm.data.scaling import Scaler
from brainlm.errors import ConfigError
from brainlm.model.head import TargetUnits
from brainlm.training.labelled import FeatureInputs, Labelled, LabelledBatch, WindowInputs
from brainlm.training.schedule import warmup_cosine
from brainlm.training.supervised import SupervisedConfig, predict_supervised, train_supervised
from brainlm.training.supervised_module import Supervised

NUM_RECORDINGS, NUM_FEATURES = 40, 6
CONFIG = SupervisedConfig(epochs=8, batch_size=8, learning_rate=0.03, weight_decay=0.0, accelerator="cpu")


class Linear(nn.Module):
    """The smallest network there is, with a part that must not change."""

    def __init__(self, num_outputs: int = 1, num_features: int = NUM_FEATURES) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.map = nn.Linear(num_features, num_outputs)
            self.frozen = nn.Linear(num_features, num_features).requires_grad_(False)

    def forward(self, features_BF: torch.Tensor) -> torch.Tensor:
        return self.map(features_BF) + 0 * self.frozen(features_BF).sum()


class OnWindows(nn.Module):
    """The same on windows, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.map = Linear(num_features=200)

    def forward(self, signal_BPT: torch.Tensor, valid_BPT: torch.Tensor) -> torch.Tensor:
        return self.map(nn.functional.dropout((signal_BPT * valid_BPT).flatten(1), training=self.training))


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((NUM_RECORDINGS, NUM_FEATURES))).float()


def people(values: np.ndarray, positions: np.ndarray) -> Labelled:
    return Labelled.of([np.array([i]) for i in range(len(values))], values.astype(np.float64), positions)


def train(features, values, config=CONFIG, *, network=None, validation=True, **target):
    parts = people(values, np.arange(24)), people(values, np.arange(24, 32)) if validation else None
    return train_supervised(
        network or Linear(len(target.get("classes", ())) if target["kind"] == "multiclass" else 1),
        FeatureInputs(features),
        train=parts[0],
        validation=parts[1],
        config=config,
        **target,
    )


def test_a_planted_quantity_is_predicted_in_its_own_units(features):
    values = 50 + 10 * features[:, 0].numpy()
    config = SupervisedConfig(
        epochs=60, batch_size=8, learning_rate=0.1, weight_decay=0.0, patience=0, accelerator="cpu"
    )
    trained = train(features, values, config, kind="regression", name="age")
    predicted = predict_supervised(trained, FeatureInputs(features), people(values, np.arange(32, 40)))
    np.testing.assert_allclose(predicted[:, 0], values[32:], atol=1.0)


def test_planted_classes_are_predicted_as_probabilities(features):
    config = SupervisedConfig(
        epochs=60, batch_size=8, learning_rate=0.1, weight_decay=0.0, patience=0, accelerator="cpu"
    )
    codes = np.argmax(features[:, :3].numpy(), axis=1)
    several = train(features, codes, config, kind="multiclass", classes=("a", "b", "c"))
    test = people(codes, np.arange(40))
    probabilities = predict_supervised(several, FeatureInputs(features), test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == codes).mean() >= 0.85
    signs = (features[:, 0].numpy() > 0).astype(int)
    binary = train(features, signs, config, kind="binary", classes=("low", "high"))
    probability = predict_supervised(binary, FeatureInputs(features), test)
    assert ((probability[:, 0] > 0.5) == signs).mean() >= 0.85


def test_one_batch_can_be_learnt_by_heart(features):
    noise = np.random.default_rng(1).standard_normal(NUM_RECORDINGS)
    config = SupervisedConfig(
        epochs=300, batch_size=8, learning_rate=0.05, weight_decay=0.0, patience=0, clip_norm=0.0, accelerator="cpu"
    )
    network = nn.Sequential(nn.Linear(NUM_FEATURES, 64), nn.Tanh(), nn.Linear(64, 1))
    one_batch = people(noise, np.arange(8))
    trained = train_supervised(
        network, FeatureInputs(features), train=one_batch, validation=None, config=config, kind="regression"
    )
    predicted = predict_supervised(trained, FeatureInputs(features), one_batch)
    np.testing.assert_allclose(predicted[:, 0], noise[:8], atol=0.05)


def test_training_stops_when_the_validation_no_longer_gets_better_and_goes_back(features):
    values = np.random.default_rng(2).standard_normal(NUM_RECORDINGS)  # nothing to learn but by heart
    losses = []
    config = SupervisedConfig(epochs=200, batch_size=8, learning_rate=0.2, patience=3, accelerator="cpu")
    network = Linear()
    parts = people(values, np.arange(24)), people(values, np.arange(24, 32))
    trained = train_supervised(
        network,
        FeatureInputs(features),
        train=parts[0],
        validation=parts[1],
        config=config,
        kind="regression",
        on_progress=lambda figures: losses.append(figures["val_loss"]),
    )
    assert trained.epochs == len(losses) < 200
    assert trained.best_epoch == 1 + int(np.argmin(losses)) == trained.epochs - 3
    assert trained.validation_loss == min(losses)
    standardised = (values[24:32] - trained.units.mean) / trained.units.sd
    with torch.no_grad():
        loss = np.mean((network(features[24:32])[:, 0].numpy() - standardised) ** 2)
    assert loss == pytest.approx(min(losses), rel=1e-5)
    assert not network.training


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_caller_s_random_numbers_alone(store):
    inputs = WindowInputs(store, Scaler.fit(store, "zscore", allow_any_split=True), 20)
    values = np.arange(16.0)
    states = []
    for _ in range(2):
        torch.manual_seed(len(states))
        before = torch.get_rng_state()
        network = OnWindows()
        train_supervised(
            network,
            inputs,
            train=people(values, np.arange(12)),
            validation=people(values, np.arange(12, 16)),
            config=SupervisedConfig(epochs=2, batch_size=4, accelerator="cpu", seed=5),
            kind="regression",
        )
        assert torch.equal(before, torch.get_rng_state())
        states.append(network.map.map.weight.detach().clone())
    assert torch.equal(*states)


def test_what_needs_no_gradient_stays_as_it_is_to_the_byte(features):
    network = Linear()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    train(features, features[:, 0].numpy(), network=network, kind="regression")
    after = network.state_dict()
    assert torch.equal(before["frozen.weight"], after["frozen.weight"])
    assert not torch.equal(before["map.weight"], after["map.weight"])


def test_without_anybody_held_out_all_epochs_are_done(features):
    trained = train(features, features[:, 0].numpy(), validation=False, kind="regression")
    assert trained.epochs == trained.best_epoch == CONFIG.epochs
    assert trained.validation_loss == np.inf


def batch_of(values: list[float], weights: list[float], inputs: torch.Tensor) -> LabelledBatch:
    return LabelledBatch((inputs,), torch.tensor(values), torch.tensor(weights), torch.arange(len(values)))


def test_the_loss_is_that_of_the_target_s_kind(features):
    inputs = features[:4]
    for units, values, reference in (
        (
            TargetUnits("age", "regression", (), 50.0, 10.0),
            [40.0, 50.0, 65.0, 30.0],
            lambda raw, y: (raw[:, 0] - (y - 50) / 10) ** 2,
        ),
        (
            TargetUnits("sex", "binary", ("F", "M")),
            [0.0, 1.0, 1.0, 0.0],
            lambda raw, y: -torch.log(torch.where(y == 1, raw[:, 0].sigmoid(), 1 - raw[:, 0].sigmoid())),
        ),
        (
            TargetUnits("dx", "multiclass", ("a", "b", "c")),
            [0.0, 2.0, 1.0, 0.0],
            lambda raw, y: -torch.log(raw.softmax(dim=1)[torch.arange(4), y.long()]),
        ),
    ):
        network = Linear(units.num_outputs)
        losses = Supervised(network, units, CONFIG).losses(batch_of(values, [1.0] * 4, inputs))
        torch.testing.assert_close(losses, reference(network(inputs), torch.tensor(values)))


def test_balanced_classes_weigh_the_same_however_many_people_they_have(features):
    codes = np.array([1] + [0] * 23 + [0, 1] * 8)
    config = SupervisedConfig(epochs=1, batch_size=8, balanced=True, accelerator="cpu")
    trained = train(features, codes, config, kind="binary", classes=("a", "b"))
    assert np.isfinite(trained.validation_loss)
    weights_K = torch.tensor([24 / (2 * 23), 24 / 2])
    module = Supervised(Linear(), trained.units, config, class_weights_K=weights_K)
    plain = Supervised(Linear(), trained.units, config)
    batch = batch_of([1.0, 0.0], [1.0, 1.0], features[:2])
    torch.testing.assert_close(module.losses(batch), plain.losses(batch) * weights_K[[1, 0]])


def test_losses_that_are_not_finite_stop_the_training_with_advice():
    with pytest.raises(ConfigError, match="lost its way in epoch 1") as caught:
        train(torch.full((NUM_RECORDINGS, NUM_FEATURES), 1e30), np.arange(40.0), kind="regression")
    assert "lower the learning rate" in str(caught.value)


def test_an_unknown_device_is_named():
    with pytest.raises(ConfigError, match="no such device"):
        train(
            torch.zeros(NUM_RECORDINGS, NUM_FEATURES),
            np.arange(40.0),
            SupervisedConfig(accelerator="abacus"),
            kind="regression",
        )


def test_the_losses_of_every_epoch_are_logged_where_asked_for(features, tmp_path):
    values = features[:, 0].numpy()
    train_supervised(
        Linear(),
        FeatureInputs(features),
        train=people(values, np.arange(24)),
        validation=people(values, np.arange(24, 32)),
        config=SupervisedConfig(epochs=2, accelerator="cpu"),
        kind="regression",
        logs=tmp_path / "fold_1",
    )
    lines = (tmp_path / "fold_1" / "metrics.csv").read_text().splitlines()
    assert "train_loss" in lines[0]
    assert "val_loss" in lines[0]
    assert len(lines) > 2


@pytest.mark.parametrize("num_steps", [1, 2, 3, 10, 1000])
def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing_however_few_steps(num_steps):
    shares = [warmup_cosine(step, num_steps=num_steps, warmup_share=0.1) for step in range(num_steps)]
    peak = max(1, round(0.1 * num_steps)) - 1
    assert shares[peak] == 1.0
    assert shares[:peak] == sorted(shares[:peak])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert warmup_cosine(num_steps, num_steps=num_steps, warmup_share=0.1) < 1e-9 or num_steps == 1
