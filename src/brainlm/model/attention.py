"""Where the encoder looks, read off in one encoding pass without ever holding an S x S matrix.

Attention is computed from the queries and keys as the blocks compute them; nothing is masked. How is in
``attention_rows.py``, ``attention_lags.py`` and ``attention_rollout.py``; parcels are in ``inference/pooling.py``.

Shapes: B batch, P parcels, T time points, L layers, H heads, S = 1 + K tokens (CLS first), K seen patches, N patches of
which R x C lie in the window (R spatial, C temporal), G = 2C - 1 lags, F features of one head.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainlm.errors import ConfigError
from brainlm.model.attention_lags import LagSums
from brainlm.model.attention_rollout import Rollout
from brainlm.model.attention_rows import cls_rows
from brainlm.model.autoencoder import MaskedAutoencoder, Places
from brainlm.model.layers import Observer


class AttentionWatch:
    """Reads attention off the encoder's blocks while windows are encoded.

    Hand ``places`` and ``observers`` to ``network.encode``; the results are there afterwards.

    Args:
        network: whose ``encode`` is going to be called, without gradients.
        valid_BPT: True = real data; of the windows that are going to be encoded.
        layers: whose attention of CLS is kept, from 0, or from -1 at the end; ``all`` of them.
        between: the layer whose attention between patches is kept; None = of none.
        head: the head that it is taken from; None = the mean over heads.
        rollout: follow attention through all layers as well. Holds the queries and keys of all of them for a while.

    Raises:
        ConfigError: there is no such layer or head.
    """

    def __init__(
        self,
        network: MaskedAutoencoder,
        valid_BPT: Bool[Tensor, "B P T"],
        *,
        layers: Sequence[int] | Literal["all"] = "all",
        between: int | None = None,
        head: int | None = None,
        rollout: bool = False,
    ) -> None:
        depth = network.config.encoder_depth
        self.places = Places.of(network.seen(valid_BPT))
        self.layers = tuple(range(depth)) if layers == "all" else tuple(layer_number(network, one) for one in layers)
        self._num_patches = network.tokenizer.num_tokens
        self._cls_of: dict[int, Tensor] = {}
        seeing: dict[int, list[Observer]] = {layer: [partial(self._see_cls, layer)] for layer in self.layers}
        self._lags: LagSums | None = None
        if between is not None:
            head = None if head is None else head_number(network, head)
            self._lags = LagSums(network, valid_BPT, self.places, head=head)
            seeing.setdefault(layer_number(network, between), []).append(self._lags.see)
        self._rollout: Rollout | None = None
        if rollout:
            self._rollout = Rollout(self.places, depth)
            for layer in range(depth):
                seeing.setdefault(layer, []).append(self._rollout.see)
        self.observers: dict[int, Observer] = {layer: partial(_tell, listeners) for layer, listeners in seeing.items()}

    def _see_cls(self, layer: int, query_BHSF: Tensor, key_BHSF: Tensor) -> None:
        self._cls_of[layer] = cls_rows(query_BHSF, key_BHSF, self.places)[:, :, 1:]

    @property
    def cls_BLHN(self) -> Float[Tensor, "B L H N"]:  # noqa: N802 - shape suffix
        """From CLS to each patch, the part to itself left out; patches that were not seen get 0."""
        assert self._cls_of.keys() == set(self.layers), "nothing has been encoded yet"
        return self._spread(torch.stack([self._cls_of[layer] for layer in self.layers], dim=1))

    @property
    def between_BGRR(self) -> Float[Tensor, "B G R R"]:  # noqa: N802 - shape suffix
        """From one patch in a row of parcels (third axis) to one in another (fourth), by the time between them.

        Entry g is of the lag g - (C - 1) in patches, attended minus asking time: the mean over all pairs of patches
        with data at that lag, NaN where there is none. Times ``pairs_BGRR``, summed over lags and divided by the number
        of asking patches it is ``rows_BRR``.
        """
        return self._looked_between.sums_BGRR / self.pairs_BGRR

    @property
    def pairs_BGRR(self) -> Float[Tensor, "B G R R"]:  # noqa: N802 - shape suffix
        """How many pairs of patches with data there are at each lag."""
        return self._looked_between.pairs_BGRR

    @property
    def rows_BRR(self) -> Float[Tensor, "B R R"]:  # noqa: N802 - shape suffix
        """From the patches of one row of parcels to those of another: mean over asking, sum over attended times.

        Rows sum to one less the attention to CLS and, in an image, to patches without data. A row of absent parcels is
        zero.
        """
        num_asking_BR = self._looked_between.present_BRC.sum(dim=2).clamp(min=1)
        return self._looked_between.sums_BGRR.sum(dim=1) / num_asking_BR[:, :, None]

    @property
    def rollout_BN(self) -> Float[Tensor, "B N"]:  # noqa: N802 - shape suffix
        """From CLS behind the last layer to each patch of the input through all layers; see ``Rollout``.

        The part that stays with CLS is left out.
        """
        assert self._rollout is not None, "rollout was not asked for"
        return self._spread(self._rollout.share_BS[:, 1:])

    @property
    def _looked_between(self) -> LagSums:
        assert self._lags is not None, "attention between patches was not asked for"
        return self._lags

    def _spread(self, values_BK: Float[Tensor, "B *more K"]) -> Float[Tensor, "B *more N"]:
        """Values at the seen patches, put back among all; 0 elsewhere."""
        out_BN = values_BK.new_zeros(*values_BK.shape[:-1], self._num_patches)
        index_BK = self.places.index_BK.view(len(values_BK), *(1,) * (values_BK.ndim - 2), -1)
        return out_BN.scatter(-1, index_BK.expand_as(values_BK), values_BK)


def layer_number(network: MaskedAutoencoder, layer: int) -> int:
    """Which encoder block ``layer`` names, from 0; negative numbers count from the end.

    Raises:
        ConfigError: there is no such block.
    """
    return _number("block", layer, network.config.encoder_depth)


def head_number(network: MaskedAutoencoder, head: int) -> int:
    """Which head of the encoder's blocks ``head`` names, from 0; negative numbers count from the end.

    Raises:
        ConfigError: there is no such head.
    """
    return _number("head", head, network.config.encoder_heads)


def _number(what: str, given: int, count: int) -> int:
    if not -count <= given < count:
        raise ConfigError(
            f"the encoder has no {what} {given}",
            expected=f"0 to {count - 1}, or -{count} to -1 from the end",
            found=str(given),
        )
    return given % count


def _tell(listeners: Sequence[Observer], query_BHSF: Tensor, key_BHSF: Tensor) -> None:
    for listener in listeners:
        listener(query_BHSF, key_BHSF)
