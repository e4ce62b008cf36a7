"""Predictions come back as they were, or not at all."""

import logging

import numpy as np
import pytest

from brainlm.evaluation.phenotypes.predictions import (
    Predictions,
    load_predictions,
    predictions_path,
    save_predictions,
)


@pytest.fixture
def predictions(rng):
    values_RNK = rng.standard_normal((2, 5, 1))
    values_RNK[1, 3] = np.nan
    return Predictions("Correlation + ridge", "connectivity", "abc", 1.5, "a note", True, values_RNK)


def test_what_was_saved_is_loaded(tmp_path, predictions):
    path = predictions_path(tmp_path, predictions.method)
    save_predictions(path, predictions)
    found = load_predictions(path, method=predictions.method, key="abc")
    assert found is not None
    np.testing.assert_array_equal(found.values_RNK, predictions.values_RNK)
    for name in ("method", "group", "key", "seconds", "note", "seen"):
        assert getattr(found, name) == getattr(predictions, name)


def test_the_file_is_named_after_the_method(tmp_path):
    assert predictions_path(tmp_path, "Correlation + ridge") == tmp_path / "predictions/correlation-plus-ridge.npz"


def test_another_key_or_method_or_no_file_is_to_be_computed(tmp_path, predictions):
    path = predictions_path(tmp_path, predictions.method)
    assert load_predictions(path, method=predictions.method, key="abc") is None
    save_predictions(path, predictions)
    assert load_predictions(path, method=predictions.method, key="other") is None
    assert load_predictions(path, method="Correlation - ridge", key="abc") is None


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
def test_a_damaged_file_is_computed_again_with_a_warning(tmp_path, predictions, caplog, damage):
    path = predictions_path(tmp_path, predictions.method)
    save_predictions(path, predictions)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 0xFF
    path.write_bytes({"cut": content[:middle], "empty": b"", "text": b"no archive", "flipped": content}[damage])
    with caplog.at_level(logging.WARNING):
        assert load_predictions(path, method=predictions.method, key="abc") is None
    assert "damaged" in caplog.text
    assert str(path) in caplog.text


def test_nothing_but_the_file_stays_behind(tmp_path, predictions):
    save_predictions(predictions_path(tmp_path, predictions.method), predictions)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["correlation-plus-ridge.npz"]
