"""Registers our stores as a dataset of the benchmark suite Brainmarks, which finds this file by its place.

The store's own split is served in the suite's format; one phenotype is the class to predict. The folders ``brainmarks``
and ``brainmarks/datasets`` are namespace packages, shared with the suite: no ``__init__.py``.
"""

from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
import torch

try:
    from brainmarks.datasets.base import HFDataset
    from brainmarks.datasets.registry import register_dataset
except ImportError as error:
    raise ImportError("the suite itself is not installed: pip install 'brainlm[brainmarks]'") from error

from brainlm.data.splits import SPLITS
from brainlm.data.store import Store
from brainlm.errors import ConfigError, DataError
from brainlm.inference.brainmarks import space_of

MAX_CLASSES = 50  # a phenotype of more distinct values is a measurement, not a class


class StoreSamples:
    """The recordings of a store as samples: ``bold`` z-scored, its ``mean`` and ``std`` (0 without signal), ``tr``."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._subject = store.metadata["subject"].to_numpy()
        self._tr = store.metadata["tr"].to_numpy()

    def set_format(self, kind: str) -> None:
        """What the suite asks of its own tables; these samples are tensors anyway."""
        assert kind == "torch"

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        position = int(index)
        statistics = self.store.statistics_of([position])
        deviation = np.where(statistics.std > 0, statistics.std, np.nan)
        mean, std = np.nan_to_num(statistics.mean * (deviation > 0)), np.nan_to_num(deviation)
        bold = np.nan_to_num((np.asarray(self.store.bold(position), np.float32) - mean) / deviation)
        tensors = {"bold": torch.tensor(bold), "mean": torch.tensor(mean), "std": torch.tensor(std)}
        return {**tensors, "tr": float(self._tr[position]), "sub": str(self._subject[position])}


@register_dataset
def brainlm_store(space: str, *, store: str, target: str, bins: int = 0) -> dict[str, HFDataset]:
    """The recordings of a store that have a value of ``target``, by split.

    Args:
        space: the model's; one of the suite's must have the store's number of parcels, any other word goes.
        store: the store's folder.
        target: a phenotype, taken as classes.
        bins: 0, or how many classes of equal size (in the training split) a numeric phenotype is cut into.

    Raises:
        ConfigError: no such phenotype, or too many values without ``bins``; the space has other parcels.
        DataError: a split is empty, or lacks a class that another one has.
    """
    opened = Store.open(store)
    space_of(opened.num_parcels, space)
    classes = _classes(opened, target, bins)
    in_split = {name: (opened.metadata["split"] == name) & classes.notna() for name in SPLITS}
    found = {name: sorted(set(classes[rows])) for name, rows in in_split.items()}
    if len({tuple(labels) for labels in found.values()}) > 1 or not all(found.values()):
        raise DataError(
            f"the splits of {store} do not have the same classes of {target}",
            expected="every class in train, validation and test",
            found=", ".join(f"{name}: {labels}" for name, labels in found.items()),
            remedy="take another target or fewer bins, or import with --split stratified by it",
        )
    return {
        name: HFDataset(StoreSamples(opened.take(np.flatnonzero(rows))), targets=classes[rows].to_numpy())
        for name, rows in in_split.items()
    }


def _classes(store: Store, target: str, bins: int) -> pd.Series:
    if target not in store.metadata:
        raise ConfigError(
            f"the store has no column {target}",
            expected=", ".join(map(str, store.metadata.columns)),
            remedy="name another with dataset_kwargs.target",
        )
    values = store.metadata[target].replace("", np.nan)
    if bins:
        edges = values[store.metadata["split"] == "train"].quantile(np.arange(1, bins) / bins)
        return values.map(
            lambda value: np.nan if pd.isna(value) else float(np.searchsorted(edges, value, side="right"))
        )
    if values.nunique() > MAX_CLASSES:
        raise ConfigError(
            f"{target} has too many values to be classes",
            expected=f"at most {MAX_CLASSES}",
            found=str(values.nunique()),
            remedy="cut a measurement into classes with dataset_kwargs.bins=2",
        )
    return values
