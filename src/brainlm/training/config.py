"""How a run trains, as one frozen record. Importing this needs no torch; what the settings do is in ``pretrain.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from brainlm.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed"]
ScalerKind = Literal["robust", "zscore", "none"]


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a pretraining run.

    Args:
        epochs: how often every training recording is visited.
        windows_per_recording: random windows of each recording in one epoch.
        batch_size: windows per step on one device.
        accumulate: batches whose gradients are summed before a step.
        mask: what is hidden: ``random:0.75``, ``future:1``, ``parcel:0.5`` or a mixture joined by ``+`` with weights
            (``random:0.75@2+future:1``).
        decode_share: share of the hidden patches that are decoded in a step (sparse decoding); 1 decodes all.
        base_learning_rate: reached after warm-up for 256 windows a step; scaled in proportion to the windows a step.
        warmup_share: share of all steps over which the rate rises linearly; then it falls as a cosine to zero.
        weight_decay: of AdamW, on matrices only.
        beta1: of AdamW.
        beta2: of AdamW.
        clip_norm: gradients with a larger norm are scaled down to it; 0 never clips.
        scaler: how recordings are brought to one scale (docs/data.md).
        pad_short: pad recordings shorter than a window instead of leaving them out.
        validation_windows: at most this many fixed windows of each validation recording.
        validate_every: epochs between validations.
        save_every_steps: at most this many steps lie between two points from which a killed run goes on.
        early_stopping: stop after this many validations without a better loss; 0 never stops early.
        precision: ``32-true``, or ``bf16-mixed`` (weights and scaling stay float32), as Lightning calls them.
        compile: compile the network with torch.compile.
        seed: of weights, windows and masks.
    """

    epochs: int = 100
    windows_per_recording: int = 1
    batch_size: int = 32
    accumulate: int = 1
    mask: str = "random:0.75"
    decode_share: float = 1.0
    base_learning_rate: float = 1e-3
    warmup_share: float = 0.05
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    scaler: ScalerKind = "robust"
    pad_short: bool = False
    validation_windows: int = 2
    validate_every: int = 1
    save_every_steps: int = 1000
    early_stopping: int = 0
    precision: Precision = "32-true"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (
            ("epochs", 1),
            ("windows_per_recording", 1),
            ("batch_size", 1),
            ("accumulate", 1),
            ("validation_windows", 1),
            ("validate_every", 1),
            ("save_every_steps", 1),
            ("early_stopping", 0),
            ("base_learning_rate", 0),
            ("weight_decay", 0),
            ("clip_norm", 0),
            ("seed", 0),
        ):
            if getattr(self, name) < lowest:
                raise ConfigError(
                    f"{name} is too small", expected=f"at least {lowest}", found=f"{name}={getattr(self, name)}"
                )
        for name in ("decode_share", "warmup_share"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0 or (name == "decode_share" and share == 0.0):
                raise ConfigError(f"{name} is not a share", expected="between 0 and 1", found=f"{name}={share}")


@dataclass(frozen=True)
class DeviceConfig:
    """Where a run trains, passed through to Lightning's Trainer; a run may go on elsewhere.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu``, ...
        devices: how many, ``auto``, or a list such as ``0,1``.
        num_nodes: machines.
        strategy: ``auto``, ``ddp``, ``fsdp``, ...
    """

    accelerator: str = "auto"
    devices: str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"
