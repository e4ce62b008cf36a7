"""One scan becomes a recording with its quality, or a failure that says why; nothing else can happen."""

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from derivatives import (
    paint_nifti,
    series,
    small_atlas,
    truncated,
    write_fmriprep_tree,
    write_json,
    write_xcpd_tree,
)

from brainlm.data import processing
from brainlm.data.cleaning import Cleaning
from brainlm.data.processing import ParcellationSettings, fingerprint, process
from brainlm.data.scan import Scan
from brainlm.data.scans import find_scans
from brainlm.errors import ConfigError

PLAIN = ParcellationSettings()


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return small_atlas(tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="module")
def study(tmp_path_factory, atlas):
    """Two people, the second of whom moved once; the second half of the third parcel has no signal."""
    folder = tmp_path_factory.mktemp("study")
    return write_fmriprep_tree(folder, atlas, coverage={3: 0.6})


@pytest.fixture(scope="module")
def scans(study):
    return find_scans([study.root]).scans


@pytest.fixture
def one(tmp_path, atlas):
    """``one(header_tr=...)``: an image of its own, without anything beside it."""

    def paint(**settings) -> Scan:
        path = tmp_path / "one_bold.nii.gz"
        paint_nifti(series(20, len(atlas.parcels)), atlas, path, **settings)
        return Scan(str(path), path.name, "nifti", "sub-01")

    return paint


def test_a_scan_becomes_a_recording_that_says_how_good_it_was(scans, study, atlas):
    for scan in scans:
        done, truth = process(scan, atlas, PLAIN), study.truth[scan.recording_name]
        assert (done.failure, done.name, done.tr_s) == (None, scan.recording_name, 2.0)
        np.testing.assert_allclose(done.signal.bold, truth.bold, rtol=1e-4)
        quality = done.signal.quality
        assert (quality.num_volumes, quality.num_censored) == (40, 0)
        assert quality.mean_fd == pytest.approx(np.nanmean(truth.motion.fd_mm))
        assert quality.max_fd == pytest.approx(np.nanmax(truth.motion.fd_mm))
        expected = np.median(truth.bold.mean(axis=0) / truth.bold.std(axis=0))
        assert quality.tsnr == pytest.approx(expected, rel=1e-2)
        assert quality.parcel_coverage[2] == pytest.approx(0.6, abs=0.02)
        assert (np.delete(quality.parcel_coverage, 2) == 1).all()
        assert quality.coverage == pytest.approx(quality.parcel_coverage.mean())


def test_what_comes_out_can_travel_between_processes(scans, atlas):
    task = pickle.loads(pickle.dumps((scans[0], atlas, PLAIN)))
    done = pickle.loads(pickle.dumps(process(*task)))
    np.testing.assert_array_equal(done.signal.bold, process(scans[0], atlas, PLAIN).signal.bold)


def test_a_table_of_parcels_is_covered_where_it_has_values(tmp_path, atlas):
    tree = write_xcpd_tree(tmp_path, atlas, nifti=False, tables=("small", "other"))
    scan = find_scans([tree.root], atlas="small").scans[0]
    assert scan.kind == "table"
    done = process(scan, atlas, PLAIN)
    np.testing.assert_allclose(done.signal.bold, tree.truth[scan.recording_name].bold, rtol=1e-5)
    assert done.how == "parcellated"
    assert np.isnan(done.signal.quality.tsnr), "mean over deviation means nothing for denoised series"
    assert done.signal.quality.coverage == 1
    assert done.signal.quality.mean_fd > 0


def test_grayordinates_are_read(tmp_path, atlas):
    tree = write_fmriprep_tree(tmp_path, atlas, spaces=(), cifti=True)
    (scan, _) = find_scans([tree.root]).scans
    done = process(scan, atlas, PLAIN)
    np.testing.assert_allclose(done.signal.bold, tree.truth[scan.recording_name].bold, rtol=1e-4)
    assert done.how == "grayordinates"


def test_cleaning_is_done_and_censored_volumes_are_counted(scans, atlas):
    cleaning = Cleaning("motion6", max_scrub_fd_mm=0.5, tr_s=1.0)
    done = process(scans[1], atlas, replace(PLAIN, cleaning=cleaning))
    assert (done.tr_s, done.signal.quality.num_volumes) == (1.0, 40)
    assert done.signal.quality.num_censored == 2  # the jump, and the volume before the steady state
    assert len(done.signal.bold) > 70


# Repetition times ----------------------------------------------------------------------------------------------------


def test_header_and_sidecar_that_contradict_each_other_are_an_error_with_a_remedy(one, atlas):
    scan = replace(one(header_tr=2.0), tr_s=0.8, tr_source="one_bold.json")
    failure = process(scan, atlas, PLAIN).failure
    assert "contradict each other about the repetition time" in failure.reason
    assert "0.8 s in one_bold.json" in failure.reason
    assert "2 s in its header" in failure.reason
    assert "--tr" in failure.remedy


@pytest.mark.parametrize("header_tr", [0.0, float("nan")])
def test_a_header_without_repetition_time_is_an_error_unless_another_source_has_it(one, atlas, header_tr):
    scan = one(header_tr=header_tr)
    failure = process(scan, atlas, PLAIN).failure
    assert "repetition time is unknown" in failure.reason
    assert "--tr" in failure.remedy
    assert process(replace(scan, tr_s=0.72, tr_source="a.json"), atlas, PLAIN).tr_s == 0.72


def test_a_difference_of_rounding_is_none_and_the_users_word_is_the_last(one, atlas):
    scan = replace(one(header_tr=0.7349), tr_s=0.735, tr_source="one_bold.json")
    assert process(scan, atlas, PLAIN).tr_s == 0.735
    assert process(replace(scan, tr_s=3.0, tr_source="--tr"), atlas, PLAIN).tr_s == 3.0


# Rules ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"max_fd": 0.01}, r"mean framewise displacement 0\.\d+ mm, above 0.01 mm \(--max_fd\)"),
        ({"min_volumes": 41}, r"volumes that are not censored 40, fewer than 41 \(--min_volumes\)"),
        ({"min_coverage": 0.99}, r"coverage, mean over parcels 0.98\d, below 0.99 \(--min_coverage\)"),
    ],
)
def test_rules_leave_recordings_out_and_say_by_what(scans, atlas, rule, reason):
    done = process(scans[0], atlas, replace(PLAIN, **rule))
    assert done.signal is None
    assert done.excluded
    assert done.failure.source == scans[0].path
    assert re.search(reason, done.failure.reason)


def test_censored_volumes_do_not_count_towards_the_least_number(scans, atlas):
    settings = ParcellationSettings(cleaning=Cleaning(max_scrub_fd_mm=0.5), min_volumes=39)
    assert process(scans[0], atlas, settings).failure is None
    assert "38, fewer than 39" in process(scans[1], atlas, settings).failure.reason


def test_parcels_of_little_coverage_are_missing_not_zero(scans, atlas):
    done = process(scans[0], atlas, replace(PLAIN, min_parcel_coverage=0.7))
    assert np.isnan(done.signal.bold[:, 2]).all()
    assert np.isfinite(np.delete(done.signal.bold, 2, axis=1)).all()
    assert done.signal.num_without_signal == 1


def test_a_limit_on_motion_is_not_applied_to_what_is_unknown(one, atlas):
    done = process(one(), atlas, replace(PLAIN, max_fd=0.5))
    assert "motion is not known, so --max_fd cannot be applied" in done.failure.reason
    assert not done.excluded
    quality = process(one(), atlas, PLAIN).signal.quality
    assert np.isnan([quality.mean_fd, quality.max_fd]).all()


@pytest.mark.parametrize("wrong", [{"min_coverage": 1.5}, {"min_parcel_coverage": -0.1}, {"max_fd": float("nan")}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ParcellationSettings(**wrong)


# Bad input -----------------------------------------------------------------------------------------------------------


def test_a_damaged_scan_is_a_failure_that_names_it_and_not_twice(one, atlas):
    scan = one()
    truncated(Path(scan.path))
    failure = process(scan, atlas, PLAIN).failure
    assert failure.source == scan.path
    assert failure.reason.startswith("ends before what its header promises")


def test_an_image_of_unknown_space_needs_the_users_word(one, atlas):
    scan = one(form_code=1)
    assert "not in MNI space" in process(scan, atlas, PLAIN).failure.reason
    assert process(scan, atlas, replace(PLAIN, assume_space="MNI152NLin6Asym")).failure is None
    native = replace(scan, space="T1w")
    assert "not in MNI space" in process(native, atlas, replace(PLAIN, assume_space="MNI152NLin6Asym")).failure.reason


@pytest.mark.parametrize(
    ("error", "reason"), [(ValueError("odd"), "not foreseen: ValueError: odd"), (MemoryError(), "memory")]
)
def test_what_nobody_foresaw_in_one_scan_is_a_failure_of_that_scan(scans, atlas, monkeypatch, error, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(processing, "read_nifti", fail)
    done = process(scans[0], atlas, PLAIN)
    assert reason in done.failure.reason
    assert done.failure.remedy


# Fingerprints --------------------------------------------------------------------------------------------------------


def test_a_fingerprint_changes_with_files_and_what_decides_the_numbers(tmp_path, monkeypatch):
    files = {name: tmp_path / f"{name}.tsv" for name in ("path", "mask", "confounds", "motion")}
    for path in files.values():
        path.write_text("1")
    write_json({}, tmp_path / "confounds.json")
    scan = Scan(name="a", kind="table", subject="sub-01", **{name: str(path) for name, path in files.items()})
    seen = {fingerprint(scan)}
    for path in [*files.values(), tmp_path / "confounds.json"]:
        path.write_text("22")
        assert fingerprint(scan) not in seen, path
        seen.add(fingerprint(scan))
    assert fingerprint(replace(scan, tr_s=1.0)) not in seen
    assert fingerprint(replace(scan, tr_source="--tr")) not in seen
    assert fingerprint(replace(scan, phenotypes={"age": 3.0}, site="north", tr_source="elsewhere/a.json")) in seen
    monkeypatch.chdir(tmp_path)
    relative = {name: path.name for name, path in files.items()}
    assert fingerprint(replace(scan, **relative)) == fingerprint(scan)
    files["path"].unlink()
    assert fingerprint(scan) not in seen


def test_members_of_an_archive_have_fingerprints_of_their_own(tmp_path):
    (tmp_path / "a.zip").write_text("1")
    first, second = (Scan(f"{tmp_path}/a.zip!/{name}", name, "nifti", "sub-01") for name in ("a.nii", "b.nii"))
    assert fingerprint(first) != fingerprint(second)
