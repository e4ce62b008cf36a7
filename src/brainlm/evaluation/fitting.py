"""The baselines of reconstruction, fitted: to training recordings, their settings chosen on validation recordings.

What they are is in ``brainlm.baselines``; test recordings never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brainlm.baselines.autoregressive import MAX_ORDER, Autoregressive
from brainlm.baselines.gaussian import GaussianRecording, GaussianSpace
from brainlm.baselines.gaussian_em import GaussianEM
from brainlm.baselines.interpolation import LastValue, LinearInterpolation, Zero
from brainlm.baselines.moments import moments_of
from brainlm.baselines.predictor import MaskedBatch, Predictor
from brainlm.baselines.space_time import GaussianSpaceTime
from brainlm.data.fingerprints import joined
from brainlm.data.scaling import ScaledBatch, Scaler, scaled_recording
from brainlm.data.store import Store
from brainlm.evaluation.masking import MaskedWindows
from brainlm.model.masks import Mask

# Beyond this many training recordings, evenly spaced ones are used: 5,000 of 490 time points are 27 for each of the
# 90,000 covariances between 424 parcels, where a few thousand already change no third decimal.
MAX_TRAINING_RECORDINGS = 5_000
# Settings are few and their optima flat: so many windows of the validation split choose among them.
MAX_VALIDATION_WINDOWS = 96
FEWEST_TO_REFIT = 16  # people: a quarter of each half chooses settings
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


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """A baseline fitted to each half of a cohort, which fills in the windows of the other half.

    Attributes:
        name: as tables show it.
        mask_kinds: what it has something to say about.
        fitted: to the second half and to the first.
        half_N: the half that each recording of the cohort is in, 0 or 1.
    """

    name: str
    mask_kinds: frozenset[str]
    fitted: tuple[Predictor, Predictor]
    half_N: Int64[np.ndarray, "N"]

    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """Each window by what was fitted to other people."""
        filled_BPT = torch.zeros_like(batch.signal_BPT)
        half_B = self.half_N[batch.recording_B.cpu().numpy()]
        for half, method in enumerate(self.fitted):
            rows = np.flatnonzero(half_B == half)
            if len(rows):
                filled_BPT[rows] = method.predict(batch.rows(rows)).to(filled_BPT.dtype)
        return filled_BPT


def refit_baselines(
    windows: MaskedWindows, conditions: Sequence[Mask], *, on_progress: Callable[[int, int], None] | None = None
) -> list[Predictor]:
    """The baselines of ``fit_baselines`` fitted within the cohort that ``windows`` are of.

    What they could be if the cohort had been there before: nobody is filled in by what was fitted to him or to a copy
    of his recordings. Empty for fewer than ``FEWEST_TO_REFIT`` people. Settings are chosen on a quarter of each half.
    """
    store = windows.windows.store
    subjects = store.metadata["subject"].astype(str).to_numpy()
    pairs = [(str(subjects[one]), str(subjects[other])) for one, other in store.copies]
    group_of = joined(sorted(set(subjects)), pairs)
    groups = np.random.default_rng(windows.seed).permutation(sorted(set(group_of.values())))
    if len(groups) < FEWEST_TO_REFIT:
        return []
    place = {group: number for number, group in enumerate(groups)}
    place_N = np.array([place[group_of[subject]] for subject in subjects])
    half_N = (place_N % 2).astype(np.int64)
    is_chosen_by_N = place_N // 2 % 4 == 0
    fitted = [
        fit_baselines(
            store.take(np.flatnonzero((half_N != half) & ~is_chosen_by_N)),
            windows.of(store.take(np.flatnonzero((half_N != half) & is_chosen_by_N))),
            windows.scaler,
            conditions,
            on_progress=on_progress,
        )
        for half in (0, 1)
    ]
    return [
        CrossFitted(
            f"{' / '.join(dict.fromkeys((one.name, other.name)))}, refitted", one.mask_kinds, (one, other), half_N
        )
        for one, other in zip(*fitted, strict=True)
    ]


def training_recordings(
    store: Store, scaler: Scaler, on_progress: Callable[[int, int], None] | None = None
) -> Iterator[ScaledBatch]:
    """Whole recordings of ``store``, scaled, each a batch of its own; of very many, evenly spaced ones."""
    total = min(len(store), MAX_TRAINING_RECORDINGS)
    for done, index in enumerate(((2 * np.arange(total) + 1) * len(store)) // (2 * max(total, 1)), start=1):
        yield scaled_recording(store, int(index), scaler)
        if on_progress is not None:
            on_progress(done, total)
