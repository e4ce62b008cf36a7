"""Does the model need what it looks at? Deletion and insertion of the most, the least and randomly attended parcels.

After Petsiuk et al. (2018, RISE, BMVC): hiding what matters changes the output most, showing it alone restores most of
it. Judged by the summary vector, and in deletion by how well parcels that are hidden throughout are reconstructed too.

Shapes: B windows, P parcels, R rows of patches, N patches, D width, S subjects, J shares, O orders, M recordings, C
conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from brainlm.data.store import Store
from brainlm.evaluation.attention.hidden_rows import MODES, ORDERS, SHARES, HidingPlan, conditions, rows_hidden
from brainlm.evaluation.attention.sample import SampleBatch, sample_batches
from brainlm.evaluation.attention.subject_maps import Subjects
from brainlm.evaluation.metrics import ScoreSums, Term
from brainlm.inference.brainlm import BrainLM
from brainlm.model.autoencoder import Encoding, MaskedAutoencoder, Places


@dataclass(frozen=True, eq=False)
class HidingSums:
    """What hiding came to, as sums by subject; random draws together weigh as much as one condition.

    Attributes:
        deleted, inserted: sum and number of the distances of the CLS vector (``_distances``).
        terms: sums of ``metrics.Term`` over the target values, of deletion.
        all_terms: the same with nothing but the targets hidden.
    """

    deleted: Float64[np.ndarray, "J O S 2"]
    inserted: Float64[np.ndarray, "J O S 2"]
    terms: Float64[np.ndarray, "J O S 8"]
    all_terms: Float64[np.ndarray, "S 8"]

    def of_subjects(self, subjects: Int64[np.ndarray, "_"]) -> HidingSums:
        """Those of some subjects."""
        deleted, inserted, terms = (part[:, :, subjects] for part in (self.deleted, self.inserted, self.terms))
        return HidingSums(deleted, inserted, terms, self.all_terms[subjects])


@torch.no_grad()
def hide_attended(
    model: BrainLM,
    store: Store,
    maps_NP: Float[np.ndarray, "N P"],
    recordings: Int64[np.ndarray, "M"],
    subjects: Subjects,
    *,
    seed: int,
    batch_size: int = 8,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> HidingSums:
    """Hide parcels by each recording's own map in its middle window.

    A random fifth of the parcels are targets, hidden in every condition; shares are of the others. Parcels of one patch
    are hidden together.

    Args:
        maps_NP: attention of every recording of ``store``.
        recordings: which are judged.
        subjects: of all recordings.
        seed: of targets and random parcels.
    """
    network, num_subjects = model.network, len(subjects)
    terms = np.zeros((len(SHARES), len(ORDERS), num_subjects, len(Term)))
    all_terms = np.zeros((num_subjects, len(Term)))
    full, hidden = [], []
    for batch in sample_batches(model, store, recordings, batch_size=batch_size, resample=resample, with_own=True):
        plan = HidingPlan.of(network, batch, maps_NP[batch.recording_B], seed=seed)
        subject_B = subjects.subject_N[batch.recording_B]
        target_BN = rows_hidden(network, batch.valid_BPT, plan.targets)
        looked = _look(network, batch, target_BN)
        full.append(_vectors(looked))
        all_terms += _terms(network, batch, looked, target_BN, target_BN, subject_B, num_subjects)
        vectors = []
        for one in conditions():
            hidden_BN = rows_hidden(network, batch.valid_BPT, plan.hidden(one))
            looked = _look(network, batch, hidden_BN)
            vectors.append(_vectors(looked))
            if one.is_deletion:
                found = _terms(network, batch, looked, hidden_BN, target_BN, subject_B, num_subjects)
                terms[one.share, one.order] += one.weight * found
        hidden.append(np.stack(vectors, axis=1))
        if on_progress is not None:
            on_progress(sum(map(len, full)), len(recordings))
    distance_MC = _distances(np.concatenate(full), np.concatenate(hidden))
    sums = _by_subject(distance_MC, subjects.subject_N[recordings], num_subjects)
    return HidingSums(sums[MODES.index("deletion")], sums[MODES.index("insertion")], terms, all_terms)


def _look(network: MaskedAutoencoder, batch: SampleBatch, hidden_BN: Bool[Tensor, "B N"]) -> Encoding:
    return network.encode(batch.signal_BPT, visible=Places.of(network.seen(batch.valid_BPT) & ~hidden_BN))


def _vectors(encoding: Encoding) -> Float32[np.ndarray, "B D"]:
    return encoding.cls_BD.float().cpu().numpy()


def _terms(
    network: MaskedAutoencoder,
    batch: SampleBatch,
    encoding: Encoding,
    hidden_BN: Bool[Tensor, "B N"],
    target_BN: Bool[Tensor, "B N"],
    subject_B: np.ndarray,
    num_subjects: int,
) -> Float64[np.ndarray, "S 8"]:
    """How well the targets are reconstructed from what has been encoded, by subject."""
    decoded = Places.of(hidden_BN)  # as the model is used: everything hidden is decoded together
    base_BMV = None
    if network.config.head != "plain":
        visible_BPT = batch.valid_BPT & ~network.tokenizer.expand(hidden_BN)
        base_BPT = network.gaussian_base(batch.signal_BPT, visible_BPT, batch.own)
        base_BMV = decoded.take(network.tokenizer.patches(base_BPT))
    predicted_BMV = network.decode(encoding, decoded, base_BMV)
    if decoded.present_BK is not None:
        predicted_BMV = predicted_BMV * decoded.present_BK[:, :, None]
    patches_BNV = network.tokenizer.patches(torch.zeros_like(batch.signal_BPT))
    patches_BNV = patches_BNV.scatter_add(1, decoded.index_BK[:, :, None].expand_as(predicted_BMV), predicted_BMV)
    sums = ScoreSums(num_subjects, *batch.signal_BPT.shape[1:])
    scored_BPT = network.tokenizer.expand(target_BN) & batch.valid_BPT
    sums.add(network.tokenizer.windows(patches_BNV), batch.signal_BPT, scored_BPT, subject_B)
    return sums.by_subject


def _distances(
    full_MD: Float32[np.ndarray, "M D"], hidden_MCD: Float32[np.ndarray, "M C D"]
) -> Float64[np.ndarray, "M C"]:
    """1 - cosine around the mean full vector, because most of every CLS vector is what all windows have in common.

    NaN of a single window, which is its own mean.
    """
    centre_D = full_MD.mean(axis=0, dtype=np.float64)
    full_M1D, hidden_MCD = (full_MD - centre_D)[:, None], hidden_MCD - centre_D
    lengths_MC = np.linalg.norm(full_M1D, axis=2) * np.linalg.norm(hidden_MCD, axis=2)
    products_MC = (full_M1D * hidden_MCD).sum(axis=2)
    return np.where(lengths_MC > 0, 1 - products_MC / np.where(lengths_MC > 0, lengths_MC, 1), np.nan)


def _by_subject(
    distance_MC: Float64[np.ndarray, "M C"], subject_M: Int64[np.ndarray, "M"], num_subjects: int
) -> Float64[np.ndarray, "2 J O S 2"]:
    sums = np.zeros((len(MODES), len(SHARES), len(ORDERS), num_subjects, 2))
    for one, distance_M in zip(conditions(), distance_MC.T, strict=True):
        known_M = np.isfinite(distance_M)
        pairs_M2 = np.stack([np.where(known_M, distance_M, 0.0), known_M], axis=1)
        np.add.at(sums[one.mode, one.share, one.order], subject_M, one.weight * pairs_M2)
    return sums
