"""Correlations of real recordings predict age as well as others found."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from brainlm.baselines.connectome import connectomes
from brainlm.data.sources.abide import import_abide
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store

LOG_AGE_R = 0.80  # five folds of 910 people, a linear model on correlations of CC200; random folds differ by 0.01


@pytest.mark.slow
def test_log_age_on_abide_is_predicted_as_well_as_is_known(shared, tmp_path):
    import_abide(tmp_path / "store", packed=shared / "data" / "abide", split=SplitRule())
    store = Store.open(tmp_path / "store")
    edges = np.nan_to_num(connectomes(store, "correlation"))
    log_age = np.log(store.metadata["age"].to_numpy())
    pipeline = make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 6, 11)))
    with threadpool_limits(1):
        predicted = cross_val_predict(pipeline, edges, log_age, cv=KFold(5, shuffle=True, random_state=0))
    assert np.corrcoef(predicted, log_age)[0, 1] == pytest.approx(LOG_AGE_R, abs=0.03)
