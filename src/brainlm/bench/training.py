"""A training step against what its matrix products alone take, and against its own variants.

The step is the real one: scaling, masking, network, loss, backward pass, clipping and optimiser, as in
``training/pretrain.py``; only Lightning around it and the reading of windows (measured apart) are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64

from brainlm.bench.products import Product, ProductTimes, square_product, step_products
from brainlm.bench.results import Aim, Measure
from brainlm.bench.timing import in_turn, timer
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import ModelConfig, preset
from brainlm.model.masks import num_hidden, parse_masks
from brainlm.training.batches import Batch, make_batch
from brainlm.training.config import Precision, TrainingConfig
from brainlm.training.pretrain import Pretraining
from brainlm.training.schedule import Stretches

PARCELS_OF_LARGE_PATCHES = 8
SHARE_OF_SPARSE_DECODING = 0.25
LAUNCHES_ON_GPU = 10  # of one product between two readings of the clock: a launch alone is too short to time
GIGA = 1e9


@dataclass(frozen=True)
class TrainingSizes:
    """How large the steps are that are timed.

    Args:
        preset: of the network; its patches are 1 x 20.
        num_parcels: P, a multiple of 8 so that no variant has padding.
        num_windows: of a step.
        square: rows of the large square product that stands for the machine's peak.
        repeats: rounds.
    """

    preset: str
    num_parcels: int
    num_windows: int
    square: int
    repeats: int


@dataclass(frozen=True)
class Variant:
    """One way to take a step."""

    model: ModelConfig
    precision: Precision = "32-true"
    decode_share: float = 1.0

    @property
    def training(self) -> TrainingConfig:
        """The settings of a run whose steps are like this."""
        return TrainingConfig(precision=self.precision, decode_share=self.decode_share)


class TrainingStep:
    """A network with its optimiser and one batch; ``take`` trains a step."""

    def __init__(self, variant: Variant, batch: Batch, scaler: Scaler, order_P: torch.Tensor) -> None:
        device = batch.mask_seed_B.device
        torch.manual_seed(0)
        network = MaskedAutoencoder(variant.model, order_P)
        stretches = Stretches(epochs=1, steps_per_epoch=1000, save_every_steps=1000)
        num_windows = len(batch.mask_seed_B)
        self.module = Pretraining(
            network, scaler, variant.training, windows_per_step=num_windows, stretches=stretches
        ).to(device)
        self.optimizer = self.module.configure_optimizers()["optimizer"]
        self.batch = batch
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=variant.precision == "bf16-mixed")

    def take(self) -> None:
        """One step, in Lightning's order."""
        with self._autocast:
            loss = self.module.predict_hidden(self.batch, decode_share=self.module.config.decode_share).loss()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.network.parameters(), self.module.config.clip_norm)
        self.optimizer.step()


def measure_training(store: Store, sizes: TrainingSizes, *, device: torch.device) -> list[Measure]:
    """Seconds of a step, its share of what the products alone take, and the ratios of its variants."""
    model = preset(sizes.preset)
    variants = {
        "fp32": Variant(model),
        "bf16": Variant(model, precision="bf16-mixed"),
        "sparse": Variant(model, decode_share=SHARE_OF_SPARSE_DECODING),
        "large": Variant(replace(model, parcels_per_patch=PARCELS_OF_LARGE_PATCHES)),
    }
    scaler = Scaler.fit(store, "zscore")
    batch = _batch(store, scaler, model, sizes.num_windows).to(device)
    order_P = torch.from_numpy(store.parcels.order(model.parcel_order))
    with _precision_of_training():
        alternatives = {}
        for name, variant in variants.items():
            alternatives[name] = timer(TrainingStep(variant, batch, scaler, order_P).take, device=device)
        launches = LAUNCHES_ON_GPU if device.type == "cuda" else 1
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            of_step, square = _products(variants[name], sizes), [square_product(sizes.square)]
            for kind, products in (("products", of_step), ("square", square)):
                times = ProductTimes(products, device=device, dtype=dtype, times=launches)
                alternatives[f"{name} {kind}"] = times.seconds
        seconds = in_turn(alternatives, repeats=sizes.repeats)
    return _measures(seconds, variants, sizes)


def _batch(store: Store, scaler: Scaler, model: ModelConfig, num_windows: int) -> Batch:
    windows = Windows(store, model.num_timepoints)
    recordings = np.resize(windows.recordings, num_windows)
    seeds = np.arange(num_windows, dtype=np.int64)
    starts = windows.random_starts(recordings, seed=0, epoch=seeds)
    return make_batch(windows, recordings, starts, seeds, scaler=scaler, with_own=False)


def _products(variant: Variant, sizes: TrainingSizes) -> list[Product]:
    model = variant.model
    num = num_hidden(
        parse_masks(variant.training.mask), model.num_spatial_patches(sizes.num_parcels), model.num_temporal_patches
    )
    assert num is not None, "one mask hides the same number everywhere"
    return step_products(
        model,
        num_parcels=sizes.num_parcels,
        num_windows=sizes.num_windows,
        num_hidden=num,
        num_decoded=round(variant.decode_share * num),
    )


def _measures(
    seconds: dict[str, Float64[np.ndarray, "repeats"]], variants: dict[str, Variant], sizes: TrainingSizes
) -> list[Measure]:
    gigaflops = sum(product.flops for product in _products(variants["fp32"], sizes)) / GIGA
    square = square_product(sizes.square).flops / GIGA
    rows = [Measure.of("training", f"step of {sizes.num_windows} windows", "GFLOP", gigaflops)]
    for name, aim in (("fp32", Aim(0.8)), ("bf16", None)):
        step, products = seconds[name], seconds[f"{name} products"]
        achieved, peak = gigaflops / step, square / seconds[f"{name} square"]
        rows += [
            Measure.of("training", f"{name} step", "s", step),
            Measure.of("training", f"{name} windows", "1/s", sizes.num_windows / step),
            Measure.of("training", f"{name} products alone", "s", products),
            Measure.of("training", f"{name} products alone / step", "", products / step, aim),
            Measure.of("training", f"{name} speed", "GFLOP/s", achieved),
            Measure.of("training", f"{name} speed of the products alone", "GFLOP/s", gigaflops / products),
            Measure.of("training", f"{name} speed of a large product", "GFLOP/s", peak),
            Measure.of("training", f"{name} speed / large product", "", achieved / peak),
        ]
    fp32 = seconds["fp32"]
    sparse = f"all / {SHARE_OF_SPARSE_DECODING:.0%} of the hidden decoded"
    large = f"patches 1 x 20 / {PARCELS_OF_LARGE_PATCHES} x 20"
    return [
        *rows,
        Measure.of("training", "fp32 / bf16", "times", fp32 / seconds["bf16"], Aim(1.3)),
        Measure.of("training", sparse, "times", fp32 / seconds["sparse"], Aim(2.0)),
        Measure.of("training", large, "times", fp32 / seconds["large"], Aim(12.0)),
    ]


@contextmanager
def _precision_of_training() -> Iterator[None]:
    """Multiply float32 as a training run does (``training/run.py``): on GPUs that have it, in TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
