"""What a model computes with, as one number: the same wherever it was copied, another as soon as anything is changed.

Names results (``evaluation.json``) and files of vectors (``cached.py``). Where a model comes from is in its provenance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from brainlm.inference.brainlm import BrainLM


def weights_sha256(model: BrainLM) -> str:
    """The SHA-256, as 64 hexadecimal digits, of all that turns a recording into numbers: network, settings, scaler.

    The network's state (parameters and stored buffers, bit by bit, with names, types and shapes), its config and its
    scaler. Not what the model is called, where it lies, on which device it is or what is known of its history; and not
    what follows from state and config alone (tables of sines may differ between machines in the last digit). A model
    that was saved and opened again has the same; one whose scaler was fitted anew has another.
    """
    config = json.dumps(dataclasses.asdict(model.config), sort_keys=True)
    scaler = json.dumps(model.scaler.to_metadata(), sort_keys=True)
    parts = [(f"network.{name}", tensor) for name, tensor in sorted(model.network.state_dict().items())]
    parts += [(f"scaler.{name}", tensor) for name, tensor in sorted(model.scaler.to_tensors().items())]
    with ThreadPoolExecutor() as pool:  # the 650M are 2.6 GB; hashing lets go of the interpreter
        lines = ["brainlm", config, scaler, *pool.map(_line, *zip(*parts, strict=True))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _line(name: str, tensor: Tensor) -> str:
    """Name, type, shape and hash of the content of a tensor, which on the CPU is not copied."""
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return f"{name} {tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(content).hexdigest()}"
