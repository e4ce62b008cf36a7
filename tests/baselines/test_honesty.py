"""What holds for every baseline: it does not see what is hidden, nor its batch-mates."""

from dataclasses import replace

import pytest
import torch

from brainlm.baselines.autoregressive import Autoregressive
from brainlm.baselines.gaussian import Blend, GaussianRecording, GaussianSpace
from brainlm.baselines.interpolation import LastValue, LinearInterpolation, Zero
from brainlm.baselines.predictor import MaskedBatch
from brainlm.baselines.space_time import GaussianSpaceTime

NAMES = ["zero", "line", "last", "ar", "space", "recording", "space_time", "recording_space_time"]
CASES = [(name, kind) for name in NAMES for kind in ("random", "parcel", "future")]


@pytest.fixture(scope="module")
def methods(moments):
    space = GaussianSpace.of(moments, shrinkage=0.05)
    recording = GaussianRecording(space, Blend(1.0, 100.0))
    space_time = GaussianSpaceTime(space, moments.autocorrelation.float(), noise_share=0.1)
    together = space_time.with_space(recording)
    simple = [Zero(), LinearInterpolation(), LastValue(), Autoregressive.fit(moments)]
    return dict(zip(NAMES, [*simple, space, recording, space_time, together], strict=True))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_hidden_values_never_influence_a_prediction(methods, make_batch, name: str, kind: str):
    batch = make_batch(kind)
    spoiled = replace(batch, signal_BPT=batch.signal_BPT.masked_fill(batch.hidden_BPT, float("nan")))
    assert torch.equal(methods[name].predict(spoiled), methods[name].predict(batch))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_values_that_are_not_valid_never_influence_a_prediction(methods, make_batch, name: str, kind: str):
    batch = make_batch(kind)
    spoiled = replace(batch, signal_BPT=batch.signal_BPT.masked_fill(~batch.valid_BPT, 1e3))
    assert torch.equal(methods[name].predict(spoiled), methods[name].predict(batch))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_prediction_is_finite(methods, make_batch, name: str, kind: str):
    assert torch.isfinite(methods[name].predict(make_batch(kind))).all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_batch_mates_do_not_matter(methods, make_batch, name: str, kind: str):
    batch = make_batch(kind)
    together = methods[name].predict(batch)
    alone = torch.cat([methods[name].predict(window(batch, number)) for number in range(5)])
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)


def window(batch: MaskedBatch, number: int) -> MaskedBatch:
    one = slice(number, number + 1)
    return MaskedBatch(
        signal_BPT=batch.signal_BPT[one],
        valid_BPT=batch.valid_BPT[one],
        hidden_BPT=batch.hidden_BPT[one],
        outside=batch.outside[one],
        recording_B=batch.recording_B[one],
        start_B=batch.start_B[one],
    )
