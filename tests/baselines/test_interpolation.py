"""Lines and last values against numpy, parcel by parcel."""

import numpy as np
import torch

from brainlm.baselines.interpolation import LastValue, LinearInterpolation, Zero


def test_lines_are_those_of_numpy(make_batch):
    batch = make_batch("random")
    predicted = LinearInterpolation().predict(batch).numpy()
    visible = batch.visible.numpy()
    time = np.arange(visible.shape[2])
    for window, parcel in np.ndindex(visible.shape[:2]):
        known = visible[window, parcel]
        expected = np.zeros(len(time))
        if known.any():
            expected = np.interp(time, time[known], batch.signal_BPT[window, parcel].numpy()[known])
        np.testing.assert_allclose(predicted[window, parcel], expected, atol=1e-5)


def test_the_last_visible_value_is_held_over_the_future(make_batch):
    batch = make_batch("future")
    predicted = LastValue().predict(batch)
    last_BP1 = batch.seen[:, :, 29:30]
    assert torch.equal(predicted[:, :, 30:], last_BP1.expand(-1, -1, 10))


def test_a_parcel_of_which_nothing_is_visible_is_zero(make_batch):
    batch = make_batch("parcel")
    for method in (LinearInterpolation(), LastValue(), Zero()):
        assert not method.predict(batch)[batch.hidden_BPT].any()
