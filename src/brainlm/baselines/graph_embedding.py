"""A graph auto-encoder over parcels: vectors from which the strongest connections of a brain can be told.

The baseline that the paper calls GCN for functional networks. The graph network that predicts people's labels is in
``graph.py``; how this one is trained, in ``training/unsupervised.py``.

Shapes: B recordings, P parcels, E = P (P - 1) / 2 pairs of parcels, H width, D numbers of a vector.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from brainlm.baselines.graph import EDGE_SHARE, graph_layers, places_of_pairs

# The sizes of Kipf and Welling (2016).
WIDTH = 32
CODE = 16


class GraphAutoencoder(nn.Module):
    """Two graph convolutions and an inner product (Kipf and Welling 2016, "Variational graph auto-encoders", the
    non-variational form), trained to tell the connected pairs of parcels of the group.

    A recording enters as its own graph, the ``EDGE_SHARE`` of its pairs with the highest correlation, whose nodes carry
    their rows of the connectome. What is rebuilt is the group's graph, the same for all: what recordings have in
    common is what networks are.

    Args:
        group_PP: 1 between the pairs that are connected in the group (``graph.group_graph``), 0 elsewhere.
        width: H.
        code: D.
        seed: of the weights.
    """

    group_PP: Tensor
    place_PP: Tensor

    def __init__(
        self, group_PP: Float32[Tensor, "P P"], *, width: int = WIDTH, code: int = CODE, seed: int = 0
    ) -> None:
        super().__init__()
        convolution = graph_layers().DenseGCNConv
        self.register_buffer("group_PP", group_PP)
        self.register_buffer("place_PP", places_of_pairs(len(group_PP)), persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = convolution(len(group_PP), width)
            self.second = convolution(width, code)

    def forward(self, edges_BE: Float[Tensor, "B E"]) -> Float[Tensor, "B"]:
        """The cross-entropy of each recording: connected or not, both kinds of pairs weighing alike.

        Args:
            edges_BE: upper triangles of connectomes, row by row; NaN where a parcel has no signal.
        """
        known_BPP = self._square(torch.isfinite(edges_BE).float()).bool()
        vectors_BPD = self._vectors(edges_BE)
        logits_BPP = vectors_BPD @ vectors_BPD.transpose(1, 2)
        loss_BPP = F.binary_cross_entropy_with_logits(logits_BPP, self.group_PP.expand_as(logits_BPP), reduction="none")
        joined_BPP = known_BPP & (self.group_PP > 0)
        return (_mean_where(loss_BPP, joined_BPP) + _mean_where(loss_BPP, known_BPP & ~joined_BPP)) / 2

    def encode(self, edges_BE: Float[Tensor, "B E"]) -> Float[Tensor, "B P D"]:
        """The vector of each parcel in each recording; NaN where it has no signal."""
        known_BP = self._square(torch.isfinite(edges_BE).float()).any(dim=2)
        return self._vectors(edges_BE).masked_fill(~known_BP[:, :, None], torch.nan)

    def _vectors(self, edges_BE: Float[Tensor, "B E"]) -> Float[Tensor, "B P D"]:
        # Fisher's z; copies of one parcel (r = 1) are as close as two parcels of a recording of 10,000 points can be.
        profile_BPP = self._square(torch.nan_to_num(edges_BE, nan=0.0).clamp(-0.9999, 0.9999).atanh())
        graph_BPP = self._square(strongest(edges_BE).to(edges_BE.dtype))
        hidden_BPH = F.relu(self.first(F.layer_norm(profile_BPP, profile_BPP.shape[2:]), graph_BPP))
        vectors_BPD: Tensor = self.second(hidden_BPH, graph_BPP)
        return vectors_BPD

    def _square(self, edges_BE: Float[Tensor, "B E"]) -> Float[Tensor, "B P P"]:
        """Symmetric matrices with 0 on the diagonal."""
        return F.pad(edges_BE, (0, 1))[:, self.place_PP]


def strongest(edges_BE: Float[Tensor, "B E"], *, share: float = EDGE_SHARE) -> Bool[Tensor, "B E"]:
    """The ``share`` of each recording's pairs with the highest value; NaN is never among them."""
    ranked_BE = torch.nan_to_num(edges_BE, nan=-torch.inf)
    place_BK = ranked_BE.topk(max(1, round(share * edges_BE.shape[1])), dim=1).indices
    return torch.zeros_like(edges_BE, dtype=torch.bool).scatter(1, place_BK, True) & torch.isfinite(edges_BE)


def _mean_where(values_BPP: Float[Tensor, "B P P"], mask_BPP: Bool[Tensor, "B P P"]) -> Float[Tensor, "B"]:
    return (values_BPP * mask_BPP).sum(dim=(1, 2)) / mask_BPP.sum(dim=(1, 2)).clamp(min=1)
