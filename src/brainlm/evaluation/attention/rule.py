"""What is asked of a study of attention: which map, which contrast, how sure; and the name of its folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from brainlm.errors import ConfigError
from brainlm.inference.attention_maps import MapKind, StoreAttention
from brainlm.inference.brainlm import BrainLM
from brainlm.model.attention import head_number, layer_number


@dataclass(frozen=True)
class MapChoice:
    """The map that is analysed: a layer (and one of its heads), the mean over layers, or the rollout through them."""

    kind: MapKind = "layer"
    layer: int = -1
    head: int | None = None

    @classmethod
    def parse(cls, layer: str, head: int | None) -> MapChoice:
        """What ``--layer`` and ``--head`` say.

        Raises:
            ConfigError: no number and none of the words, or a head of no single layer.
        """
        if layer not in ("mean", "rollout"):
            if not re.fullmatch(r"-?\d+", layer):
                raise ConfigError(
                    "there is no such layer",
                    expected="a number, from 0 or from -1 at the end, or one of mean, rollout",
                    found=f"--layer {layer}",
                )
            return cls("layer", int(layer), head)
        if head is not None:
            raise ConfigError(
                f"a head belongs to one layer, not to the {layer} of all",
                expected="--head with a number in --layer",
                found=f"--layer {layer} --head {head}",
                remedy="leave one of the two out",
            )
        return cls("mean" if layer == "mean" else "rollout")

    def check(self, model: BrainLM) -> MapChoice:
        """The same with layer and head counted from 0.

        Raises:
            ConfigError: the model has no such layer or head.
        """
        head = None if self.head is None else head_number(model.network, self.head)
        return MapChoice(self.kind, layer_number(model.network, self.layer), head)

    def describe(self, attention: StoreAttention) -> str:
        """For titles, such as ``CLS attention, last layer (3 of 3), mean over heads``."""
        if self.kind == "mean":
            return "CLS attention, mean over layers and heads"
        if self.kind == "rollout":
            return "CLS attention, rolled out through all layers"
        depth = len(attention.cls_LHP)
        last = "last layer" if attention.layer == depth - 1 else "layer"
        heads = "mean over heads" if attention.head is None else f"head {attention.head + 1}"
        return f"CLS attention, {last} ({attention.layer + 1} of {depth}), {heads}"

    @property
    def label(self) -> str:
        """For names of folders; empty for the default."""
        if self.kind != "layer":
            return self.kind
        layer = "" if self.layer == -1 else f"layer{self.layer}"
        return layer + ("" if self.head is None else f"head{self.head}")


@dataclass(frozen=True)
class AttentionRule:
    """Everything a study of attention depends on beside the model and the recordings.

    Args:
        choice: which map.
        contrast: a column, empty for none; ``levels`` the two that are compared, ``within`` see ``read_contrast``.
        networks: a network column of the parcels table; empty for the first one.
        permutations: of the contrast.
        num_bootstrap, confidence: of the intervals.
        deletion_recordings, attribution_recordings: at most so many are judged; 0 for none.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
    """

    choice: MapChoice = MapChoice()
    contrast: str = ""
    levels: tuple[str, ...] = ()
    within: str = ""
    networks: str = ""
    permutations: int = 10_000
    num_bootstrap: int = 1000
    confidence: float = 0.95
    deletion_recordings: int = 40
    attribution_recordings: int = 20
    seed: int = 0
    batch_size: int = 8
    resample: bool = False

    def __post_init__(self) -> None:
        least = {"permutations": 1, "num_bootstrap": 1, "batch_size": 1}
        counts = dict.fromkeys(("deletion_recordings", "attribution_recordings"), 0) | least
        for name, fewest in counts.items():
            if getattr(self, name) < fewest:
                raise ConfigError(
                    f"--{name} is too small", expected=f"{fewest} or more", found=str(getattr(self, name))
                )
        if not self.contrast and (self.levels or self.within):
            raise ConfigError(
                "levels of what?", expected="--contrast COLUMN with --levels and --within", found="no --contrast"
            )

    @property
    def name(self) -> str:
        """Of the study's folder, such as ``group`` or ``condition.up-down``."""
        parts = [self.contrast or "group"]
        parts += ["-".join(self.levels)] if self.levels else []
        parts += [f"within-{self.within}"] if self.within else []
        parts += [self.choice.label] if self.choice.label else []
        return re.sub(r"[^\w.+-]+", "_", ".".join(parts))

    def settings(self) -> dict[str, Any]:
        """For the record of a result."""
        return {
            "networks": self.networks,
            "num_bootstrap": self.num_bootstrap,
            "confidence": self.confidence,
            "permutations": self.permutations,
            "deletion_recordings": self.deletion_recordings,
            "attribution_recordings": self.attribution_recordings,
            "seed": self.seed,
            "resample": self.resample,
            "correlation": "Spearman, over parcels",
        }
