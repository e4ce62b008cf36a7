"""What a model computes with, as one number: the same wherever it was copied, another as soon as anything is changed.

Names results (``evaluation.json``) and files of vectors (``cached.py``). Where a model comes from is in its provenance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

from brainlm.inference.brainlm import BrainLM
from brainlm.model.checkpoint import tensor_lines


def weights_sha256(model: BrainLM) -> str:
    """The SHA-256, as 64 hexadecimal digits, of all that turns a recording into numbers: network, settings, scaler.

    The network's state (parameters and stored buffers, bit by bit, with names, types and shapes), its config and its
    scaler. Not what the model is called, where it lies, on which device it is or what is known of its history; and not
    what follows from state and config alone (tables of sines may differ between machines in the last digit). A model
    that was saved and opened again has the same; one whose scaler was fitted anew has another.
    """
    config = json.dumps(dataclasses.asdict(model.config), sort_keys=True)
    scaler = json.dumps(model.scaler.to_metadata(), sort_keys=True)
    tensors = {f"network.{name}": tensor for name, tensor in model.network.state_dict().items()}
    tensors |= {f"scaler.{name}": tensor for name, tensor in model.scaler.to_tensors().items()}
    lines = ["brainlm", config, scaler, *tensor_lines(tensors)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
