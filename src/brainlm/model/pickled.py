"""Tensors from a PyTorch file (a pickle) that somebody else wrote, without running anything that it asks for.

Our own files are safetensors (``checkpoint.py``); this is for weights as others publish them.
"""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import torch
from torch import Tensor

from brainlm.errors import CheckpointError


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors in the PyTorch file at ``path``, by name, on the CPU.

    Raises:
        CheckpointError: it is damaged, no PyTorch file, or holds anything but a dictionary of tensors.
    """
    content = _unpickled(path)
    strange = type(content).__name__
    tensors: dict[str, Tensor] = {}
    for name, tensor in content.items() if isinstance(content, dict) else ():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            strange = f"{str(name)!r}: {type(tensor).__name__}"
            break
        tensors[name] = tensor
    if not isinstance(content, dict) or len(tensors) != len(content):
        raise CheckpointError(
            f"{path} is not a dictionary of tensors",
            expected="a name and a tensor for each weight",
            found=strange,
            remedy="give the folder as it was published",
        )
    return tensors


def _unpickled(path: Path) -> object:
    """What is in the file, as far as it can be had without running anything."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about unusual files, which are refused all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make torch stumble over anything: struct, Index, Assertion errors
        calls = re.search(r"GLOBAL (\w+(?:\.\w+)+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if calls is not None:
            raise CheckpointError(
                f"{path} holds more than tensors and was not opened: it could run any program on this computer",
                expected="a dictionary of tensors",
                found=f"a call of {calls[1]}",
                remedy="download the file from where it was published; nothing was loaded and nothing was run",
            ) from error
        raise CheckpointError(
            f"{path} is damaged, or no PyTorch file",
            expected="a whole PyTorch file that holds tensors only",
            found=f"{path.stat().st_size} bytes that cannot be read ({type(error).__name__})",
            remedy="download it again, or copy it again from where it came from",
        ) from error
