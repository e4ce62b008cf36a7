"""Pretraining as Lightning sees it: hide patches, predict them, count how well.

What a batch holds is in ``batches.py``; how a run is set up, saved and resumed is in ``run.py``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from brainlm.data.scaling import Scaler
from brainlm.model.autoencoder import HiddenPrediction, MaskedAutoencoder
from brainlm.model.masks import choose, hide, num_hidden, parse_masks, share_of
from brainlm.training.batches import Batch
from brainlm.training.config import TrainingConfig
from brainlm.training.schedule import Stretches, warmup_cosine

WINDOWS_OF_BASE_RATE = 256  # the base learning rate belongs to this many windows a step (linear scaling, as in MAE)


@dataclasses.dataclass(frozen=True)
class HiddenPatches:
    """What of a batch is hidden and decoded, with the numbers of patches where they are the same in every window."""

    hidden_BN: Bool[Tensor, "B N"]
    decoded_BN: Bool[Tensor, "B N"]
    num_visible: int | None
    num_decoded: int | None


class Pretraining(LightningModule):
    """Masked autoencoding of scaled windows.

    Args:
        network: what is trained.
        scaler: fitted on the training recordings.
        config: mask, rates and the rest.
        windows_per_step: on all devices together, accumulation included; the learning rate is in proportion.
        stretches: how the run's steps are laid out.
    """

    def __init__(
        self,
        network: MaskedAutoencoder,
        scaler: Scaler,
        config: TrainingConfig,
        *,
        windows_per_step: int,
        stretches: Stretches,
    ) -> None:
        super().__init__()
        self.network = network
        self.scaler = scaler
        self.config = config
        self.masks = parse_masks(config.mask)
        self.peak_rate = config.base_learning_rate * windows_per_step / WINDOWS_OF_BASE_RATE
        self.stretches = stretches
        self.num_steps = stretches.num_steps
        self._predict = torch.compile(network) if config.compile else network
        self._validation: Tensor | None = None

    def predict_hidden(self, batch: Batch, *, decode_share: float) -> HiddenPrediction:
        """Hide what the batch's seeds say and predict it."""
        scaled = self.scaler.apply(batch.windows.raw_BPT, batch.windows.statistics)
        patches = self.hidden_patches(batch, self.network.present_grid(scaled.valid_BPT), decode_share=decode_share)
        prediction: HiddenPrediction = self._predict(
            scaled.signal_BPT,
            scaled.valid_BPT,
            patches.hidden_BN,
            decoded_BN=patches.decoded_BN,
            own=batch.own,
            num_visible=patches.num_visible,
            num_decoded=patches.num_decoded,
        )
        return prediction

    def hidden_patches(self, batch: Batch, present_BRC: Bool[Tensor, "B R C"], *, decode_share: float) -> HiddenPatches:
        """The batch's masks, and the subset of hidden patches that is decoded."""
        hidden_BN = hide(self.masks, batch.mask_seed_B, present_BRC).flatten(1)
        decoded_BN = hidden_BN if decode_share == 1 else choose(decode_share, batch.mask_seed_B, hidden_BN)
        number = num_hidden(self.masks, *present_BRC.shape[1:]) if batch.complete else None
        if number is None:
            return HiddenPatches(hidden_BN, decoded_BN, None, None)
        num_decoded = int(share_of(decode_share, torch.tensor(number)))
        return HiddenPatches(hidden_BN, decoded_BN, hidden_BN.shape[1] - number, num_decoded)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The loss of one batch."""
        loss = self.predict_hidden(batch, decode_share=self.config.decode_share).loss()
        self.log("train_loss", loss, on_step=True, on_epoch=False, batch_size=len(batch.mask_seed_B))
        self._log_epoch(batch_size=len(batch.mask_seed_B))
        return loss

    def _log_epoch(self, *, batch_size: int) -> None:
        # Lightning would log its own epochs, which are our stretches.
        self.log("epoch", float(self.stretches[self.trainer.current_epoch].epoch), batch_size=batch_size)

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self._validation = torch.zeros(len(_SUMS), dtype=torch.float64, device=self._sum_device())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Add one batch to the sums that the validation's figures are computed from."""
        prediction = self.predict_hidden(batch, decode_share=1.0)
        assert self._validation is not None
        self._validation += _sums(prediction).to(self._validation.device)

    def on_validation_epoch_end(self) -> None:
        """Log loss, R2, mean absolute error and correlation over all hidden values of the fixed windows."""
        assert self._validation is not None
        gathered = self.all_gather(self._validation)
        assert isinstance(gathered, Tensor)
        sums = gathered.reshape(-1, len(_SUMS)).sum(dim=0)
        for name, value in _figures(sums).items():
            self.log(f"val_{name}", value)
        self._log_epoch(batch_size=1)

    def _sum_device(self) -> torch.device:
        # Apple's GPUs have no float64.
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def configure_optimizers(self) -> Any:
        """AdamW with weight decay on matrices only; warm-up and cosine, a pure function of the step."""
        matrices = [p for p in self.network.parameters() if p.ndim >= 2]
        others = [p for p in self.network.parameters() if p.ndim < 2]
        # Positions are tables of vectors, not maps: decay would pull them to one another.
        positions = {id(p) for p in self._position_tables()}
        groups = [
            {"params": [p for p in matrices if id(p) not in positions], "weight_decay": self.config.weight_decay},
            {"params": others + [p for p in matrices if id(p) in positions], "weight_decay": 0.0},
        ]
        # Lightning refuses to clip gradients of a fused optimiser in mixed precision.
        fused = not self.config.precision.endswith("-mixed")
        betas = (self.config.beta1, self.config.beta2)
        optimizer = torch.optim.AdamW(groups, lr=self.peak_rate, betas=betas, fused=fused)
        # A plain function: of a method, the schedule would put attributes into the saved state.
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate_share(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _position_tables(self) -> list[nn.Parameter]:
        return [table for name, table in self.network.named_parameters() if name.endswith(("space_RD", "time_CD"))]

    def rate_share(self, step: int) -> float:
        """The learning rate at a step as a share of its peak."""
        return warmup_cosine(step, num_steps=self.num_steps, warmup_share=self.config.warmup_share)


_SUMS = ("n", "y", "yy", "p", "pp", "yp", "ee", "ae", "window_loss", "num_windows")


def _sums(prediction: HiddenPrediction) -> Float[Tensor, "sums"]:
    """Sums over the values that count (n, true y, predicted p, error e), and the windows' losses, in float64."""
    counts = prediction.counts_BMV
    zero = torch.zeros((), dtype=torch.float64, device=counts.device)
    true = torch.where(counts, prediction.target_BMV.double(), zero)
    guess = torch.where(counts, prediction.predicted_BMV.double(), zero)
    error = true - guess
    return torch.stack(
        (
            counts.sum().double(),
            true.sum(),
            true.square().sum(),
            guess.sum(),
            guess.square().sum(),
            (true * guess).sum(),
            error.square().sum(),
            error.abs().sum(),
            prediction.loss().double() * len(counts),
            torch.full_like(zero, len(counts)),
        )
    )


def _figures(sums: Float[Tensor, "sums"]) -> dict[str, Tensor]:
    """Loss (as in training), pooled R2 (never clipped), mean absolute error and Pearson's r."""
    s = dict(zip(_SUMS, sums, strict=True))
    spread_true = s["yy"] - s["y"].square() / s["n"]
    spread_guess = s["pp"] - s["p"].square() / s["n"]
    return {
        "loss": s["window_loss"] / s["num_windows"],
        "r2": 1 - s["ee"] / spread_true,
        "mae": s["ae"] / s["n"],
        "r": (s["yp"] - s["y"] * s["p"] / s["n"]) / (spread_true * spread_guess).sqrt(),
    }
