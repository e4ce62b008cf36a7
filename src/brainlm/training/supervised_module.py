"""A network that learns people's labels, as Lightning sees it: loss and what is logged.

The loop around it, early stopping and prediction are in ``supervised.py``; what its numbers mean, in ``model/head.py``.

Shapes: B of a batch, K outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from brainlm.model.head import TargetUnits
from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.labelled import LabelledBatch
from brainlm.training.optimizer import RateShare, warmed_adamw


class Supervised(LightningModule):
    """A network and its loss: squared error of standardised values, or cross-entropy; every unit has its weight.

    Args:
        network: takes ``LabelledBatch.tensors``, gives (B, K).
        units: what its numbers mean.
        config: how it learns.
        rate_share: of each parameter's name, its learning rate as a share of the config's.
        class_weights_K: of each class, where classes are balanced.
    """

    class_weights_K: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        units: TargetUnits,
        config: SupervisedConfig,
        *,
        rate_share: RateShare | None = None,
        class_weights_K: Float[Tensor, "K"] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.units = units
        self.config = config
        self.rate_share = rate_share
        self.register_buffer("class_weights_K", class_weights_K, persistent=False)
        self._sums = torch.zeros(2, dtype=torch.float64)

    def losses(self, batch: LabelledBatch) -> Float[Tensor, "B"]:
        """The loss of each entry, without its weight."""
        raw_BK = self.network(*batch.tensors).float()
        assert raw_BK.shape == (len(batch.value_B), self.units.num_outputs), raw_BK.shape
        if self.units.kind == "regression":
            return F.mse_loss(raw_BK[:, 0], self.units.standardised(batch.value_B), reduction="none")
        if self.units.kind == "binary":
            losses_B = F.binary_cross_entropy_with_logits(raw_BK[:, 0], batch.value_B, reduction="none")
        else:
            losses_B = F.cross_entropy(raw_BK, batch.value_B.long(), reduction="none")
        weights_K = self.class_weights_K
        return losses_B if weights_K is None else losses_B * weights_K[batch.value_B.long()]

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The loss of one batch."""
        loss = (self.losses(batch) * batch.weight_B).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.value_B))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self._sums = torch.zeros(2, dtype=torch.float64)

    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Add one batch to the weighted mean over all of them."""
        weighted_B = self.losses(batch) * batch.weight_B
        self._sums += torch.stack((weighted_B.sum(), batch.weight_B.sum())).cpu()

    def on_validation_epoch_end(self) -> None:
        """Log the loss that early stopping looks at."""
        self.log("val_loss", (self._sums[0] / self._sums[1]).float())

    def transfer_batch_to_device(
        self, batch: LabelledBatch, device: torch.device, dataloader_idx: int
    ) -> LabelledBatch:
        """Lightning's hook: our batches know how to move."""
        assert dataloader_idx == 0
        return batch.to(device)

    def configure_optimizers(self) -> Any:
        """AdamW, decay on matrices only, a group for each rate; warm-up and cosine."""
        return warmed_adamw(self.network, self.config, trainer=self.trainer, rate_share=self.rate_share)
