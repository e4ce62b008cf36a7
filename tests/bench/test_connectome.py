"""Connectomes are timed beside nilearn's; that both are the same is in ``tests/baselines/test_connectome.py``."""

from brainlm.bench.connectome import ConnectomeSizes, measure_connectomes
from brainlm.bench.stores import random_store


def test_every_number_is_measured_as_often_as_asked(tmp_path):
    sizes = ConnectomeSizes(num_recordings=6, num_parcels=8, recording_timepoints=30, repeats=2)
    store = random_store(tmp_path / "s", num_recordings=6, num_parcels=8, num_timepoints=(30, 30))
    measures = {measure.name: measure for measure in measure_connectomes(store, sizes)}
    assert next(iter(measures)) == "correlations of 6 recordings of 8 x 30"
    ratio = measures["nilearn's / ours"]
    assert ratio.low <= ratio.value <= ratio.high
    assert str(ratio.aim) == "≥ 5"
    assert str(measures["tangent vectors of a fold"].aim) == "≤ 10"
    assert all(measure.part == "connectome" and measure.low > 0 for measure in measures.values())
