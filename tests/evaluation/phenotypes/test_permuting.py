"""The null: the same procedure on labels that moved within their blocks; a signal stands out of it, noise does not."""

import weakref

import numpy as np
import pytest
from problems import dealt, folds_of, problem_of, two_classes
from sklearn.metrics import r2_score, roc_auc_score

from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.estimators import fit_predict
from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.permuting import blocks_of, null_scores
from brainlm.evaluation.phenotypes.rotation import to_coordinates


def inner(_problem, train_M):
    return dealt(len(train_M), 3)


def mean_auroc(folds):
    def statistic(labels_N, predicted_RNK):
        return float(np.mean([roc_auc_score(labels_N[f.test_M], predicted_RNK[0, f.test_M, 0]) for f in folds]))

    return statistic


def r2(labels_N, predicted_RNK):
    return float(r2_score(labels_N, predicted_RNK[0, :, 0]))


def scored(features_NF, problem, statistic, *, num=19, blocks=None, folds=None, **options):
    folds = folds or folds_of(len(features_NF), 3)
    coordinates = [to_coordinates(features_NF[fold.train_M], features_NF[fold.test_M]) for fold in folds]
    blocks_N = np.zeros(len(features_NF), dtype=np.int64) if blocks is None else blocks
    return null_scores(
        coordinates, problem, folds, blocks_N, num=num, seed=0, statistic=statistic, inner=inner, **options
    )


def test_a_planted_signal_lies_above_all_permutations(rng):
    features_NF, classes_N = two_classes(rng, 90, 10, effect=1.5)
    folds = folds_of(90, 3)
    null = scored(features_NF, problem_of(classes_N, num_classes=2), mean_auroc(folds))
    assert null.observed > null.null_T.max()
    assert abs(null.null_T.mean() - 0.5) < 0.06
    values_N = 30.0 + 5.0 * features_NF[:, 1] + 5.0 * rng.normal(size=90)
    null = scored(features_NF, problem_of(values_N), r2)
    assert null.observed > null.null_T.max()
    assert null.null_T.max() < 0.15


def test_noise_lies_among_its_permutations(rng):
    ranks = []
    for _ in range(20):
        features_NF, values_N = rng.normal(size=(45, 6)), rng.normal(size=45)
        null = scored(features_NF, problem_of(values_N), r2)
        ranks.append((null.null_T >= null.observed).mean())
    assert 0.25 < np.mean(ranks) < 0.75
    assert min(ranks) < 0.3 < 0.7 < max(ranks)


def test_all_permutations_at_once_are_the_procedure_run_one_by_one(rng):
    features_NF, values_N = rng.normal(size=(45, 60)), rng.normal(size=45)
    kept = {}

    def statistic(labels_N, predicted_RNK):
        kept[len(kept)] = (labels_N, predicted_RNK)
        return 0.0

    scored(features_NF, problem_of(values_N), statistic, num=3)
    for labels_N, predicted_RNK in kept.values():
        for fold in folds_of(45, 3):
            coordinates = to_coordinates(features_NF[fold.train_M], features_NF[fold.test_M])
            problem = problem_of(labels_N)
            fit = fit_predict("linear", coordinates, problem, fold.train_M, inner=inner(problem, fold.train_M))
            np.testing.assert_allclose(predicted_RNK[0, fold.test_M], fit.predicted_LK)


@pytest.mark.parametrize("num_classes", [0, 2])
def test_labels_stay_in_their_block_and_with_their_group(num_classes, rng):
    groups_N = np.repeat(np.arange(30), [1, 2] * 15)
    blocks_N = groups_N % 4
    labels_N = rng.integers(0, 2, size=45).astype(float)
    problem = problem_of(
        labels_N + (0 if num_classes else rng.normal(size=45)), num_classes=num_classes, groups=groups_N
    )
    seen = []

    def statistic(labels_N, _predicted_RNK):
        seen.append(labels_N)
        return 0.0

    scored(rng.normal(size=(45, 4)), problem, statistic, num=5, blocks=blocks_N)
    assert any((labels_N != problem.values_N).any() for labels_N in seen[1:])
    whole = {tuple(problem.values_N[groups_N == group]) for group in range(30)}
    for labels_N in seen:
        for block in range(4):
            np.testing.assert_array_equal(
                np.sort(labels_N[blocks_N == block]), np.sort(problem.values_N[blocks_N == block])
            )
        assert {tuple(labels_N[groups_N == group]) for group in range(30)} == whole


def test_what_site_alone_predicts_stays_in_the_null(rng):
    sites_N = np.arange(120) % 3
    classes_N = (rng.uniform(size=120) < np.array([0.1, 0.5, 0.9])[sites_N]).astype(int)
    features_NF = np.eye(3)[sites_N] + 0.1 * rng.normal(size=(120, 3))
    number_N = np.arange(120) // 3 % 3
    pairs = [(np.flatnonzero(number_N != fold), np.flatnonzero(number_N == fold)) for fold in range(3)]
    folds = tuple(type(folds_of(3, 3)[0])(str(number), 0, *pair) for number, pair in enumerate(pairs))
    problem = problem_of(classes_N, num_classes=2)
    free = scored(features_NF, problem, mean_auroc(folds), folds=folds)
    within = scored(features_NF, problem, mean_auroc(folds), folds=folds, blocks=sites_N)
    assert free.observed > free.null_T.max()
    assert within.null_T.mean() > free.null_T.max()
    assert (within.null_T >= within.observed).mean() > 0.02


def test_the_same_seed_gives_the_same_null_in_one_process_and_in_two(rng):
    features_NF, classes_N = two_classes(rng, 45, 5, effect=0.5)
    folds = folds_of(45, 3)
    problem = problem_of(classes_N, num_classes=2)
    alone = scored(features_NF, problem, mean_auroc(folds), num=4)
    np.testing.assert_array_equal(alone.null_T, scored(features_NF, problem, mean_auroc(folds), num=4, jobs=2).null_T)


def test_blocks_in_which_nobody_can_exchange_are_refused(rng):
    problem = problem_of(rng.normal(size=12))
    with pytest.raises(ConfigError, match="no label can be exchanged"):
        scored(rng.normal(size=(12, 2)), problem, r2, blocks=np.arange(12))


def test_people_without_a_partner_are_counted(rng):
    problem = problem_of(rng.normal(size=45))
    blocks_N = np.where(np.arange(45) < 2, np.arange(45), 2)
    assert scored(rng.normal(size=(45, 2)), problem, r2, blocks=blocks_N, num=1).num_fixed == 2


def test_blocks_are_combinations_of_site_and_fold():
    blocks_N = blocks_of(np.array([0, 0, 1, 1, 5]), np.array(["a", "b", "a", "a", "b"]))
    assert len(np.unique(blocks_N)) == 4
    assert blocks_N[2] == blocks_N[3]


def test_a_label_that_changes_within_people_is_dealt_anew_within_each_of_them(rng):
    person_N = np.repeat(np.arange(20), 2)
    classes_N = np.tile([0, 1], 20)
    features_NF = rng.normal(size=(40, 3))
    seen = []

    def watching(labels_N, _predicted_RNK):
        seen.append(labels_N.copy())
        return 0.0

    problem = problem_of(classes_N, num_classes=2, groups=person_N)
    folds = [
        Fold(str(n), 0, *(np.flatnonzero((person_N % 4 == n) == tested) for tested in (False, True))) for n in range(4)
    ]
    coordinates = [to_coordinates(features_NF[fold.train_M], features_NF[fold.test_M]) for fold in folds]
    null_scores(
        coordinates, problem, folds, person_N, num=12, seed=0, statistic=watching, inner=inner, within_N=person_N
    )
    assert all((labels_N.reshape(20, 2).sum(axis=1) == 1).all() for labels_N in seen)  # one of each for everybody
    assert len({labels_N.tobytes() for labels_N in seen}) == 13  # not the few that swapping whole people would give


def test_nothing_can_be_dealt_within_people_of_one_label(rng):
    problem = problem_of([0, 0, 1, 1], num_classes=2, groups=[0, 0, 1, 1])
    coordinates = [to_coordinates(rng.normal(size=(2, 2)), rng.normal(size=(2, 2)))] * 2
    with pytest.raises(ConfigError, match="within people"):
        null_scores(
            coordinates,
            problem,
            folds_of(4, 2),
            np.zeros(4, dtype=np.int64),
            num=2,
            seed=0,
            statistic=lambda *_: 0.0,
            inner=inner,
            within_N=np.array([0, 0, 1, 1]),
        )


@pytest.mark.parametrize("num_classes", [0, 2])
def test_the_features_of_one_fold_are_in_memory_at_a_time(num_classes, rng):
    features_NF, classes_N = two_classes(rng, 45, 5)
    alive = []

    def one_by_one():
        for fold in folds_of(45, 3):
            assert all(reference() is None for reference in alive[:-1])
            found = to_coordinates(features_NF[fold.train_M], features_NF[fold.test_M])
            alive.append(weakref.ref(found))
            yield found

    values_N = classes_N if num_classes else classes_N + rng.normal(size=45)
    problem = problem_of(values_N, num_classes=num_classes)
    null_scores(
        one_by_one(),
        problem,
        folds_of(45, 3),
        np.zeros(45, dtype=np.int64),
        num=2,
        seed=0,
        statistic=lambda _labels, _predicted: 0.0,
        inner=inner,
    )
    assert len(alive) == 3
