"""What is finished of a store, in one ledger or several -> the store, one recording in memory at a time.

The same recordings give the same bytes, however many processes, machines, parts or attempts they took.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from brainlm.data.manifest import MANIFEST_FILE, Manifest
from brainlm.data.partial import Partial
from brainlm.data.planned import ImportSummary, PlannedRecording, Progress, write_store
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.errors import Failure


def assemble(
    partials: Sequence[Partial],
    out: str | Path,
    *,
    before_publishing: Callable[[Manifest], None] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Write the store of which ``partials`` hold all recordings, each finished or failed.

    Raises:
        DataError: no recording was finished, or the store cannot be written.
        BrainLMError: a ledger is damaged.
    """
    plan, header = partials[0].plan, partials[0].header
    parcels, image_name, image = partials[0].atlas()
    assert parcels.fingerprint == header["atlas"]["parcels_sha256"]
    with tempfile.TemporaryDirectory() as folder:
        atlas_image = Path(folder) / image_name if image_name else None
        if atlas_image is not None:
            atlas_image.write_bytes(image)
        return write_store(
            out,
            [planned for part in partials for planned in _planned(part)],
            parcels=parcels,
            atlas=header["atlas"]["name"],
            phenotypes=plan["phenotypes"],
            split=SplitRule.from_description(plan["split"]) if plan["split"] else None,
            dtype=plan["dtype"],
            source=_source(partials),
            failures=failures_of(partials),
            notes=list(dict.fromkeys(note for part in partials for note in part.plan["notes"])),
            atlas_image=atlas_image,
            has_quality=True,
            before_publishing=before_publishing,
            overwrite=overwrite,
            progress=progress,
        )


def failures_of(partials: Sequence[Partial]) -> list[Failure]:
    """What was not found fit, and what failed, each once and in one order whatever the parts are."""
    found = [Failure(**failure) for part in partials for failure in part.plan["failures"]]
    found += [failure for part in partials for item in part.plan["recordings"] if (failure := _failure(part, item))]
    return sorted(set(found), key=lambda failure: (failure.source, failure.reason, failure.remedy))


def manifest_checksum(manifest: Manifest) -> str:
    """By which a store is known again."""
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()


def is_published(finished: Partial, out: Path) -> bool:
    """Whether the store at ``out`` was made of just this: all is done, only the ledger was not removed any more."""
    if not finished.published or not (out / MANIFEST_FILE).is_file():
        return False
    return manifest_checksum(Manifest.read(out)) == finished.published


def summary_of(out: Path) -> ImportSummary:
    """The summary of a store that is there."""
    store = Store.open(out)
    metadata = store.metadata
    return ImportSummary(
        store=out,
        num_recordings=len(store),
        num_subjects=metadata["subject"].nunique(),
        num_per_split=dict(sorted(Counter(metadata["split"]).items())),
        failures=tuple(Failure(**failure) for failure in store.manifest.exclusions),
        notes=tuple(note for note in store.manifest.source.get("notes", "").split("\n") if note),
    )


def _failure(part: Partial, item: dict[str, Any]) -> Failure | None:
    return part.outcomes[item["name"]].failure


def _planned(part: Partial) -> list[PlannedRecording]:
    """The recordings of a part that were finished, to be read from its ledger when their turn comes."""
    return [
        PlannedRecording(
            partial(part.signal, item["name"]),
            item["subject"],
            part.outcomes[item["name"]].tr_s,
            session=item["session"],
            task=item["task"],
            run=item["run"],
            site=item["site"],
            source=item["source"],
            path=item["path"],
            phenotypes=item["phenotypes"],
        )
        for item in part.plan["recordings"]
        if part.outcomes[item["name"]].failure is None
    ]


def _source(partials: Sequence[Partial]) -> dict[str, str]:
    """What the manifest says of where the recordings are from."""
    header, plan = partials[0].header, partials[0].plan
    ways = Counter(
        part.outcomes[item["name"]].how
        for part in partials
        for item in part.plan["recordings"]
        if part.outcomes[item["name"]].failure is None
    )
    return {
        "description": f"scans, layout {plan['layout']}",
        "atlas_sha256": header["atlas"]["sha256"],
        "voxels to parcels": ", ".join(f"{how} ({number})" for how, number in sorted(ways.items())),
        "cleaning": "; then ".join(header["cleaning_steps"]) or "none",
        "settings": json.dumps(header["settings"], sort_keys=True),
    }
