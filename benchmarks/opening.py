"""How long it takes to open a store of 10,000 recordings (200 parcels x 100 time points, 0.8 GB): the first time, when
every shard is compared with its checksum, and later, when it is known to be whole.

    python benchmarks/opening.py
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from brainlm.bench.stores import random_store
from brainlm.data import manifest
from brainlm.data.store import Store

NUM_RECORDINGS, NUM_PARCELS, NUM_TIMEPOINTS = 10_000, 200, 100
REPEATS = 5


def seconds(path: Path, *, verify: bool) -> float:
    """The fastest of a few openings."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        assert len(Store.open(path, verify=verify)) == NUM_RECORDINGS
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Write the store into a temporary folder, open it, remove it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # where it is noted that the shards are whole
        path = Path(folder) / "a.store"
        size = (NUM_TIMEPOINTS, NUM_TIMEPOINTS)
        random_store(path, num_recordings=NUM_RECORDINGS, num_parcels=NUM_PARCELS, num_timepoints=size)
        time.sleep(manifest.RECENT_NS / 1e9)  # until then, a shard written last is read again
        gigabytes = sum(file.stat().st_size for file in path.iterdir()) / 1e9
        sys.stdout.write(f"{NUM_RECORDINGS:,} recordings, {gigabytes:.2f} GB\n")
        sys.stdout.write(f"every shard compared with its checksum: {seconds(path, verify=True):.2f} s\n")
        sys.stdout.write(f"known to be whole: {seconds(path, verify=False):.3f} s\n")


if __name__ == "__main__":
    main()
