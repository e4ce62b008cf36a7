"""The baselines of reconstruction, fitted: to training recordings, their settings chosen on validation recordings.

What they are is in ``brainlm.baselines``; test recordings never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from brainlm.baselines.autoregressive import MAX_ORDER, Autoregressive
from brainlm.baselines.gaussian import GaussianRecording, GaussianSpace
from brainlm.baselines.gaussian_em import GaussianEM
from brainlm.baselines.interpolation import LastValue, LinearInterpolation, Zero
from brainlm.baselines.moments import moments_of
from brainlm.baselines.predictor import Predictor
from brainlm.baselines.space_time import GaussianSpaceTime
from brainlm.data.scaling import ScaledBatch, Scaler, scaled_recording
from brainlm.data.store import Store
from brainlm.evaluation.masking import MaskedWindows
from brainlm.model.masks import Mask

# Beyond this many training recordings, evenly spaced ones are used: 5,000 of 490 time points are 27 for each of the
# 90,000 covariances between 424 parcels, where a few thousand already change no third decimal.
MAX_TRAINING_RECORDINGS = 5_000
# Settings are few and their optima flat: so many windows of the validation split choose among them.
MAX_VALIDATION_WINDOWS = 96
# The masks on which they are chosen, where the evaluation has them.
SELECTION_MASKS = (Mask("random", 0.2), Mask("random", 0.75), Mask("parcel", 0.5), Mask("future", 1.0))


def fit_baselines(
    training: Store,
    validation: MaskedWindows,
    scaler: Scaler,
    conditions: Sequence[Mask],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Predictor]:
    """Every baseline that has something to say about one of ``conditions``, from the simplest to the strongest.

    Args:
        training: the recordings that moments are taken of.
        validation: windows of other subjects, on which shrinkage, blend and noise are chosen.
        scaler: the model's.
        conditions: the masks of the evaluation.
        on_progress: called with (training recordings read, all of them).

    Raises:
        DataError: there are no training recordings.
    """
    kinds = {mask.kind for mask in conditions}
    chosen = [mask for mask in conditions if mask in SELECTION_MASKS] or list(conditions)
    num_lags = max(validation.windows.num_timepoints, MAX_ORDER + 1)
    moments = moments_of(training_recordings(training, scaler, on_progress), num_lags=num_lags)
    few = validation.thinned(MAX_VALIDATION_WINDOWS)
    batches = [(mask.kind, batch) for mask in chosen for batch in few.batches(mask)]
    anywhere = [batch for _, batch in batches]
    in_space = [batch for kind, batch in batches if kind != "future"]
    space = GaussianSpace.fit(moments, in_space)
    recording = GaussianRecording.fit(space, in_space)
    everything = GaussianEM.fit(recording, in_space)
    space_time = GaussianSpaceTime.fit(space, moments, anywhere)
    candidates: list[Predictor] = [
        Zero(),
        LinearInterpolation(),
        LastValue(),
        Autoregressive.fit(moments),
        space,
        space_time,
        recording,
        space_time.with_space(recording),
        everything,
        space_time.with_space(everything),
    ]
    return [candidate for candidate in candidates if kinds & candidate.mask_kinds]


def training_recordings(
    store: Store, scaler: Scaler, on_progress: Callable[[int, int], None] | None = None
) -> Iterator[ScaledBatch]:
    """Whole recordings of ``store``, scaled, each a batch of its own; of very many, evenly spaced ones."""
    total = min(len(store), MAX_TRAINING_RECORDINGS)
    for done, index in enumerate(((2 * np.arange(total) + 1) * len(store)) // (2 * max(total, 1)), start=1):
        yield scaled_recording(store, int(index), scaler)
        if on_progress is not None:
            on_progress(done, total)
