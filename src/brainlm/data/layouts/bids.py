"""fMRIPrep's derivatives, and others that are named as BIDS says: images, masks, confounds, tables of parcels.

Names are taken apart by bids2table. Its index of whole data sets is not used: it passes over folders that it may not
read and those whose name has a dot (``fmriprep-23.2``) in silence, and makes ``run-01`` and ``run-1`` one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainlm.data.bids import part_of_image, run_label, subject_id
from brainlm.data.layouts.candidates import Candidate
from brainlm.data.layouts.source import Found, Source
from brainlm.data.layouts.walking import Folder, Walker, check_file
from brainlm.data.planned import failure_of, listed
from brainlm.data.scan import Scan, ScanKind
from brainlm.errors import DataError, Failure

Names = Mapping[str, str]  # entity -> value, with suffix and ext

# An image's first choice comes first. Atlases such as A424 are drawn on FSL's MNI152, which is MNI152NLin6Asym.
SPACES = ("MNI152NLin6Asym", "MNI152NLin6Sym", "MNI152Lin", "MNI152NLin2009cAsym", "MNI152NLin2009cSym", "fsLR")
STANDARD_SPACE = re.compile(r"^(MNI|fsLR$)")
DESCRIPTIONS = ("denoised", "preproc", "")  # then others, and smoothed ones last
RESOLUTIONS = ("2", "02", "", "native")  # 2 mm is the usual grid of atlases; then the scanner's own; then others
DENSITIES = ("91k", "", "170k")  # dlabels are drawn on 91,282 grayordinates
KINDS = ("nifti", "cifti", "table")

RUN_ENTITIES = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "echo", "part")
SPACE_ENTITIES = ("space", "cohort", "res", "den")
OF_INTEREST = re.compile(r"_(bold|timeseries|mask|regressors|motion)\.(nii\.gz|nii|[dp]tseries\.nii|tsv)$")
SUBJECT_FOLDER = re.compile(r"/sub-(?P<sub>[^/]+)(?:/ses-(?P<ses>[^/]+))?(?:/func)?$")
ENTERED = re.compile(r"^(sub-.+|ses-.+|func)$")


@dataclass(frozen=True, eq=False)
class Companions:
    """What lies beside the images of one folder, by run; masks by run and space."""

    masks: Mapping[tuple[str, ...], str]
    confounds: Mapping[tuple[str, ...], str]
    motion: Mapping[tuple[str, ...], str]


def find_bids(source: Source) -> Found:
    """All candidates of a data set, a subject's folder, or single files in one."""
    return find_in_folders(source, lambda _, name: ENTERED.match(name) is not None, folder_candidates)


def find_in_folders(
    source: Source,
    enter: Callable[[str, str], bool],
    candidates_in: Callable[[Folder, Source, Found], Iterable[Candidate]],
) -> Found:
    """What ``candidates_in`` finds in each folder of the source, or for its single files in theirs."""
    walker, found = Walker(), Found()
    if not source.files:
        for folder in walker.folders(source.root, enter):
            found.candidates += candidates_in(folder, source, found)
    for parent, files in source.by_folder().items():
        folder = walker.one(parent, parent.as_posix())
        here = candidates_in(folder, replace(source, files=files), found)
        found.candidates += [item for item in here if Path(item.scan.path) in files]
    if source.files:
        wanted = {str(path) for path in source.files}
        found.failures = [failure for failure in found.failures if failure.source in wanted]
    found.failures += walker.failures
    found.num_files = walker.num_files
    return found


def parsed(files: Iterable[str], of_interest: re.Pattern[str] = OF_INTEREST) -> dict[str, Names]:
    """The entities in the names of those files that could matter."""
    from bids2table import parse_bids_entities

    return {file: parse_bids_entities(Path(file)) for file in sorted(files) if of_interest.search(file)}


def folder_candidates(folder: Folder, _: Source, found: Found) -> Iterable[Candidate]:
    """The images and tables in one folder, each with what belongs to it; those that cannot be read are failures."""
    names = parsed(folder.files)
    beside = companions(names)
    root = dataset_root(folder.path)
    found.failures += parts_without_whole(folder, names)
    for file, entities in names.items():
        kind = kind_of(entities)
        if kind is None or "sub" not in entities:
            continue
        try:
            check_file(folder, file)
            check_folder_names(folder, entities)
        except DataError as error:
            found.failures.append(failure_of(folder.path_of(file), error))
            continue
        yield candidate_of(folder, file, entities, kind, beside, root=root)


def parts_without_whole(folder: Folder, names: Mapping[str, Names]) -> list[Failure]:
    """The runs of which a folder has single echoes or phases, and no image or table of all of them."""
    whole = {_whole_run(entities) for entities in names.values() if kind_of(entities) is not None}
    parts: dict[tuple[str, ...], list[str]] = {}
    for file, entities in names.items():
        if (
            part_of_image(entities)
            and kind_of({**entities, "part": "mag", "echo": ""})
            and _whole_run(entities) not in whole
        ):
            parts.setdefault(_whole_run(entities), []).append(file)
    return [
        Failure(folder.path_of(files[0]), *why_only_parts([part_of_image(names[file]) for file in files]))
        for files in parts.values()
    ]


def why_only_parts(parts: Sequence[str]) -> tuple[str, str]:
    """Reason and remedy for a run of which there are only such parts."""
    reason = f"its run is there only as {listed(sorted(set(parts)))}, and not as one signal of all"
    return reason, "combine the echoes or phases first (tedana; fMRIPrep writes the combination without `echo-`)"


def _whole_run(entities: Names) -> tuple[str, ...]:
    return _key({**entities, "echo": "", "part": ""}, RUN_ENTITIES)


def kind_of(entities: Names) -> ScanKind | None:
    """What a file named so is to us; None: nothing that is read. Single echoes and phases are not whole images."""
    if part_of_image(entities) or "hemi" in entities:
        return None
    suffix, ending = entities.get("suffix"), entities.get("ext")
    if suffix == "bold" and ending in (".nii.gz", ".nii") and "stat" not in entities:
        return "nifti"
    if suffix in ("bold", "timeseries") and ending in (".dtseries.nii", ".ptseries.nii"):
        return "cifti"
    is_series = suffix == "timeseries" and entities.get("stat", "mean") == "mean"
    return "table" if is_series and ending == ".tsv" and atlas_of(entities) else None


def atlas_of(entities: Names) -> str:
    """The atlas of a table: XCP-D and others wrote ``atlas``, then ``seg``, then ``atlas`` again."""
    return entities.get("atlas", "") or entities.get("seg", "")


def companions(names: Mapping[str, Names]) -> Companions:
    """The masks, confounds and motion files among a folder's files."""
    masks: dict[tuple[str, ...], str] = {}
    confounds: dict[tuple[str, ...], str] = {}
    motion: dict[tuple[str, ...], str] = {}
    for file, entities in names.items():
        suffix, desc = entities.get("suffix"), entities.get("desc", "")
        if suffix == "mask" and desc in ("brain", ""):
            masks[(*_key(entities, RUN_ENTITIES), *_key(entities, SPACE_ENTITIES))] = file
        elif suffix in ("timeseries", "regressors") and desc == "confounds" and entities.get("ext") == ".tsv":
            # Versions before 20.2 wrote `regressors`; sorted names put `timeseries` last, which therefore counts.
            confounds[_key(entities, RUN_ENTITIES)] = file
        elif suffix == "motion" and desc in ("", "filtered"):
            motion.setdefault(_key(entities, RUN_ENTITIES), file)
    return Companions(masks, confounds, motion)


def _key(entities: Names, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(entities.get(key, "") for key in keys)


def candidate_of(
    folder: Folder,
    file: str,
    entities: Names,
    kind: ScanKind,
    beside: Companions,
    *,
    root: str,
) -> Candidate:
    """A file of a folder as a candidate for its run."""
    run = _key(entities, RUN_ENTITIES)
    space, desc = entities.get("space", ""), entities.get("desc", "")
    mask = beside.masks.get((*run, *_key(entities, SPACE_ENTITIES)), "") if kind == "nifti" else ""
    motion = beside.motion.get(run, "")
    return Candidate(
        Scan(
            path=folder.path_of(file),
            name=folder.name_of(file),
            kind=kind,
            subject=subject_id(entities["sub"]),
            session=entities.get("ses", ""),
            task=entities.get("task", ""),
            run=run_label(entities),
            space=space,
            mask=folder.path_of(mask) if mask else "",
            confounds=folder.path_of(beside.confounds[run]) if run in beside.confounds else "",
            motion=folder.path_of(motion) if motion else "",
            motion_kind="xcpd" if motion else "",
        ),
        selectable(entities),
        rank_of(kind, space=space, desc=desc, entities=entities),
        standard=kind != "nifti" or STANDARD_SPACE.match(space) is not None,
        sidecar=sidecar_of(folder, file),
        root=root,
    )


def selectable(entities: Names) -> dict[str, str]:
    """The entities by which a user may select; ``atlas`` whatever it is called in the name."""
    kept = {key: value for key, value in entities.items() if key not in ("datatype", "suffix", "ext", "seg", "atlas")}
    return kept | ({"atlas": atlas_of(entities)} if atlas_of(entities) else {})


def rank_of(kind: ScanKind, *, space: str, desc: str, entities: Names) -> tuple[int, ...]:
    """Smaller is better: denoised, volumes before CIFTI before tables, the atlas's space, its 2 mm grid."""
    resolution = entities.get("res", "")
    coarser = int(resolution) if resolution.isdecimal() else 0
    return (
        len(DESCRIPTIONS) + 1 if "smooth" in desc.lower() else _place(desc, DESCRIPTIONS),
        2 * KINDS.index(kind) + (entities.get("ext") == ".ptseries.nii"),
        _place(space, SPACES),
        _place(resolution, RESOLUTIONS),
        coarser,
        _place(entities.get("den", ""), DENSITIES),
    )


def _place(value: str, order: tuple[str, ...]) -> int:
    return order.index(value) if value in order else len(order)


def sidecar_of(folder: Folder, file: str) -> str:
    """The JSON file of the same name; "" where there is none, and those above must be asked."""
    stem = file.split(".", 1)[0] + ".json"
    return folder.path_of(stem) if stem in folder.files else ""


def check_folder_names(folder: Folder, entities: Names) -> None:
    """Make sure that a file lies in its own subject's and session's folder.

    Raises:
        DataError: the folders above are another's.
    """
    above = SUBJECT_FOLDER.search(folder.path)
    for key, value in above.groupdict().items() if above else ():
        if value and entities.get(key, value) != value:
            raise DataError(
                f"{folder.path} holds a file of another's",
                expected=f"files of {key}-{value}",
                found=f"one of {key}-{entities[key]}",
                remedy="find out whose it is, then move or rename it",
            )


def dataset_root(folder: str) -> str:
    """The data set that a folder belongs to: what is above its ``sub-`` folder, else the folder itself."""
    above = SUBJECT_FOLDER.search(folder)
    return folder[: above.start()] if above else folder
