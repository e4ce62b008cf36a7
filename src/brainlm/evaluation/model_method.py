"""The model as one method among its baselines, and how its patches are hidden for all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from brainlm.baselines.predictor import ANY_MASK, MaskedBatch
from brainlm.data.fingerprints import are_among
from brainlm.data.planned import listed
from brainlm.data.splits import bare_subject
from brainlm.data.store import Store
from brainlm.errors import DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.disclosure import seen_people
from brainlm.model.autoencoder import OwnCovariance
from brainlm.model.masks import Mask, hide

MOST_NAMED = 5  # subjects named in a message

SeenRule = Literal["refuse", "leave_out", "allow"]

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


def refuse_seen_subjects(model: BrainLM, store: Store, *, learned: Sequence[Store] = ()) -> None:
    """Raise DataError if the model, or a baseline, has learned from people of ``store``; see ``unseen``."""
    unseen(model, store, "refuse", learned=learned)


def unseen(model: BrainLM, store: Store, rule: SeenRule, *, learned: Sequence[Store] = ()) -> tuple[Store, str]:
    """The recordings of ``store`` that may be judged, and what is to be said of people who were seen; "" if nothing.

    Seen are people whose recordings, or names within the data set, the model was trained or validated on, and people
    with copies of the recordings in ``learned``, under whatever name. Where the model does not say whom it has seen, or
    people can be compared by name only, a warning says so.

    Args:
        model: its record says whom it was trained on.
        store: who is to be judged.
        rule: refuse people who were seen, leave them out, or allow them, with a remark.
        learned: recordings that baselines are fitted to and settings are chosen on.

    Raises:
        DataError: people were seen and are refused, or nobody else is left.
    """
    seen = seen_people(model.provenance, store)
    subjects = store.metadata["subject"].astype(str)
    if not seen.is_recorded:
        source = model.provenance.get("data", {}).get("source", {}).get("description")
        logger.warning(
            "the model does not say whom it was trained on%s: make sure that nobody of %s is",
            f" ({source})" if source else "",
            store.path,
        )
    if seen.note:
        logger.warning("%s", seen.note)
    if seen.namesakes:
        logger.warning(
            "%d people of %s have the names of people whom the model was trained on in another data set: %s; their "
            "recordings are others, so they are taken for other people",
            len(seen.namesakes),
            store.path,
            listed(seen.namesakes, MOST_NAMED),
        )
    copied = {subject for part in learned for subject in _copied(store, part)}
    both, copies = sorted({*seen.subjects, *copied}), sorted({*seen.copies, *copied})
    if not both:
        return store, ""
    of_copies = (
        f" (of them {len(copies)} as copies under another name or from another data set: {listed(copies, MOST_NAMED)})"
    )
    found = f"{len(both)} of the {subjects.nunique()} people were seen in pretraining" + (of_copies if copies else "")
    if rule == "allow":
        return store, found
    kept = store.take(np.flatnonzero(~subjects.isin(both)))
    if rule == "leave_out" and len(kept):
        logger.warning("left out: %s", found)
        return kept, ""
    raise DataError(
        "the model was trained on subjects it would be judged on",
        expected="subjects never seen in training or validation",
        found=f"{len(both)} of {subjects.nunique()} seen: {listed(both, MOST_NAMED)}{of_copies if copies else ''}",
        remedy="choose the test split (--split test, or --select split=test), another store, or let them be left out "
        "where the verb can (--seen leave_out); --allow_seen or --seen allow for a look that is no evaluation",
    )


def _copied(store: Store, learned: Store) -> set[str]:
    """Subjects with a recording that is also in ``learned``, under another name."""
    bare = store.metadata["subject"].map(bare_subject)
    others = set(learned.metadata["subject"].map(bare_subject))
    may_be = ~bare.isin(others).to_numpy() if learned.path == store.path else np.ones(len(store), dtype=bool)
    is_copy = are_among(store.fingerprints, learned.fingerprints) & may_be
    return set(store.metadata["subject"].astype(str)[is_copy])
