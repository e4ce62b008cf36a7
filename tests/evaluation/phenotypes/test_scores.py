"""Weights, repeats, resamples of people and what is refused; coverage of the intervals."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from brainlm.errors import DataError
from brainlm.evaluation.phenotypes import scores
from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.scores import Scoring, chance_levels, clusters, fold_codes
from brainlm.evaluation.statistics import SubjectBootstrap


def folds_of(num_units: int, *, num_folds: int = 4, repeats: int = 1) -> tuple[Fold, ...]:
    units = np.arange(num_units)
    codes_RN = np.stack([(units + units // num_folds * repeat) % num_folds for repeat in range(repeats)])
    return tuple(
        Fold(str(k + 1), repeat, np.flatnonzero(codes_N != k), np.flatnonzero(codes_N == k))
        for repeat, codes_N in enumerate(codes_RN)
        for k in range(num_folds)
    )


def names(num: int) -> list[str]:
    return [f"s{number:04d}" for number in range(num)]


@pytest.fixture
def patients(make_cohort, rng):
    """40 people, patients and controls."""
    values = rng.permutation(np.repeat([0, 1], 20))
    return make_cohort(values=values, kind="binary", classes=("control", "patient"), subject=names(40), level="subject")


def test_codes_name_the_fold_of_each_unit_and_repeat():
    codes_RN = fold_codes(folds_of(12, repeats=2), 12)
    assert codes_RN.shape == (2, 12)
    np.testing.assert_array_equal(codes_RN[0, :5], [0, 1, 2, 3, 0])
    assert codes_RN[1].min() == 4


def test_units_that_are_never_tested_do_not_count(patients, rng):
    folds = folds_of(40)[:2]
    scoring = Scoring.of(patients, folds)
    values_RNK = np.full((1, 40, 1), np.nan)
    tested = np.concatenate([fold.test_M for fold in folds])
    values_RNK[0, tested, 0] = rng.random(len(tested))
    scoring.check(Predictions("a", "model", "", 0.0, "", False, values_RNK))
    areas = [roc_auc_score(patients.target.values_N[fold.test_M], values_RNK[0, fold.test_M, 0]) for fold in folds]
    pairs = [np.prod(np.bincount(patients.target.values_N[fold.test_M].astype(int))) for fold in folds]
    assert scoring.statistic(scoring.truth_N, values_RNK) == pytest.approx(np.average(areas, weights=pairs))


def test_repeats_are_averaged(patients, rng):
    folds = folds_of(40, repeats=3)
    values_RNK = rng.random((3, 40, 1))
    each = []
    for repeat in range(3):
        single = [Fold(fold.name, 0, fold.train_M, fold.test_M) for fold in folds if fold.repeat == repeat]
        scoring = Scoring.of(patients, single)
        each.append(scoring.statistic(scoring.truth_N, values_RNK[[repeat]]))
    scoring = Scoring.of(patients, folds)
    assert scoring.statistic(scoring.truth_N, values_RNK) == pytest.approx(np.mean(each))


def test_a_resample_is_scoring_its_people_as_often_as_they_were_drawn(patients, rng, monkeypatch):
    monkeypatch.setattr(scores, "BLOCK_VALUES", 100)  # several blocks
    scoring = Scoring.of(patients, folds_of(40, num_folds=2))
    values_RNK = rng.random((1, 40, 1))
    bootstrap = SubjectBootstrap.draw(40, num_bootstrap=9, seed=1)
    found = scoring.draws(values_RNK, bootstrap)
    assert set(found) == set(scoring.metrics)
    for number, counts in enumerate(bootstrap.counts_RS, start=1):
        people = np.repeat(np.arange(40), counts)
        truth, predicted, fold = patients.target.values_N[people], values_RNK[0, people, 0], scoring.fold_RN[0, people]
        assert found["brier"][number] == pytest.approx(np.mean((predicted - truth) ** 2))
        areas, pairs = [], []
        for k in range(2):
            areas.append(roc_auc_score(truth[fold == k], predicted[fold == k]))
            pairs.append(np.prod(np.bincount(truth[fold == k].astype(int))))
        assert found["auroc"][number] == pytest.approx(np.average(areas, weights=pairs))


def test_a_person_with_more_recordings_has_one_vote_and_is_drawn_whole(make_cohort):
    subject = ["a", "a", "a", "a", "b", "c"]
    cohort = make_cohort(values=[0.0, 0, 0, 0, 1, 2], subject=subject)
    folds = [Fold("1", 0, np.array([4, 5]), np.arange(4)), Fold("2", 0, np.arange(4), np.array([4, 5]))]
    scoring = Scoring.of(cohort, folds)
    errors = np.array([4.0, 4, 4, 4, 1, 1])
    values_RNK = (cohort.target.values_N + errors)[None, :, None]
    bootstrap = SubjectBootstrap(np.array([[3, 0, 0], [0, 2, 1], [1, 1, 1]]))
    np.testing.assert_allclose(scoring.draws(values_RNK, bootstrap)["mae"], [2.0, 4.0, 1.0, 2.0])


def test_families_are_drawn_as_wholes_and_people_without_one_alone(make_cohort):
    cohort = make_cohort(
        values=[0.0, 1, 2, 3], subject=["a", "b", "c", "d"], family=["f", "", "f", None], level="subject"
    )
    assert len(np.unique(clusters(cohort, None))) == 4
    first, second, third, fourth = clusters(cohort, "family")
    assert first == third
    assert len({first, second, fourth}) == 3


def test_shares_of_classes_are_those_of_the_training_people(patients):
    folds = folds_of(40)
    scoring = Scoring.of(patients, folds)
    for fold in folds:
        share = patients.target.values_N[fold.train_M].mean()
        np.testing.assert_allclose(scoring.prior_RNC[0, fold.test_M], [[1 - share, share]] * len(fold.test_M))


def test_predictions_that_are_no_numbers_are_refused(patients):
    values_RNK = np.full((1, 40, 1), 0.5)
    values_RNK[0, 7] = np.nan
    with pytest.raises(DataError, match=r"'LSTM' gave no number") as refused:
        Scoring.of(patients, folds_of(40)).check(Predictions("LSTM", "neural", "", 0.0, "", False, values_RNK))
    assert "1 of 40" in str(refused.value)


def test_constant_predictions_are_at_the_level_of_chance(patients):
    scoring = Scoring.of(patients, folds_of(40))
    found = scoring.draws(scoring.prior_RNC[:, :, 1:], SubjectBootstrap.draw(40, num_bootstrap=20, seed=0))
    levels = chance_levels(scoring)
    for metric in ("auroc", "balanced_accuracy"):
        np.testing.assert_allclose(found[metric], levels[metric])
    assert levels["auprc"] == 0.5
    assert np.isnan(found["calibration_slope"]).all()


def test_scores_of_people_without_a_class_are_undefined_and_not_an_error(patients, rng):
    scoring = Scoring.of(patients, folds_of(40))
    bootstrap = SubjectBootstrap.draw(40, num_bootstrap=5, seed=0)
    values_RNK = rng.random((1, 40, 1))
    for units_N in (np.zeros(40, dtype=bool), scoring.truth_N == 1):
        found = scoring.draws(values_RNK, bootstrap, metrics=["auroc"], units_N=units_N)
        assert np.isnan(found["auroc"]).all()


def coverage_of(truth: float, kind: str, *, num: int, rng: np.random.Generator, num_studies: int = 300) -> float:
    """How often a 95 % interval holds the truth when people come anew and the predictor is fixed."""
    folds = folds_of(num, num_folds=5, repeats=2)
    bootstrap = SubjectBootstrap.draw(num, num_bootstrap=400, seed=0)
    held = 0
    for _ in range(num_studies):
        state_N = rng.standard_normal(num)
        if kind == "binary":
            truth_N = (rng.random(num) < 0.4).astype(float)
            predicted_RN = 1 / (1 + np.exp(-(truth_N + state_N)))[None].repeat(2, axis=0)
            prior_RNC, metric = np.full((2, num, 2), 0.5), "auroc"
        else:
            truth_N = state_N + rng.standard_normal(num)
            predicted_RN, prior_RNC, metric = state_N[None].repeat(2, axis=0), np.zeros((2, num, 0)), "r2"
        scoring = Scoring(kind, truth_N, fold_codes(folds, num), prior_RNC, np.ones(num), np.arange(num))
        draws = scoring.draws(predicted_RN[:, :, None], bootstrap, metrics=[metric])[metric]
        interval = bootstrap.interval_of(float(draws[0]), draws[1:])
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= truth <= interval.high
    return held / num_studies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "truth"),
    # P(N(1, 2) > 0) = 0.7602 is the area for normal scores one apart; half of the variance is known.
    [("binary", 0.7602), ("regression", 0.5)],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(kind, truth, rng):
    assert 0.91 < coverage_of(truth, kind, num=150, rng=rng) < 0.98


@pytest.mark.slow
@pytest.mark.parametrize("num", [13, 20, 40])
def test_intervals_of_few_people_hold_the_truth_too(num, rng):
    assert 0.9 < coverage_of(0.5, "regression", num=num, rng=rng) < 0.98
