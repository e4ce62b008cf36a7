"""Sums, bands and kept files of one method."""

import dataclasses

import numpy as np
import pytest

from brainlm.evaluation.forecasting.kept import load_scores, save_scores, scores_path
from brainlm.evaluation.forecasting.residuals import ResidualBand, residual_band
from brainlm.evaluation.forecasting.scoring import score
from brainlm.evaluation.metrics import Term, mse, pearson_r, r2


def all_values(windows, forecaster):
    """Truth, forecast and subject of every window, gathered the slow way: (N, P, H)."""
    truth, said = [], []
    for recording, start in zip(windows.fixed.recording, windows.fixed.start, strict=True):
        one = windows.windows.batch([int(recording)], [int(start)])
        truth.append(one.future_BPH[0].numpy())
        predicted = forecaster.predict(one.context_BPT, one.context_valid_BPT, windows.windows.horizon)
        said.append(predicted[0].numpy())
    subjects = windows.windows.store.metadata["subject"].to_numpy()[windows.fixed.recording]
    return np.array(truth, np.float64), np.array(said, np.float64), subjects


@pytest.mark.parametrize("batch_size", [5, 32])
def test_scores_are_those_of_all_values_gathered_one_by_one(judged, make_guess, scored, batch_size):
    windows, guess = judged(batch_size=batch_size), make_guess(factor=0.5, error=0.1)
    found = scored(guess, windows=windows)
    truth, said, subjects = all_values(windows, guess)
    for step in range(10):
        y, p = truth[:, :, step], said[:, :, step]
        sums = found.by_subject_SHK[:, step].sum(axis=0)
        assert float(r2(sums)) == pytest.approx(1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum())
        assert float(mse(sums)) == pytest.approx(((y - p) ** 2).mean())
        assert float(pearson_r(sums)) == pytest.approx(np.corrcoef(y.ravel(), p.ravel())[0, 1])
        assert found.held_H[step] == (np.abs(y - p) <= 1).sum()
    for number, name in enumerate(np.unique(subjects)):
        errors = (truth - said)[subjects == name]
        assert found.by_subject[number, Term.SQUARED_ERROR] == pytest.approx((errors**2).sum())
    for parcel in range(10):
        assert found.by_parcel_PK[parcel, Term.SQUARED_ERROR] == pytest.approx(((truth - said)[:, parcel] ** 2).sum())
    np.testing.assert_allclose(found.examples_EPH, said[_third(len(said))], atol=1e-6)


def _third(count: int) -> list[int]:
    return [((2 * number + 1) * count) // 6 for number in range(3)]


def test_bands_hold_the_share_they_are_made_for(judged, make_guess):
    guess = make_guess(factor=0.8)
    band = residual_band(guess, judged("validation"))
    windows = judged()
    found = score(guess, windows, band, windows.thinned(3))
    held = found.held_H.sum() / found.by_subject[:, Term.COUNT].sum()
    assert 0.76 < held < 0.84
    truth, said, _ = all_values(judged("validation"), guess)
    missed = (truth - said)[:, :, 3]
    np.testing.assert_allclose([band.low_H[3], band.high_H[3]], np.quantile(missed, [0.1, 0.9]), atol=1e-5)


def test_kept_scores_come_back_only_under_their_key(tmp_path, scored, make_guess, caplog):
    scores = dataclasses.replace(scored(make_guess(factor=0.5)), tuned="well", seconds=1.5)
    path = scores_path(tmp_path, "site A", "VAR(2) on 5 components")
    assert path.name == "site-a.var-2-on-5-components.npz"
    assert load_scores(path, key="k") is None
    save_scores(path, scores, key="k")
    found = load_scores(path, key="k")
    for field in dataclasses.fields(scores):
        mine, other = getattr(scores, field.name), getattr(found, field.name)
        if isinstance(mine, np.ndarray):
            assert np.array_equal(mine, other)
        elif isinstance(mine, ResidualBand):
            assert np.array_equal(mine.low_H, other.low_H)
            assert np.array_equal(mine.high_H, other.high_H)
        else:
            assert mine == other
    assert load_scores(path, key="another") is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_scores(path, key="k") is None
    assert "damaged and computed again" in caplog.text
