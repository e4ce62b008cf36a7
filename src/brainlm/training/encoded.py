"""Windows as a frozen encoder's vectors, each encoded once: what a head alone is trained on.

With the encoder frozen and nothing hidden, the same window always becomes the same vector, so that only the first
epochs take the encoder's time. The windows themselves are ``labelled.py``'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brainlm.model.head import Predictor, pooled
from brainlm.training.labelled import FixedInputs, Inputs

NUM_VISITS = 4  # different random windows of a recording; later epochs see these again


class EncodedInputs:
    """The vectors that a predictor's head sees of the windows that ``windows`` gives.

    Args:
        predictor: whose encoder is frozen.
        windows: signal and validity.
        batch_size: windows that are encoded together.
    """

    def __init__(self, predictor: Predictor, windows: Inputs, *, batch_size: int) -> None:
        self.predictor = predictor
        self.windows = windows
        self.batch_size = batch_size
        self._drawn: dict[tuple[int, int, int], Tensor] = {}
        self._fixed: dict[int, Tensor] = {}

    def drawn(self, recordings_B: Int64[np.ndarray, "B"], *, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """See ``Inputs``."""
        visit = epoch % NUM_VISITS
        keys = [(int(recording), seed, visit) for recording in recordings_B]
        new = np.array([recording for recording, *rest in keys if (recording, *rest) not in self._drawn], np.int64)
        if len(new):
            vectors_BD = self._encoded(self.windows.drawn(new, seed=seed, epoch=visit))
            self._drawn.update(((int(recording), seed, visit), vectors_BD[row]) for row, recording in enumerate(new))
        return (torch.stack([self._drawn[key] for key in keys]),)

    def fixed(self, recordings_B: Int64[np.ndarray, "B"]) -> FixedInputs:
        """See ``Inputs``."""
        new = np.array([recording for recording in recordings_B if int(recording) not in self._fixed], np.int64)
        if len(new):
            fixed = self.windows.fixed(new)
            vectors_WD = self._encoded(fixed.tensors)
            for row, recording in enumerate(new):
                self._fixed[int(recording)] = vectors_WD[torch.from_numpy(fixed.position_W == row)]
        parts = [self._fixed[int(recording)] for recording in recordings_B]
        return FixedInputs((torch.cat(parts),), np.repeat(np.arange(len(parts)), [len(part) for part in parts]))

    @torch.no_grad()
    def _encoded(self, tensors: Sequence[Tensor]) -> Float[Tensor, "W D"]:
        network, pooling = self.predictor.network.eval(), self.predictor.head.config.pooling
        parts = []
        for first in range(0, len(tensors[0]), self.batch_size):
            signal_BPT, valid_BPT = (tensor[first : first + self.batch_size].to(network.device) for tensor in tensors)
            parts.append(pooled(network, signal_BPT, valid_BPT, pooling).float().cpu())
        return torch.cat(parts)
