"""The model as one method among its baselines, and how its patches are hidden for all of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brainlm.baselines.predictor import ANY_MASK, MaskedBatch
from brainlm.data.store import Store
from brainlm.errors import DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.disclosure import seen_in_training
from brainlm.model.autoencoder import OwnCovariance
from brainlm.model.masks import Mask, hide

MOST_NAMED = 5  # subjects named in a message

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ModelMethod:
    """Fills in hidden values with a BrainLM."""

    model: BrainLM
    name: str = "BrainLM"
    mask_kinds: frozenset[str] = ANY_MASK

    @torch.no_grad()
    def predict(self, batch: MaskedBatch) -> Float[Tensor, "B P T"]:
        """The windows with their hidden patches predicted."""
        network = self.model.network
        hidden_BN = network.tokenizer.patches(batch.hidden_BPT).any(dim=2)
        own = None
        if network.config.own_covariance_points:
            own = OwnCovariance.of(batch.outside, num_parcels=batch.signal_BPT.shape[1])
        return network.reconstruct(batch.seen, batch.valid_BPT, hidden_BN, own=own)


@dataclass(frozen=True, eq=False)
class PatchHider:
    """Hides patches as the model cuts them; a ``HiddenMaker``."""

    model: BrainLM

    def __call__(
        self, mask: Mask, seeds_B: Int64[Tensor, "B"], valid_BPT: Bool[Tensor, "B P T"]
    ) -> Bool[Tensor, "B P T"]:
        """What of each window is hidden, value by value."""
        network = self.model.network
        hidden_BRC = hide((mask,), seeds_B, network.present_grid(valid_BPT))
        return network.tokenizer.expand(hidden_BRC.flatten(1)) & valid_BPT


def refuse_seen_subjects(model: BrainLM, store: Store) -> None:
    """Raise DataError if the model was trained on any subject of ``store``.

    A model from the Hub knows its training subjects by their hashes only. One that does not say whom it was trained on
    cannot be checked; a warning says so.
    """
    both = seen_in_training(model.provenance, store.metadata["subject"].astype(str))
    if both is None:
        logger.warning("the model does not say whom it was trained on: make sure that nobody of %s is", store.path)
    if both:
        raise DataError(
            "the model was trained on subjects it would be judged on",
            expected="subjects never seen in training",
            found=f"{len(both)} of them: {', '.join(both[:MOST_NAMED])}{' ...' if len(both) > MOST_NAMED else ''}",
            remedy="choose --split test, another store, or --allow_seen for a look that is no evaluation",
        )
