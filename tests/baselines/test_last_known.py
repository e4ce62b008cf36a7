"""The forecasts that fit nothing."""

import torch

from brainlm.baselines.forecaster import Forecaster
from brainlm.baselines.last_known import ContextMean, LastValue


def test_the_last_valid_value_stays():
    context_BPT = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 0.0], [0.0, 0.0, 0.0]]])
    valid_BPT = torch.tensor([[[True, True, True], [True, True, False], [False, False, False]]])
    found = LastValue().predict(context_BPT, valid_BPT, 2)
    assert found.tolist() == [[[3.0, 3.0], [5.0, 5.0], [0.0, 0.0]]]


def test_the_mean_is_that_of_the_valid_values():
    context_BPT = torch.tensor([[[1.0, 2.0, 6.0], [4.0, 6.0, 99.0], [7.0, 7.0, 7.0]]])
    valid_BPT = torch.tensor([[[True, True, True], [True, True, False], [False, False, False]]])
    found = ContextMean().predict(context_BPT, valid_BPT, 2)
    assert found.tolist() == [[[3.0, 3.0], [5.0, 5.0], [0.0, 0.0]]]


def test_both_are_forecasters():
    assert all(isinstance(one, Forecaster) for one in (LastValue(), ContextMean()))
