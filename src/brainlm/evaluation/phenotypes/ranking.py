"""How well predicted probabilities order people: within-fold AUROC and average precision, in many resamples at once.

Both are sums over one sorted list, so that a thousand weightings cost a thousand cumulative sums and no sort.

Shapes: N tested units, B resamples.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64

from brainlm.evaluation.phenotypes.outcomes import Outcomes, mean_of_known, ratio


def auroc(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """The area under the ROC curve over pairs of the same test fold; the mean over classes where there are several.

    It is the share of pairs, one with and one without the class, that are ordered rightly; a tie is half. Pairs across
    folds compare the outputs of two differently fitted models: when a test fold has many of a class its training folds
    have few, so that a method knowing nothing but their share is *below* 0.5. Within a fold it is exactly 0.5. A fold
    of one class has no pairs; NaN where no fold has any.
    """
    classes = tested.one_vs_rest()
    return mean_of_known(
        np.stack([within_fold_auroc(one.score_N, one.positive_N, tested.fold_N, weights_NB) for one in classes])
    )


def auprc(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """Average precision, folds pooled; the mean over classes where there are several. Its chance is the class's share.

    Precision needs the share of a class among all people tested, which a fold is too small for: this one does feel
    offsets between folds, and who knows nothing may fall a little below the share.
    """
    classes = tested.one_vs_rest()
    return mean_of_known(np.stack([average_precision(one.score_N, one.positive_N, weights_NB) for one in classes]))


def within_fold_auroc(
    score_N: Float64[np.ndarray, "N"],
    positive_N: Bool[np.ndarray, "N"],
    fold_N: Int64[np.ndarray, "N"],
    weights_NB: Float64[np.ndarray, "N B"],
) -> Float64[np.ndarray, "B"]:
    """Weight of the rightly ordered pairs of the same fold by the weight of all of them."""
    order = np.lexsort((score_N, fold_N))
    score_N, positive_N, fold_N = score_N[order], positive_N[order], fold_N[order]
    positive_PB, negative_MB = weights_NB[order[positive_N]], weights_NB[order[~positive_N]]
    # below[m]: weight of the first m negatives of the list
    below = np.concatenate([np.zeros((1, weights_NB.shape[1])), np.cumsum(negative_MB, axis=0)])

    fold_starts = _starts(fold_N[1:] != fold_N[:-1])
    level_starts = _starts((fold_N[1:] != fold_N[:-1]) | (score_N[1:] != score_N[:-1]))
    level_P = np.searchsorted(level_starts, np.flatnonzero(positive_N), side="right") - 1
    negatives_before = np.concatenate([[0], np.cumsum(~positive_N)])
    lower_P = negatives_before[level_starts[level_P]]
    upper_P = negatives_before[np.append(level_starts[1:], len(score_N))[level_P]]
    won_B = np.einsum("pb,pb->b", positive_PB, below[lower_P])
    if (lower_P != upper_P).any():  # ties
        won_B = 0.5 * won_B + 0.5 * np.einsum("pb,pb->b", positive_PB, below[upper_P])

    # The list goes through the folds one by one: what was below in earlier folds does not count.
    edges = negatives_before[np.append(fold_starts, len(score_N))]
    in_fold_FP = (fold_N[positive_N] == fold_N[fold_starts][:, None]).astype(np.float64)
    positive_FB = in_fold_FP @ positive_PB
    won_B = won_B - (positive_FB * below[edges[:-1]]).sum(axis=0)
    return ratio(won_B, (positive_FB * (below[edges[1:]] - below[edges[:-1]])).sum(axis=0))


def average_precision(
    score_N: Float64[np.ndarray, "N"], positive_N: Bool[np.ndarray, "N"], weights_NB: Float64[np.ndarray, "N B"]
) -> Float64[np.ndarray, "B"]:
    """Sum over thresholds of the gain in recall times the precision; equal scores are one threshold."""
    order = np.argsort(-score_N, kind="stable")
    score_N, positive_N, weights_NB = score_N[order], positive_N[order], weights_NB[order]
    ends = np.append(_starts(score_N[1:] != score_N[:-1])[1:], len(score_N)) - 1
    found_LB = np.cumsum(weights_NB * positive_N[:, None], axis=0)
    called_LB = np.cumsum(weights_NB, axis=0)
    if len(ends) < len(score_N):  # ties
        found_LB, called_LB = found_LB[ends], called_LB[ends]
    gained_LB = np.diff(found_LB, axis=0, prepend=0.0)
    # Where nobody has been called yet nothing is gained either.
    precision_LB = np.divide(found_LB, called_LB, out=np.zeros_like(found_LB), where=called_LB > 0)
    return ratio(np.einsum("lb,lb->b", gained_LB, precision_LB), found_LB[-1])


def _starts(changes: np.ndarray) -> np.ndarray:
    """Where each run of equal neighbours starts, from where neighbours differ."""
    return np.concatenate([[0], np.flatnonzero(changes) + 1])
