"""Support vector machines of many rows: the optimum of scikit-learn's solver, in linear time."""

import numpy as np
import pytest
from problems import dealt
from sklearn.svm import SVC, SVR

from brainlm.evaluation.phenotypes import vector_machine
from brainlm.evaluation.phenotypes.hinge_machine import classifying_machine, regressing_machine
from brainlm.evaluation.phenotypes.rotation import to_coordinates


def rows_and_values(rng, num_rows=300, num_features=12):
    rows_MR = rng.normal(size=(num_rows, num_features)) / np.sqrt(num_features)
    return rows_MR, 2.0 * rows_MR[:, 0] + 0.5 * rng.normal(size=num_rows)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_classes_are_decided_as_by_scikit_learn(num_classes, strength, rng):
    rows_MR, values_M = rows_and_values(rng)
    classes_M = np.digitize(values_M, np.quantile(values_M, np.linspace(0, 1, num_classes + 1)[1:-1])).astype(np.int64)
    weights_M = rng.uniform(0.5, 1.5, size=len(values_M))
    theirs = SVC(kernel="linear", C=strength, tol=1e-6).fit(rows_MR, classes_M, sample_weight=weights_M)
    ours = classifying_machine(rows_MR, classes_M, strength * weights_M).decisions(rows_MR)
    np.testing.assert_allclose(ours.squeeze(), theirs.decision_function(rows_MR), atol=2e-3)


@pytest.mark.parametrize("strength", [0.01, 1.0, 10.0])
def test_values_are_predicted_as_by_scikit_learn(strength, rng):
    rows_MR, values_M = rows_and_values(rng)
    weights_M = rng.uniform(0.5, 1.5, size=len(values_M))
    theirs = SVR(kernel="linear", C=strength, tol=1e-6).fit(rows_MR, values_M, sample_weight=weights_M)
    ours = regressing_machine(rows_MR, values_M, strength * weights_M).decisions(rows_MR)
    np.testing.assert_allclose(ours, theirs.predict(rows_MR), atol=1e-3)


@pytest.mark.parametrize("num_classes", [0, 2, 3])
def test_few_rows_and_many_rows_give_the_same_fit(num_classes, rng, monkeypatch):
    rows_MR, values_M = rows_and_values(rng, 200)
    coordinates = to_coordinates(rows_MR[:150], rows_MR[150:])
    options = {"weights_M": np.ones(150), "inner": dealt(150, 3)}

    def fitted():
        if not num_classes:
            return vector_machine.vector_regression(coordinates, values_M[:150], **options)
        edges = np.quantile(values_M, np.linspace(0, 1, num_classes + 1)[1:-1])
        classes_M = np.digitize(values_M[:150], edges).astype(np.int64)
        return vector_machine.vector_classification(coordinates, classes_M, num_classes=num_classes, **options)

    few = fitted()
    monkeypatch.setattr(vector_machine, "MOST_KERNEL_ROWS", 10)
    many = fitted()
    assert few.strength == many.strength
    np.testing.assert_allclose(few.predicted_LK, many.predicted_LK, atol=0.01)
    np.testing.assert_allclose(few.inner_MK, many.inner_MK, atol=0.01)


def test_the_memory_of_many_rows_does_not_hold_their_products(rng):
    num_rows = vector_machine.MOST_KERNEL_ROWS + 1
    coordinates = to_coordinates(rng.normal(size=(num_rows, 3)), rng.normal(size=(2, 3)))
    assert vector_machine._Rows.of(coordinates).kernel_MM is None
