"""What a store in the making says of itself: what decides its numbers, and which recordings there are to be. As JSON.

It is kept in ``partial.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import brainlm
from brainlm.data.atlas import Atlas
from brainlm.data.partial import Part
from brainlm.data.processing import ParcellationSettings
from brainlm.data.recording import Phenotype
from brainlm.data.scan import Scan
from brainlm.data.scans import FoundScans
from brainlm.data.shards import StoredType, is_missing
from brainlm.data.splits import SplitRule
from brainlm.files import sha256_of


def header_of(atlas: Atlas, settings: ParcellationSettings, part: Part) -> dict[str, Any]:
    """What decides the numbers; the same for all recordings of a store."""
    dlabel = atlas.grayordinates
    return {
        "program": brainlm.__version__,
        "part": str(part),
        "atlas": {
            "name": atlas.name,
            "sha256": atlas.sha256,
            "parcels_sha256": atlas.parcels.fingerprint,
            "grayordinates_sha256": sha256_of(dlabel) if dlabel is not None and dlabel.is_file() else "",
        },
        "settings": settings.describe(),
        "cleaning_steps": list(settings.cleaning.steps),
    }


def plan_of(found: FoundScans, own: Sequence[Scan], split: SplitRule, dtype: StoredType) -> dict[str, Any]:
    """Which recordings there are to be, and what is known of them, as JSON."""
    names = "\n".join(scan.recording_name for scan in found.scans)
    return {
        "recordings": [_described(scan) for scan in own],
        "scans": {"num": len(found.scans), "sha256": hashlib.sha256(names.encode()).hexdigest()},
        "failures": [asdict(failure) for failure in found.failures],
        "notes": list(found.notes),
        "phenotypes": list(found.phenotypes),
        "layout": found.layout,
        "split": json.loads(json.dumps(split.describe())),
        "dtype": dtype,
    }


def _described(scan: Scan) -> dict[str, Any]:
    texts = {name: getattr(scan, name) for name in ("subject", "session", "task", "run", "site", "path")}
    return {
        "name": scan.recording_name,
        "source": scan.name,
        **texts,
        "phenotypes": {name: _plain(value) for name, value in scan.phenotypes.items()},
    }


def _plain(value: Phenotype) -> Phenotype:
    return None if is_missing(value) else value if isinstance(value, str) else float(value or 0)
