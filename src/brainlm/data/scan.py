"""A scan: one image or table that becomes one recording, with all that is known of it before it is read.

Scans are found in ``scans.py``; what one gives for each parcel of an atlas is read elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from brainlm.data.recording import Phenotype, recording_name

ScanKind = Literal["nifti", "cifti", "table"]
MotionKind = Literal["", "hcp", "fsl", "xcpd"]


@dataclass(frozen=True)
class Scan:
    """One image, or table of parcels, of one run; nothing of it has been read, and it can be sent to other processes.

    Attributes:
        path: the file; a member of an archive is ``file.zip!/member``, here and in the other paths.
        name: the path below the folder given: what a store records as the source.
        kind: a volume (``nifti``), grayordinates or parcels in CIFTI, or a text table.
        subject: with ``sub-`` in front.
        session: without ``ses-``; "" where there is none.
        task: likewise.
        run: likewise; with what else tells one acquisition from another (``acq``, ``ce``, ``dir``) in front.
        site: from the participants table or the pattern.
        space: as names say, such as ``MNI152NLin6Asym``; "" where they do not.
        tr_s: the repetition time in seconds that sidecars and tables agree on; None: the header decides.
        tr_source: where ``tr_s`` is from; ``--tr`` overrides whatever the header says.
        mask: the brain mask that belongs to the image; "" for none.
        confounds: fMRIPrep's table (its JSON lies beside it); "" for none.
        motion: six motion parameters in another program's format; "" for none.
        motion_kind: which: ``hcp`` Movement_Regressors.txt (mm, degrees), ``fsl`` MCFLIRT's .par (radians, mm),
            ``xcpd`` a table with a header, all volumes (censored ones, too).
        phenotypes: values by column of the tables about people.
    """

    path: str
    name: str
    kind: ScanKind
    subject: str
    session: str = ""
    task: str = ""
    run: str = ""
    site: str = ""
    space: str = ""
    tr_s: float | None = None
    tr_source: str = ""
    mask: str = ""
    confounds: str = ""
    motion: str = ""
    motion_kind: MotionKind = ""
    phenotypes: Mapping[str, Phenotype] = field(default_factory=dict)

    @property
    def recording_name(self) -> str:
        """The name of the recording that it becomes, such as ``sub-01_ses-1_task-rest_run-02``."""
        return recording_name(self.subject, self.session, self.task, self.run)
