"""Running means are the means of all at once, whatever is missing."""

import numpy as np
import torch

from brainlm.inference.means import RunningMeans


def test_means_a_few_at_a_time_are_those_of_all_at_once():
    values = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(0))
    values[torch.rand(7, 3, 4, generator=torch.Generator().manual_seed(1)) < 0.3] = torch.nan
    values[:, 2, 3] = torch.nan
    means = RunningMeans()
    for part in (slice(0, 1), slice(1, 5), slice(5, 7)):
        means.add({"all": values[part]})
    means.add({"once": values[:2]})
    found = means.means()
    assert set(found) == {"all", "once"}
    torch.testing.assert_close(found["all"], values.double().nanmean(dim=0), equal_nan=True)
    torch.testing.assert_close(found["once"], values[:2].double().nanmean(dim=0), equal_nan=True)
    assert found["all"][2, 3].isnan()


def test_many_small_numbers_are_not_lost_beside_large_ones():
    means = RunningMeans()
    means.add({"x": torch.tensor([1e8])})
    for _ in range(1000):
        means.add({"x": torch.tensor([1.0])})
    np.testing.assert_allclose(means.means()["x"], (1e8 + 1000) / 1001, rtol=1e-7)
