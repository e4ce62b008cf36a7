"""Every estimator finds what is there, finds nothing where nothing is, and never sees the labels of test people."""

import numpy as np
import pandas as pd
import pytest
from problems import dealt, folds_of, problem_of, two_classes
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from brainlm.evaluation.phenotypes.estimators import fit_predict, predict_chance
from brainlm.evaluation.phenotypes.linear import LOGISTIC_PENALTIES, RIDGE_PENALTIES, ridge
from brainlm.evaluation.phenotypes.rotation import to_coordinates

ESTIMATORS = ("linear", "svm", "mlp")
MLP_IS_SLOW = ("linear", "svm", pytest.param("mlp", marks=pytest.mark.slow))


def cross_predicted(estimator, features_NF, problem, *, num_folds=3, inner=3):
    """Out-of-fold predictions."""
    predicted_NK = np.full((len(features_NF), problem.num_outputs), np.nan)
    for fold in folds_of(len(features_NF), num_folds):
        coordinates = to_coordinates(features_NF[fold.train_M], features_NF[fold.test_M])
        pairs = dealt(len(fold.train_M), inner)
        predicted_NK[fold.test_M] = fit_predict(estimator, coordinates, problem, fold.train_M, inner=pairs).predicted_LK
    return predicted_NK


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_planted_difference_between_classes_is_found(estimator, rng):
    features_NF, classes_N = two_classes(rng, 150, 20, effect=3.0)
    predicted_NK = cross_predicted(estimator, features_NF, problem_of(classes_N, num_classes=2))
    assert roc_auc_score(classes_N, predicted_NK[:, 0]) > 0.9


@pytest.mark.parametrize("estimator", MLP_IS_SLOW)
def test_shuffled_labels_are_predicted_at_chance(estimator, rng):
    features_NF, classes_N = two_classes(rng, 240, 400)
    predicted_NK = cross_predicted(estimator, features_NF, problem_of(classes_N, num_classes=2))
    within = [roc_auc_score(classes_N[fold.test_M], predicted_NK[fold.test_M, 0]) for fold in folds_of(240, 3)]
    assert abs(np.mean(within) - 0.5) < 0.13  # 3 standard errors


@pytest.mark.parametrize("estimator", MLP_IS_SLOW)
def test_a_planted_slope_is_found_in_original_units(estimator, rng):
    features_NF = rng.normal(size=(150, 8))
    values_N = 40.0 + 10.0 * features_NF[:, 0] + rng.normal(size=150)
    predicted_N = cross_predicted(estimator, features_NF, problem_of(values_N))[:, 0]
    assert np.mean((values_N - predicted_N) ** 2) < 0.4 * values_N.var()
    assert abs(predicted_N.mean() - 40.0) < 4.0


@pytest.mark.parametrize("estimator", MLP_IS_SLOW)
def test_three_classes_get_probabilities_that_add_up_to_one(estimator, rng):
    classes_N = np.repeat(np.arange(3), 30)
    rng.shuffle(classes_N)
    features_NF = rng.normal(size=(90, 6)) + 3.0 * np.eye(6)[classes_N]
    predicted_NK = cross_predicted(estimator, features_NF, problem_of(classes_N, num_classes=3))
    assert predicted_NK.shape == (90, 3)
    np.testing.assert_allclose(predicted_NK.sum(axis=1), 1.0, atol=1e-6)
    assert (predicted_NK.argmax(axis=1) == classes_N).mean() > 0.8


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("num_classes", [0, 2])
def test_labels_of_test_people_change_nothing_and_a_second_run_gives_the_same(estimator, num_classes, rng):
    features_NF, labels_N = two_classes(rng, 40, 60, effect=1.0)
    train_M, test_L = np.arange(30), np.arange(30, 40)
    coordinates = to_coordinates(features_NF[train_M], features_NF[test_L])
    labels_N = labels_N + (rng.normal(size=40) if num_classes == 0 else 0)
    other_N = np.where(np.arange(40) < 30, labels_N, 1 - labels_N)
    runs = [
        fit_predict(estimator, coordinates, problem_of(values_N, num_classes=num_classes), train_M, inner=dealt(30, 3))
        for values_N in (labels_N, other_N)
    ]
    np.testing.assert_array_equal(runs[0].predicted_LK, runs[1].predicted_LK)


def test_the_ridge_penalty_is_the_one_of_a_grid_search(rng):
    features_NF = rng.normal(size=(40, 15))
    values_N = features_NF[:, 0] + rng.normal(size=40)
    coordinates = to_coordinates(features_NF[:30], features_NF[30:])
    fits = ridge(coordinates, values_N[:30, None], np.ones(30), inner=dealt(30, 3))
    errors = []
    for penalty in RIDGE_PENALTIES:
        error = 0.0
        for train, test in dealt(30, 3):
            model = Ridge(penalty * 20).fit(coordinates.train_MR[train], values_N[train])
            error += ((model.predict(coordinates.train_MR[test]) - values_N[test]) ** 2).sum()
        errors.append(error)
    assert fits.penalties_T[0] == RIDGE_PENALTIES[np.argmin(errors)]
    best = Ridge(fits.penalties_T[0] * 30).fit(coordinates.train_MR, values_N[:30])
    np.testing.assert_allclose(fits.predicted_LT[:, 0], best.predict(coordinates.test_LR))


def test_many_targets_at_once_get_what_each_gets_alone(rng):
    coordinates = to_coordinates(rng.normal(size=(30, 50)), rng.normal(size=(8, 50)))
    values_MT = rng.normal(size=(30, 4)) + coordinates.train_MR[:, :1] * np.array([0.0, 0.3, 1.0, 3.0])
    together = ridge(coordinates, values_MT, np.ones(30), inner=dealt(30, 3))
    assert len(set(together.penalties_T)) > 1
    for index in range(4):
        alone = ridge(coordinates, values_MT[:, index : index + 1], np.ones(30), inner=dealt(30, 3))
        np.testing.assert_allclose(together.predicted_LT[:, index], alone.predicted_LT[:, 0])
        np.testing.assert_allclose(together.inner_MT[:, index], alone.inner_MT[:, 0])


def test_logistic_regression_chooses_and_predicts_as_a_grid_search_does(rng):
    features_NF, classes_N = two_classes(rng, 80, 10, effect=1.5)
    coordinates = to_coordinates(features_NF[:60], features_NF[60:])
    problem = problem_of(classes_N, num_classes=2)
    fit = fit_predict("linear", coordinates, problem, np.arange(60), inner=dealt(60, 3))
    losses = []
    for penalty in LOGISTIC_PENALTIES:
        held_M = np.empty(60)
        for train, test in dealt(60, 3):
            model = LogisticRegression(C=1 / (penalty * 40), tol=1e-8, max_iter=5000)
            model.fit(coordinates.train_MR[train], classes_N[train])
            held_M[test] = model.predict_proba(coordinates.train_MR[test])[:, 1]
        losses.append(log_loss(classes_N[:60], held_M))
    assert fit.strength == LOGISTIC_PENALTIES[np.argmin(losses)]
    best = LogisticRegression(C=1 / (fit.strength * 60), tol=1e-8, max_iter=5000)
    best.fit(coordinates.train_MR, classes_N[:60])
    np.testing.assert_allclose(fit.predicted_LK[:, 0], best.predict_proba(coordinates.test_LR)[:, 1], atol=1e-4)


def test_probabilities_of_the_svm_are_those_of_scikit_learns_calibration(rng):
    features_NF, classes_N = two_classes(rng, 80, 10, effect=1.5)
    coordinates = to_coordinates(features_NF[:60], features_NF[60:])
    problem = problem_of(classes_N, num_classes=2)
    fit = fit_predict("svm", coordinates, problem, np.arange(60), inner=dealt(60, 3))
    size = (coordinates.train_MR**2).sum() / 60
    machine = SVC(kernel="linear", C=fit.strength / size)
    model = CalibratedClassifierCV(machine, cv=dealt(60, 3), ensemble=False).fit(coordinates.train_MR, classes_N[:60])
    # Platt's targets are pulled a little towards one half there.
    np.testing.assert_allclose(fit.predicted_LK[:, 0], model.predict_proba(coordinates.test_LR)[:, 1], atol=0.03)


def test_a_doubled_vote_is_the_same_as_being_there_twice(rng):
    features_NF, classes_N = two_classes(rng, 40, 5, effect=1.0)
    twice = np.concatenate([np.arange(40), np.arange(10)])
    weights_N = np.where(np.arange(40) < 10, 2.0, 1.0)
    test = rng.normal(size=(6, 5))
    inner = [(np.arange(20, 40), np.arange(20)), (np.arange(20), np.arange(20, 40))]
    inner_twice = [(inner[0][0], np.r_[0:20, 40:50]), (np.r_[0:20, 40:50], inner[1][1])]
    weighted = fit_predict(
        "linear",
        to_coordinates(features_NF, test, weights_M=weights_N),
        problem_of(classes_N, num_classes=2, weights=weights_N),
        np.arange(40),
        inner=inner,
    )
    repeated = fit_predict(
        "linear",
        to_coordinates(features_NF[twice], test),
        problem_of(classes_N[twice], num_classes=2),
        np.arange(50),
        inner=inner_twice,
    )
    assert weighted.strength == repeated.strength
    np.testing.assert_allclose(weighted.predicted_LK, repeated.predicted_LK, rtol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_inner_predictions_are_there_for_every_training_row_in_original_units(estimator, rng):
    features_NF = rng.normal(size=(40, 6))
    values_N = np.exp(3.0 + 0.5 * features_NF[:, 0])
    problem = problem_of(values_N, transform="log")
    fit = fit_predict(
        estimator, to_coordinates(features_NF[:30], features_NF[30:]), problem, np.arange(30), inner=dealt(30, 3)
    )
    assert np.isfinite(fit.inner_MK).all()
    assert (fit.inner_MK > 0).all()
    assert np.corrcoef(np.log(fit.inner_MK[:, 0]), np.log(values_N[:30]))[0, 1] > 0.5


def test_chance_is_the_training_mean_or_the_shares_of_the_training_classes():
    regression = problem_of([10.0, 20.0, 90.0], weights=[1.5, 0.5, 1.0])
    np.testing.assert_allclose(predict_chance(regression, np.array([0, 1]), 2), [[12.5], [12.5]])
    binary = problem_of([0, 1, 1, 0], num_classes=2)
    np.testing.assert_allclose(predict_chance(binary, np.array([0, 1, 2]), 1), [[2 / 3]])
    multiclass = problem_of([0, 1, 2, 2], num_classes=3)
    np.testing.assert_allclose(predict_chance(multiclass, np.arange(4), 1), [[0.25, 0.25, 0.5]])


def test_selecting_features_on_everybody_would_be_seen_by_these_tests(rng):
    """The leak that this design leaves no place for: what it would have done to pure noise."""
    features_NF, classes_N = two_classes(rng, 90, 3000)
    problem = problem_of(classes_N, num_classes=2)
    honest = roc_auc_score(classes_N, cross_predicted("linear", features_NF, problem)[:, 0])
    difference_F = features_NF[classes_N == 1].mean(axis=0) - features_NF[classes_N == 0].mean(axis=0)
    chosen_F = np.argsort(-np.abs(difference_F))[:30]
    leaking = roc_auc_score(classes_N, cross_predicted("linear", features_NF[:, chosen_F], problem)[:, 0])
    assert leaking > 0.85
    assert honest < 0.65


def test_grid_search_of_scikit_learn_agrees_on_a_strong_effect(rng):
    """An independent pipeline from end to end, with its own grid."""
    features_NF, classes_N = two_classes(rng, 120, 30, effect=2.0)
    ours = cross_predicted("linear", features_NF, problem_of(classes_N, num_classes=2))[:, 0]
    theirs = np.empty(120)
    for fold in folds_of(120, 3):
        mean, sd = features_NF[fold.train_M].mean(axis=0), features_NF[fold.train_M].std(axis=0)
        search = GridSearchCV(
            LogisticRegression(max_iter=1000), {"C": np.logspace(-4, 2, 7)}, scoring="neg_log_loss", cv=KFold(3)
        )
        search.fit((features_NF[fold.train_M] - mean) / sd, classes_N[fold.train_M])
        theirs[fold.test_M] = search.predict_proba((features_NF[fold.test_M] - mean) / sd)[:, 1]
    assert abs(roc_auc_score(classes_N, ours) - roc_auc_score(classes_N, theirs)) < 0.03


def faint_in_many(rng, num_units: int, num_features: int, *, effect: float):
    """A fifth of the features differ a little between two unequal classes, under variation that all features share."""
    classes_N = (rng.random(num_units) < 0.45).astype(int)
    features_NF = rng.normal(size=(num_units, num_features))
    features_NF[:, : max(10, num_features // 5)] += effect * classes_N[:, None]
    return features_NF + rng.normal(size=(num_units, 5)) @ rng.normal(size=(5, num_features)), classes_N


def auroc_in_folds(classes_N, decisions_N) -> float:
    return float(
        np.mean([roc_auc_score(classes_N[one.test_M], decisions_N[one.test_M]) for one in folds_of(len(classes_N), 5)])
    )


def nested_search(features_NF, classes_N) -> np.ndarray:
    """Decisions of scikit-learn's own nested choice of C, on the same folds."""
    decisions_N = np.zeros(len(classes_N))
    for fold in folds_of(len(classes_N), 5):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)),
            {"logisticregression__C": np.logspace(-7, 2, 10)},
            cv=dealt(len(fold.train_M), 5),
            scoring="neg_log_loss",
        )
        search.fit(features_NF[fold.train_M], classes_N[fold.train_M])
        decisions_N[fold.test_M] = search.decision_function(features_NF[fold.test_M])
    return decisions_N


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_units", "num_features", "effect"), [(60, 40, 0.7), (200, 3000, 0.2), (600, 3000, 0.1), (600, 40, 0.2)]
)
def test_the_linear_classifier_is_as_good_as_a_search_by_scikit_learn(num_units, num_features, effect):
    gains = []
    for seed in range(3):
        features_NF, classes_N = faint_in_many(np.random.default_rng(seed), num_units, num_features, effect=effect)
        problem = problem_of(classes_N, num_classes=2)
        ours_NK = cross_predicted("linear", features_NF, problem, num_folds=5, inner=5)
        theirs_N = nested_search(features_NF, classes_N)
        gains.append(auroc_in_folds(classes_N, ours_NK[:, 0]) - auroc_in_folds(classes_N, theirs_N))
    assert np.mean(gains) > -0.03


def test_the_search_for_a_penalty_goes_on_past_a_plateau():
    """Where strong penalties give the shares of classes and no more, and the best comes many steps later."""
    features_NF, classes_N = faint_in_many(np.random.default_rng(0), 200, 3000, effect=0.12)
    train_M = folds_of(200, 5)[0].train_M
    coordinates = to_coordinates(features_NF[train_M], features_NF[train_M])
    fit = fit_predict("linear", coordinates, problem_of(classes_N, num_classes=2), train_M, inner=dealt(160, 5))
    losses = {}
    for c in np.logspace(-7, 2, 10):
        inner_M = np.zeros(160)
        for train, test in dealt(160, 5):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=3000))
            model.fit(features_NF[train_M][train], classes_N[train_M][train])
            inner_M[test] = model.predict_proba(features_NF[train_M][test])[:, 1]
        losses[c] = log_loss(classes_N[train_M], inner_M)
    assert log_loss(classes_N[train_M], fit.inner_MK[:, 0]) <= min(losses.values()) + 0.002


@pytest.mark.slow
def test_connectivity_tells_diagnosis_as_well_as_a_search_by_scikit_learn_does(shared):
    folder = shared / "data" / "abide"
    people = pd.read_csv(folder / "participants.tsv", sep="\t")
    people = people[people["site"].isin(["LEUVEN_1", "LEUVEN_2", "YALE"])]
    signals = np.load(folder / "abide_cc200_f16.npy", mmap_mode="r")
    features = []
    for start, length in zip(people["offset"], people["n_vols"], strict=True):
        with np.errstate(invalid="ignore"):
            found = np.corrcoef(signals[start : start + length].astype(np.float64).T)
        features.append(np.nan_to_num(found[np.triu_indices(200, 1)]))
    classes_N = (people["dx"] == "asd").to_numpy().astype(int)
    features_NF = np.arctanh(np.clip(features, -0.999, 0.999))
    ours_NK = cross_predicted("linear", features_NF, problem_of(classes_N, num_classes=2), num_folds=5, inner=5)
    reached = auroc_in_folds(classes_N, ours_NK[:, 0])
    assert reached == pytest.approx(auroc_in_folds(classes_N, nested_search(features_NF, classes_N)), abs=0.03)
    assert reached > 0.6
