"""BrainLM: masked autoencoders over parcellated fMRI recordings.

The public names load on first use, so that ``import brainlm`` stays instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brainlm.data.atlas import Atlas
    from brainlm.data.parcellate import parcellate
    from brainlm.data.parcels import Parcels
    from brainlm.data.recording import Recording
    from brainlm.data.store import Store
    from brainlm.inference.brainlm import BrainLM
    from brainlm.inference.features import BrainLMFeatures

__version__ = "0.1.0"

_HOMES = {
    "Atlas": "brainlm.data.atlas",
    "BrainLM": "brainlm.inference.brainlm",
    "BrainLMFeatures": "brainlm.inference.features",
    "Parcels": "brainlm.data.parcels",
    "Recording": "brainlm.data.recording",
    "Store": "brainlm.data.store",
    "parcellate": "brainlm.data.parcellate",
}

__all__ = ["Atlas", "BrainLM", "BrainLMFeatures", "Parcels", "Recording", "Store", "__version__", "parcellate"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'brainlm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
