"""Data sets that come ready-made: one function each, from where the data are to a store."""

from brainlm.data.sources.abide import import_abide
from brainlm.data.sources.demo import import_demo

__all__ = ["import_abide", "import_demo"]
