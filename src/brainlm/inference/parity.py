"""Whether a converted network computes what the authors' code computed: their outputs beside ours, number by number.

The file with their outputs (``.npz``) holds some inputs and any of: ``prediction``, ``mask``, ``loss``, ``latent``
(with the tokens hidden that ``noise`` says), ``embed_no_mask`` and ``cls_attention_last`` (with nothing hidden).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brainlm.errors import CheckpointError
from brainlm.model.attention import AttentionWatch
from brainlm.model.autoencoder import Encoding, MaskedAutoencoder, Places
from brainlm.model.config import ModelConfig

TOLERANCE = 1e-4  # absolute, float32
SAME_MM = 1e-3  # coordinates closer than this are the same, read from another file
QUANTITIES = ("prediction", "mask", "loss", "latent", "embed_no_mask", "cls_attention_last")

# What numpy and zipfile raise on files that are no .npz, are cut off, or hold something else than numbers.
_DAMAGED = (OSError, ValueError, TypeError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Difference:
    """The largest absolute difference in one quantity, and how large its values are."""

    quantity: str
    largest: float
    typical: float

    @property
    def is_same(self) -> bool:
        """True if within ``TOLERANCE``; never for NaN."""
        return self.largest <= TOLERANCE


def read_expected(path: str | Path) -> dict[str, Tensor]:
    """The inputs and the authors' outputs in ``path``.

    Raises:
        CheckpointError: the file cannot be read, or holds no input or no output to compare.
    """
    try:
        # Opened here: numpy leaves a file that it cannot read open.
        with Path(path).open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            expected = {name: torch.from_numpy(file[name]) for name in file.files}
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path} cannot be read", expected="an .npz file of numbers", found=str(error) or type(error).__name__
        ) from error
    if "signal" not in expected or not expected.keys() & set(QUANTITIES):
        raise CheckpointError(
            f"{path} has nothing to compare",
            expected=f"signal, and any of {', '.join(QUANTITIES)}",
            found=", ".join(expected) or "nothing",
        )
    return expected


@torch.no_grad()
def differences(network: MaskedAutoencoder, expected: Mapping[str, Tensor], mask_ratio: float) -> list[Difference]:
    """How far the network is from the authors' outputs, for each quantity that is there.

    Args:
        network: converted; ``signal`` has its parcels in the order of the patches, as the authors' code takes them.
        expected: from ``read_expected``.
        mask_ratio: the share of all tokens that their code hides, those with the largest ``noise``.

    Raises:
        CheckpointError: the inputs do not fit the network.
    """
    tokenizer = network.tokenizer
    check_inputs(expected, network.config, tokenizer.num_parcels)
    _check_coordinates(expected, network)
    signal_BPT = expected["signal"].float().index_select(1, tokenizer.position_P)
    found = _unmasked(network, signal_BPT)
    if "noise" in expected:
        found |= _masked(network, signal_BPT, expected["noise"], mask_ratio)
    out = []
    for name in QUANTITIES:
        if name not in expected:
            continue
        if name not in found:
            raise CheckpointError(f"{name} cannot be compared", expected="noise in the same file", found="none")
        theirs = expected[name].double()
        ours = _shaped(found[name].double(), theirs, name)
        out.append(Difference(name, float((ours - theirs).abs().max()), float(theirs.abs().mean())))
    return out


def _unmasked(network: MaskedAutoencoder, signal_BPT: Float[Tensor, "B P T"]) -> dict[str, Tensor]:
    watch = AttentionWatch(network, torch.ones_like(signal_BPT, dtype=torch.bool), layers=[-1])
    encoding = network.encode(signal_BPT, visible=watch.places, observers=watch.observers)
    # Theirs has the attention of CLS to itself in front; ours leaves it out.
    attention_BHN = watch.cls_BLHN[:, 0]
    to_itself_BH1 = 1 - attention_BHN.sum(dim=2, keepdim=True)
    return {
        "embed_no_mask": _with_cls(encoding),
        "cls_attention_last": torch.cat((to_itself_BH1, attention_BHN), dim=2),
    }


def _masked(
    network: MaskedAutoencoder, signal_BPT: Float[Tensor, "B P T"], noise_BN: Tensor, mask_ratio: float
) -> dict[str, Tensor]:
    tokenizer = network.tokenizer
    num_visible = int(tokenizer.num_tokens * (1 - mask_ratio))
    shuffled_BN = noise_BN.argsort(dim=1)  # the order that their encoder sees tokens in
    visible, hidden = Places(shuffled_BN[:, :num_visible], None), Places(shuffled_BN[:, num_visible:], None)
    encoding = network.encode(signal_BPT, visible=visible)
    values_BNV = network.decode_all(encoding, hidden)
    in_order_BNV = values_BNV.gather(1, shuffled_BN.argsort(dim=1)[:, :, None].expand_as(values_BNV))
    predicted_BPT = tokenizer.windows(in_order_BNV)
    hidden_BN = torch.ones_like(shuffled_BN, dtype=torch.bool).scatter(1, visible.index_BK, False)
    hidden_BPT: Bool[Tensor, "B P T"] = tokenizer.expand(hidden_BN)
    squared = (predicted_BPT - signal_BPT)[hidden_BPT].double().square()
    return {
        "prediction": predicted_BPT.index_select(1, tokenizer.order_P),
        "mask": hidden_BPT.index_select(1, tokenizer.order_P),
        "loss": squared.mean(),
        "latent": _with_cls(encoding),
    }


def _with_cls(encoding: Encoding) -> Float[Tensor, "B S D"]:
    return torch.cat((encoding.cls_BD[:, None], encoding.tokens_BKD), dim=1)


def _shaped(ours: Tensor, theirs: Tensor, name: str) -> Tensor:
    """Ours in their shape: a mask of patches instead of values, a prediction cut into patches."""
    if ours.numel() == theirs.numel():
        return ours.reshape(theirs.shape)
    patches = theirs.shape[2] if theirs.ndim == 3 else 0
    if name == "mask" and patches and ours.shape[:2] == theirs.shape[:2] and ours.shape[2] % patches == 0:
        return ours.unflatten(2, (patches, -1)).amax(dim=3)
    raise CheckpointError(
        f"{name} has another shape than the network's", expected=str(tuple(ours.shape)), found=str(tuple(theirs.shape))
    )


def check_inputs(expected: Mapping[str, Tensor], config: ModelConfig, num_parcels: int) -> None:
    """Raise CheckpointError unless the inputs have the shapes that a network of ``config`` takes."""
    num_windows, num_tokens = max((1, *expected["signal"].shape[:1])), config.num_tokens(num_parcels)
    shapes = {"signal": (num_windows, num_parcels, config.num_timepoints), "noise": (num_windows, num_tokens)}
    if config.spatial_positions == "coordinates":
        shapes["xyz"] = (num_parcels, 3)
    for name, shape in shapes.items():
        if name in expected and tuple(expected[name].shape) != shape:
            raise _other_input(name, f"shape {shape}", f"shape {tuple(expected[name].shape)}")


def _check_coordinates(expected: Mapping[str, Tensor], network: MaskedAutoencoder) -> None:
    if "xyz" not in expected or network.config.spatial_positions != "coordinates":
        return
    ours_R3 = network.encoder_positions.coordinates_R3 * network.config.coordinate_unit_mm
    apart_R = (ours_R3 - expected["xyz"].float()).norm(dim=1)
    if not (apart_R < SAME_MM).all():
        first = int((apart_R < SAME_MM).int().argmin())
        ours, theirs = (", ".join(f"{value:g}" for value in row[first]) for row in (ours_R3, expected["xyz"]))
        raise _other_input("xyz", f"parcel {first + 1} of the model at {ours} mm", f"at {theirs} mm")


def _other_input(name: str, expected: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"the outputs to compare with were made from another input: {name}",
        expected=expected,
        found=found,
        remedy="give the file that belongs to these weights and parcels",
    )
