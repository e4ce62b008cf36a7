"""One scan -> one recording ready to be stored, or the reason why there is none.

A pure function of scan, atlas and settings, whichever process or machine it runs in: reading is in ``parcellate.py``,
``cifti.py`` and ``read.py``, cleaning in ``clean.py``, many scans in ``parcellating.py``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainlm.data.atlas import Atlas
from brainlm.data.cifti import read_cifti
from brainlm.data.clean import clean
from brainlm.data.cleaning import Cleaning
from brainlm.data.confounds import Confounds, read_confounds
from brainlm.data.parcellate import MIN_COVERAGE, ParcelSeries, read_nifti
from brainlm.data.planned import failure_of
from brainlm.data.quality import MeasuredSignal, Quality
from brainlm.data.read import read_table, signal_from_values
from brainlm.data.repetition import agreed_tr
from brainlm.data.scan import Scan
from brainlm.errors import BrainLMError, ConfigError, DataError, Failure

GIVEN_TR = "--tr"  # the source of a repetition time that overrides all others
BY_RULE = "left out by rule: "  # how the reason begins where a rule of the user's was met

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParcellationSettings:
    """All that decides which numbers come out of a scan, and whether they are stored; 0 is a rule that is left out.

    Args:
        min_parcel_coverage: parcels of which a smaller share has signal are NaN.
        cleaning: what is done to the series of parcels.
        max_fd: recordings with a larger *mean* framewise displacement (mm) are left out.
        min_volumes: recordings with fewer volumes that are not censored are left out.
        min_coverage: recordings with a smaller coverage, mean over parcels, are left out.
        assume_space: the space of images whose names do not say it, such as ``MNI152NLin6Asym``.

    Raises:
        ConfigError: a number out of range.
    """

    min_parcel_coverage: float = MIN_COVERAGE
    cleaning: Cleaning = field(default_factory=Cleaning)
    max_fd: float = 0.0
    min_volumes: int = 0
    min_coverage: float = 0.0
    assume_space: str = ""

    def __post_init__(self) -> None:
        ranges = {"min_parcel_coverage": 1.0, "min_coverage": 1.0, "max_fd": math.inf, "min_volumes": math.inf}
        for name, most in ranges.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigError(
                    f"{name} is not usable",
                    expected=f"a number of at least 0{f' and at most {most:g}' if most < math.inf else ''}",
                    found=repr(value),
                    remedy="correct it",
                )

    def describe(self) -> dict[str, Any]:
        """As it stands in a store's manifest."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Processed:
    """What became of a scan: ``signal``, or else ``failure``.

    ``excluded`` says that a rule of the user's left it out, which the same scan will meet again. ``how`` is the way
    from voxels to parcels in a word or two.
    """

    name: str
    signal: MeasuredSignal | None = None
    tr_s: float = math.nan
    how: str = ""
    failure: Failure | None = None
    excluded: bool = False


class _ExcludedError(DataError):
    """A recording that one of the user's rules leaves out."""


def process(scan: Scan, atlas: Atlas, settings: ParcellationSettings) -> Processed:
    """Read, clean and judge a scan. Whatever is wrong with it becomes a failure: other scans are not concerned."""
    try:
        return _process(scan, atlas, settings)
    except BrainLMError as error:
        failure = failure_of(scan.path, error)
        return Processed(scan.recording_name, failure=failure, excluded=isinstance(error, _ExcludedError))
    except MemoryError:
        problem, remedy = "the memory does not suffice to read it", "run fewer jobs at a time, or use a larger machine"
    except Exception as error:  # one odd file must not end the work on thousands
        logger.debug("%s", scan.path, exc_info=True)
        problem = f"reading it failed in a way that was not foreseen: {type(error).__name__}: {error}"
        remedy = "check the file with another program; if it is sound, report this"
    return Processed(scan.recording_name, failure=Failure(scan.path, problem, remedy))


def fingerprint(scan: Scan) -> str:
    """Changes when the scan's files, or what is known of it that decides its numbers, do."""
    is_final = scan.tr_source == GIVEN_TR
    known = (scan.recording_name, scan.kind, scan.space, scan.tr_s, is_final, scan.motion_kind)
    files = [scan.path, scan.mask, scan.motion, scan.confounds]
    if scan.confounds:
        files.append(str(Path(scan.confounds).with_suffix(".json")))
    described = [_state(path) for path in files if path]
    return hashlib.sha256(json.dumps([known, described]).encode()).hexdigest()


def _state(path: str) -> tuple[str, int, int]:
    file, _, member = path.partition("!/")
    name = f"{os.path.abspath(file)}!/{member}"  # noqa: PTH100  as it is named, links and all
    try:
        found = os.stat(file)  # noqa: PTH116  a million of these
    except OSError:
        return name, -1, -1
    return name, found.st_size, found.st_mtime_ns


def _process(scan: Scan, atlas: Atlas, settings: ParcellationSettings) -> Processed:
    series = _read(scan, atlas, settings)
    tr_s = _repetition_time(scan, series)
    confounds = read_confounds(scan, settings.cleaning, len(series.bold))
    cleaned = clean(series.bold, tr_s, confounds, settings.cleaning)
    quality = _quality(series, confounds, cleaned.num_censored)
    _apply_rules(scan, quality, settings)
    signal = signal_from_values(cleaned.bold, source=scan.path)
    measured = MeasuredSignal(signal.bold, signal.num_without_signal, quality=quality)
    return Processed(scan.recording_name, measured, cleaned.tr_s, series.how)


def _read(scan: Scan, atlas: Atlas, settings: ParcellationSettings) -> ParcelSeries:
    if scan.kind == "nifti":
        space = scan.space or settings.assume_space
        least = settings.min_parcel_coverage
        return read_nifti(scan.path, atlas, mask=scan.mask, space=space, min_coverage=least)
    if scan.kind == "cifti":
        return read_cifti(scan.path, atlas, min_coverage=settings.min_parcel_coverage)
    bold_TP = read_table(scan.path, atlas.parcels).bold
    coverage_P = np.isfinite(bold_TP).all(axis=0).astype(np.float32)
    unknown_P = np.full(bold_TP.shape[1], np.nan, np.float32)  # most tables are of denoised series around 0
    return ParcelSeries(bold_TP, coverage_P, unknown_P, None, "parcellated")


def _repetition_time(scan: Scan, series: ParcelSeries) -> float:
    """What header and sidecar agree on, in seconds; what the user says overrides both."""
    if scan.tr_s is not None and scan.tr_source == GIVEN_TR:
        return scan.tr_s
    sources = {scan.tr_source: scan.tr_s} if scan.tr_s is not None else {}
    if series.header_tr_s is not None:
        sources["its header"] = series.header_tr_s
    try:
        return agreed_tr(scan.path, sources, expected="a repetition time in the header or in a JSON sidecar")
    except DataError as error:
        raise DataError(
            error.problem, expected=error.expected, found=error.found, remedy="give the right one in seconds with --tr"
        ) from error


def _quality(series: ParcelSeries, confounds: Confounds, num_censored: int) -> Quality:
    mean_fd, max_fd = confounds.mean_fd_mm, confounds.max_fd_mm
    known = series.tsnr[np.isfinite(series.tsnr)]
    return Quality(
        num_volumes=len(series.bold),
        num_censored=num_censored,
        mean_fd=math.nan if mean_fd is None else mean_fd,
        max_fd=math.nan if max_fd is None else max_fd,
        tsnr=float(np.median(known)) if known.size else math.nan,
        parcel_coverage=series.coverage,
    )


def _apply_rules(scan: Scan, quality: Quality, settings: ParcellationSettings) -> None:
    """Leave out what the user does not want.

    Raises:
        DataError: a rule leaves the recording out, or nobody knows what the rule asks for.
    """
    if settings.max_fd and math.isnan(quality.mean_fd):
        raise DataError(
            f"{scan.path}: its motion is not known, so --max_fd cannot be applied",
            expected="confounds or a motion file beside it",
            found="neither",
            remedy="put them where the layout has them, or leave out --max_fd",
        )
    kept = quality.num_volumes - quality.num_censored
    rules = (
        (settings.max_fd and quality.mean_fd > settings.max_fd, "mean framewise displacement",
         f"{quality.mean_fd:.3f} mm", f"above {settings.max_fd:g} mm (--max_fd)"),
        (kept < settings.min_volumes, "volumes that are not censored",
         f"{kept}", f"fewer than {settings.min_volumes} (--min_volumes)"),
        (quality.coverage < settings.min_coverage, "coverage, mean over parcels",
         f"{quality.coverage:.3f}", f"below {settings.min_coverage:g} (--min_coverage)"),
    )  # fmt: skip
    for applies, what, found, limit in rules:
        if applies:
            raise _ExcludedError(f"{BY_RULE}{what} {found}, {limit}", remedy="none needed; or change the rule")
