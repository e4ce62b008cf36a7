"""Linear forecasts are fitted to training recordings and tuned on validation windows."""

import numpy as np
import pytest
import torch

from brainlm.data.store import Store
from brainlm.errors import DataError
from brainlm.evaluation.forecasting.linear import linear_forecasters, squared_error


@pytest.fixture(scope="module")
def fitted(planted, planted_scaler, judged):
    return linear_forecasters(planted.select(split="train"), judged("validation"), planted_scaler)


def test_the_planted_order_is_found(fitted):
    alone, together = fitted
    assert alone.name == "AR(1)"
    np.testing.assert_allclose(alone.model.coefficients_PK[:, 0], 0.8, atol=0.05)
    assert together.name.startswith("VAR(")
    assert alone.group == together.group == "linear"


def test_what_was_tuned_is_said(fitted):
    assert "order 1 of 0 to 30 by BIC on the training recordings" in fitted[0].tuned
    assert "validation windows" in fitted[0].tuned
    assert "ridge" in fitted[1].tuned
    assert all(one.seconds >= 0 for one in fitted)


def test_the_centre_that_is_chosen_has_the_smaller_error(fitted, judged):
    from dataclasses import replace

    batches = list(judged("validation").batches())
    for one in fitted:
        errors = {c: squared_error(replace(one, centre=c), batches) for c in ("population", "context")}
        assert one.centre == min(errors, key=errors.get)


def test_the_squared_error_counts_valid_values_only(judged, make_guess):
    windows = judged("validation")
    total = 0.0
    for batch in windows.batches():
        batch.future_valid_BPH[:, 3] = False
        total += float((batch.future_BPH.double()[batch.future_valid_BPH] - 0.25).square().sum())
    batches = list(windows.batches())
    for batch in batches:
        batch.future_valid_BPH[:, 3] = False
        batch.future_BPH[:, 3] = 99.0
    assert squared_error(make_guess(error=0.25), batches) == pytest.approx(total)


def test_the_same_data_give_the_same_forecasts(planted, planted_scaler, judged, fitted):
    again = linear_forecasters(planted.select(split="train"), judged("validation"), planted_scaler)
    batch = next(judged().batches())
    for one, other in zip(fitted, again, strict=True):
        assert torch.equal(*(f.predict(batch.context_BPT, batch.context_valid_BPT, 10) for f in (one, other)))
        assert one.tuned == other.tuned


def test_no_training_recordings_are_an_error(planted, planted_scaler, judged):
    nobody: Store = planted.take([])
    with pytest.raises(DataError, match="no recordings to fit"):
        linear_forecasters(nobody, judged("validation"), planted_scaler)
