"""Folds over parcels: pairs together, networks shared out, everybody tested once."""

import numpy as np
import pytest

from brainlm.errors import ConfigError
from brainlm.evaluation.networks.parcel_folds import draw_folds


@pytest.mark.parametrize("blind", [False, True])
def test_homologues_are_never_on_both_sides(make_labels, blind):
    labels = make_labels(4, 9)
    numbers = None if blind else labels.numbers
    for fold in draw_folds(labels.units, numbers, folds=5, repeats=3, seed=0):
        assert not set(labels.units[fold.train_M]) & set(labels.units[fold.test_N])
        for unit in np.unique(labels.units[fold.train_M]):
            assert len(set(fold.inner_M[labels.units[fold.train_M] == unit])) == 1


def test_every_parcel_is_tested_once_in_every_repeat(make_labels):
    labels = make_labels(3, 7)
    folds = draw_folds(labels.units, labels.numbers, folds=4, repeats=2, seed=1)
    for repeat in range(2):
        tested = np.concatenate([fold.test_N for fold in folds if fold.repeat == repeat])
        assert sorted(tested) == list(range(len(labels.units)))


def test_every_fold_has_its_share_of_every_network(make_labels):
    labels = make_labels(3, 10)
    for fold in draw_folds(labels.units, labels.numbers, folds=5, repeats=2, seed=0):
        assert np.bincount(labels.numbers[fold.test_N]).tolist() == [4, 4, 4]
        for inner in range(5):
            sizes = np.bincount(labels.numbers[fold.train_M][fold.inner_M == inner], minlength=3)
            assert set(sizes) <= {2, 4}


def test_repeats_differ_and_the_same_seed_gives_the_same(make_labels):
    labels = make_labels()
    one, same, other = (draw_folds(labels.units, labels.numbers, folds=3, repeats=2, seed=seed) for seed in (0, 0, 1))
    tests = [[fold.test_N.tolist() for fold in folds] for folds in (one, same, other)]
    assert tests[0] == tests[1] != tests[2]
    assert tests[0][:3] != tests[0][3:]


def test_more_folds_than_parcels_allow_are_refused(make_labels):
    labels = make_labels(2, 3)
    with pytest.raises(ConfigError, match="cut into these folds") as caught:
        draw_folds(labels.units, labels.numbers, folds=4, repeats=1, seed=0)
    assert "6 pairs" in str(caught.value)
