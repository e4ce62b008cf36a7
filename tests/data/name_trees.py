"""Trees of files that have names only: enough for finding, which opens no image."""

import json
from collections.abc import Iterable
from pathlib import Path

FMRIPREP = {
    "Name": "fMRIPrep",
    "BIDSVersion": "1.4.0",
    "DatasetType": "derivative",
    "GeneratedBy": [{"Name": "fMRIPrep"}],
}
XCPD = {"Name": "XCP-D", "BIDSVersion": "1.4.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "xcp_d"}]}


def touch(root: Path, *names: str) -> Path:
    """Empty files of these names below ``root``, which it gives back."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def fmriprep(root: Path, names: Iterable[str], *, description: dict | None = None) -> Path:
    """A data set of derivatives with files whose folders follow from their names."""
    for name in names:
        parts = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
        session = f"ses-{parts['ses']}/" if "ses" in parts else ""
        touch(root, f"sub-{parts['sub']}/{session}func/{name}")
    (root / "dataset_description.json").write_text(json.dumps(description or FMRIPREP))
    return root


def sidecar(path: Path, **entries: object) -> Path:
    """A JSON file with these entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
    return path
