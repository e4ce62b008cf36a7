"""Known series painted into whole trees of derivatives, as fMRIPrep, XCP-D, the HCP and UK Biobank lay them out.

The front door of ``painting.py`` (atlases and images), ``confound_tables.py``, ``bids_trees.py`` and ``bulk_trees.py``.
Every tree says what must come out: by recording name, the true (T, P) series, the TR and the motion.
"""

import gzip
from pathlib import Path

from bids_trees import write_fmriprep_tree, write_xcpd_tree
from bulk_trees import write_hcp_tree, write_plain_tree, write_ukb_tree
from confound_tables import (
    Motion,
    fmriprep_confounds,
    made_up_motion,
    write_fsl_motion,
    write_hcp_motion,
    write_json,
    write_tsv,
)
from painting import (
    BACKGROUND,
    Grid,
    PaintedImage,
    a424_atlas,
    dlabel_of,
    grid_2009c,
    label_volume,
    labels_on,
    mni_grid,
    paint_cifti,
    paint_nifti,
    small_atlas,
    write_volume,
)
from tree_parts import Tree, Truth, series

__all__ = [
    "BACKGROUND",
    "Grid",
    "Motion",
    "PaintedImage",
    "Tree",
    "Truth",
    "a424_atlas",
    "dlabel_of",
    "fmriprep_confounds",
    "grid_2009c",
    "label_volume",
    "labels_on",
    "made_up_motion",
    "mni_grid",
    "paint_cifti",
    "paint_nifti",
    "series",
    "shortened",
    "small_atlas",
    "truncated",
    "write_fmriprep_tree",
    "write_fsl_motion",
    "write_hcp_motion",
    "write_hcp_tree",
    "write_json",
    "write_plain_tree",
    "write_tsv",
    "write_ukb_tree",
    "write_volume",
    "write_xcpd_tree",
]


def truncated(path: Path, share: float = 0.5) -> None:
    """Cut a file off, as a broken transfer does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def shortened(path: Path, num_bytes: int = 10_000) -> None:
    """A whole gzip file whose content is cut off: its header promises more data than there is."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-num_bytes], mtime=0))
