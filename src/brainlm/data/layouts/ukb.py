"""UK Biobank's bulk data: ``1234567_20227_2_0`` as a folder or a zip, resting state (20227) and task (20249).

Archives are looked into in ``archives.py``. Alfaro-Almagro et al. (2018), NeuroImage 166, describes what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from brainlm.data.bids import subject_id
from brainlm.data.layouts.archives import Archive, look_into
from brainlm.data.layouts.candidates import Candidate
from brainlm.data.layouts.source import Found, Source
from brainlm.data.layouts.walking import Folder, Walker, check_file
from brainlm.data.planned import failure_of
from brainlm.data.repetition import seconds
from brainlm.data.scan import Scan
from brainlm.errors import DataError, Failure

FIELDS = {"20227": "rest", "20249": "faces"}  # in the task, faces or shapes are matched (Hariri et al., 2002)
BULK = re.compile(r"^(?P<subject>\d+)_(?P<field>20227|20249)_(?P<session>\d+)_(?P<array>\d+)(\.zip)?$")
OF_PIPELINE = re.compile(r"^(?P<subject>\d+)(_(?P<session>\d))?$")  # the pipeline's own folders: 1234567, 1234567_2
IMAGE = re.compile(r"(^|/)filtered_func_data(?P<clean>_clean)?(?P<more>[^/]*)\.nii(\.gz)?$")
STANDARD = re.compile(r"(^|/)reg_standard/|stand|MNI")
SPACE = "MNI152NLin6Asym"  # what FSL calls standard
BESIDE = re.compile(r"(^|/)(prefiltered_func_data_mcf\.par|mask\.nii\.gz|[rt]fMRI\.json)$")
# A visit's folder and what is below it: by UK Biobank's name, or by the pipeline's folders.
VISITS = (
    re.compile(r"^(?P<visit>.*/\d+_(?:20227|20249)_\d+_\d+)(?:/(?P<below>.+))?$"),
    re.compile(r"^(?P<visit>.*/\d+(?:_\d)?)/(?P<below>fMRI)$"),
    re.compile(r"^(?P<visit>.*)/(?P<below>fMRI/(?:rfMRI\.ica|tfMRI\.feat)(?:/.+)?)$"),
)
INSIDE = re.compile(r"^(fMRI|rfMRI\.ica|tfMRI\.feat|reg_standard|reg|mc)$")
NOT_FUNCTIONAL = re.compile(r"^(T1|T2_FLAIR|SWI|dMRI|QSM|ASL|raw|unusable|.+\.dr|.+\.ica|.+\.feat)$")
NUM_THREADS = 8  # looking into archives waits for the disk, not for the processor


@dataclass(eq=False)
class _Visit:
    """One visit's folder or archive: its path, its path below the folder given, and the files in it that matter."""

    path: str
    name: str
    members: set[str] = field(default_factory=set)
    archive: Archive | None = None

    def path_of(self, member: str) -> str:
        return f"{self.path}{'!' if self.archive else ''}/{member}"

    def name_of(self, member: str) -> str:
        mark = "!/" if self.archive else "/" if self.name else ""
        return f"{self.name}{mark}{member}"

    def if_there(self, member: str) -> str:
        return self.path_of(member) if member in self.members else ""


def find_ukb(source: Source) -> Found:
    """All candidates of the folders and archives below the source, or of single files.

    First choice: named as in standard space before not said (the header decides then), cleaned (ICA-FIX) before not,
    the shorter name, unpacked before in an archive.
    """
    walker, found = Walker(), Found()
    archives: list[tuple[str, str]] = []
    visits: dict[str, _Visit] = {}
    for root, name in _roots(source):
        for folder in walker.folders(root, _enter):
            below = "/".join(part for part in (name, folder.name) if part)
            _take(Folder(folder.path, below, folder.files, folder.broken), visits, archives, found)
    archives += [(str(path), path.as_posix()) for path in source.files if BULK.match(path.name) and _is_zip(path.name)]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        looked = pool.map(partial(look_into, of_interest=_matters), (path for path, _ in archives))
        for (path, name), archive in zip(archives, looked, strict=True):
            if isinstance(archive, Failure):
                found.failures.append(archive)
            else:
                visits[path] = _Visit(path, name, set(archive.members), archive)
    for visit in visits.values():
        found.candidates += _candidates(visit, found)
    if source.files:
        wanted = {str(path) for path in source.files}
        found.candidates = [item for item in found.candidates if item.scan.path.split("!/")[0] in wanted]
        found.failures = [failure for failure in found.failures if failure.source in wanted]
    found.failures += walker.failures
    found.num_files = walker.num_files + len(archives)
    return found


def _is_zip(name: str) -> bool:
    return name.endswith(".zip")


def _roots(source: Source) -> Iterator[tuple[Path, str]]:
    """The folders to walk: the source's, or those of the visits that its single files belong to."""
    if not source.files:
        yield source.root, ""
    yield from sorted({(root, root.as_posix()) for root in map(_visit_of, source.files) if root is not None})


def _visit_of(file: Path) -> Path | None:
    return None if _is_zip(file.name) else Path(_in_visit(str(file.parent))[0])


def _in_visit(folder: str) -> tuple[str, str]:
    """The visit's folder that a folder belongs to, and its path below that; itself where there is none."""
    place = next((place for place in (pattern.match(folder) for pattern in VISITS) if place), None)
    return (place["visit"], place["below"] or "") if place else (folder, "")


def _enter(parent: str, name: str) -> bool:
    if INSIDE.match(name):
        return True
    return NOT_FUNCTIONAL.match(name) is None and not any(pattern.match(parent) for pattern in VISITS)


def _matters(member: str) -> bool:
    return bool(IMAGE.search(member) or BESIDE.search(member))


def _take(folder: Folder, visits: dict[str, _Visit], archives: list[tuple[str, str]], found: Found) -> None:
    """Put a folder's files where they belong: archives to be looked into, or members of a visit's folder."""
    path, below = _in_visit(folder.path)
    for file in sorted(folder.files):
        if not (_matters(file) or (BULK.match(file) and _is_zip(file))):
            continue
        try:
            check_file(folder, file)
        except DataError as error:
            found.failures.append(failure_of(folder.path_of(file), error))
            continue
        if _is_zip(file):
            archives.append((folder.path_of(file), folder.name_of(file)))
            continue
        name = folder.name.removesuffix(below).rstrip("/")
        visits.setdefault(path, _Visit(path, name)).members.add(f"{below}/{file}".removeprefix("/"))


def _candidates(visit: _Visit, found: Found) -> Iterable[Candidate]:
    for member in sorted(visit.members):
        image = IMAGE.search(member)
        if image is None:
            continue
        try:
            candidate = _candidate(visit, member, image)
        except DataError as error:
            found.failures.append(failure_of(visit.path_of(member), error))
            continue
        if candidate is not None:
            yield candidate


def _candidate(visit: _Visit, member: str, image: re.Match[str]) -> Candidate | None:
    bulk = BULK.match(Path(visit.path).name)
    who = bulk or OF_PIPELINE.match(Path(visit.path).name)
    analysis = "rfMRI" if "rfMRI" in member else "tfMRI" if "tfMRI" in member else ""
    code = bulk["field"] if bulk else {"rfMRI": "20227", "tfMRI": "20249"}.get(analysis)
    if who is None or code is None:
        raise DataError(
            f"{visit.path_of(member)}: whose recording this is, or of what, cannot be told",
            expected="a folder or archive such as 1234567_20227_2_0, or fMRI/rfMRI.ica in a folder 1234567",
            found=Path(visit.path).name,
            remedy="name it as UK Biobank does, or read it with --layout plain and --pattern",
        )
    if analysis and {"20227": "rfMRI", "20249": "tfMRI"}[code] != analysis:
        return None
    standard = STANDARD.search(member) is not None
    run = bulk["array"].removeprefix("0") if bulk else ""
    folder = member.rpartition("/")[0]
    inside = f"fMRI/{analysis or 'rfMRI'}.{'feat' if code == '20249' else 'ica'}"
    motion = visit.if_there(f"{inside}/mc/prefiltered_func_data_mcf.par")
    sidecar = f"fMRI/{'tfMRI' if code == '20249' else 'rfMRI'}.json"
    tr_s, tr_source = _tr_in(visit, sidecar)
    scan = Scan(
        path=visit.path_of(member),
        name=visit.name_of(member),
        kind="nifti",
        subject=subject_id(who["subject"]),
        session=who["session"] or "",
        task=FIELDS[code],
        run=run,
        space=SPACE if standard else "",
        tr_s=tr_s,
        tr_source=tr_source,
        mask=visit.if_there(f"{folder}/mask.nii.gz") if standard else "",
        motion=motion,
        motion_kind="fsl" if motion else "",
    )
    entities = {"sub": who["subject"], "ses": scan.session, "task": scan.task, "run": run, "space": scan.space}
    entities["desc"] = (image["clean"] or "").removeprefix("_") + image["more"]
    rank = (int(not standard), int(image["clean"] is None), len(image["more"]), int(visit.archive is not None))
    has_sidecar = visit.archive is None and sidecar in visit.members
    return Candidate(scan, entities, rank, sidecar=visit.path_of(sidecar) if has_sidecar else None)


def _tr_in(visit: _Visit, sidecar: str) -> tuple[float | None, str]:
    """The repetition time (s) that an archive's own JSON says, and where that is."""
    content = visit.archive.sidecars.get(sidecar, {}) if visit.archive else {}
    if "RepetitionTime" not in content:
        return None, ""
    where = visit.path_of(sidecar)
    return seconds(content["RepetitionTime"], where), where
