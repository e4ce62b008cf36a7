"""Features are standardised by the training recordings only, whatever is missing."""

import numpy as np
import torch

from brainlm.baselines.standardise import Standardise


def features_of(rng: np.random.Generator) -> np.ndarray:
    features = rng.normal(1e4, 3.0, size=(150, 4, 5)).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    features[:, 1, 2] = 7.0
    features[:, 3, 3] = np.nan
    return features


def test_it_equals_the_plain_mean_and_deviation_of_the_training_recordings(rng):
    features = features_of(rng)
    training = np.arange(0, 150, 2)
    found = Standardise.fit(features, training)(torch.from_numpy(features)).numpy()
    with np.errstate(invalid="ignore"):
        part = np.ma.masked_invalid(features[training].astype(np.float64))
        expected = (features - part.mean(axis=0)) / part.std(axis=0)
    expected = np.ma.filled(expected, 0.0)
    expected[:, 1, 2] = expected[:, 3, 3] = 0.0
    np.testing.assert_allclose(found, np.nan_to_num(expected), atol=2e-3)


def test_recordings_outside_the_training_fold_change_nothing(rng):
    features = features_of(rng)
    training = np.arange(100)
    before = Standardise.fit(features, training)
    features[100:] *= 5
    after = Standardise.fit(features, training)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.rate, after.rate)


def test_what_is_missing_or_never_varied_becomes_zero(rng):
    features = features_of(rng)
    found = Standardise.fit(features, np.arange(150))(torch.from_numpy(features))
    assert bool(torch.isfinite(found).all())
    assert bool((found[torch.isnan(torch.from_numpy(features))] == 0).all())
    assert bool((found[:, 1, 2] == 0).all())


def test_it_has_nothing_to_learn(rng):
    assert not list(Standardise.fit(features_of(rng), np.arange(10)).parameters())
