"""Scans become a store: the same one from any number of processes, and after any interruption."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from derivatives import small_atlas, truncated, write_fmriprep_tree

from brainlm import atomic
from brainlm.data import parcellating, processing
from brainlm.data.parcellating import parcellate_scans, partial_folder
from brainlm.data.processing import ParcellationSettings
from brainlm.data.scans import find_scans
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.errors import ConfigError, DataError

TRUNCATED = "sub-02_task-rest_run-1"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return small_atlas(tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="module")
def study(tmp_path_factory, atlas):
    """Eight runs of four people, one of them cut off; run 2 of each has one jump of the head."""
    folder = tmp_path_factory.mktemp("study")
    tree = write_fmriprep_tree(folder, atlas, subjects=("01", "02", "03", "04"), runs=("1", "2"), coverage={3: 0.6})
    truncated(image_of(tree.root, TRUNCATED))
    return tree


def image_of(root, name):
    return next(path for path in root.rglob(f"{name}_*desc-preproc_bold.nii.gz"))


@pytest.fixture(scope="module")
def found(study):
    return find_scans([study.root])


@pytest.fixture
def run(found, atlas):
    """``run(out, jobs=2)``: parcellate the study."""
    return lambda out, found=found, **options: parcellate_scans(found, out, atlas=atlas, **options)


@pytest.fixture(scope="module")
def expected(found, atlas, tmp_path_factory):
    """The files of the store that one uninterrupted process writes."""
    out = tmp_path_factory.mktemp("expected") / "study.store"
    parcellate_scans(found, out, atlas=atlas)
    return files(out)


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def processed(monkeypatch):
    """How often each scan was read."""
    counts, read = Counter(), processing.read_nifti

    def counting(path, *arguments, **options):
        counts["_".join(Path(path).name.split("_")[:3])] += 1
        return read(path, *arguments, **options)

    monkeypatch.setattr(processing, "read_nifti", counting)
    return counts


def interrupting(after, *, writing=False):
    """Progress that interrupts after so many scans, as Ctrl-C does; or after so many were written."""

    def progress(*said):
        if said[0] == after and (said[2] == parcellating.WRITING) == writing:
            raise KeyboardInterrupt

    return progress


# What is in the store -------------------------------------------------------------------------------------------------


def test_every_scan_is_under_its_own_name_and_a_failing_one_under_none(run, study, tmp_path):
    summary = run(tmp_path / "a.store")
    store = Store.open(summary.store, verify=True)
    assert (summary.num_recordings, summary.num_subjects, len(store)) == (7, 4, 7)
    assert [store[row].name for row in range(7)] == sorted(set(study.truth) - {TRUNCATED})
    for row in range(7):
        recording = store[row]
        np.testing.assert_allclose(recording.bold, study.truth[recording.name].bold, rtol=1e-4)
        assert recording.phenotypes["age"] == study.phenotypes[recording.subject]["age"]
        assert recording.source.endswith(f"{recording.name}_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz")
    (failure,) = summary.failures
    assert TRUNCATED in failure.source
    assert store.manifest.exclusions == [vars(failure)]


def test_quality_and_origin_are_recorded(run, tmp_path):
    settings = ParcellationSettings(cleaning=processing.Cleaning("motion6", max_scrub_fd_mm=0.5))
    store = Store.open(run(tmp_path / "a.store", settings=settings).store)
    metadata = store.metadata.set_index("run")
    assert (metadata.loc["1", "num_censored"] == 1).all()
    assert (metadata.loc["2", "num_censored"] == 2).all()
    assert (metadata["num_volumes"] == 40).all()
    assert (metadata.loc["2", "max_fd"] > 1).all()
    assert store.parcel_coverage.shape == (7, 20)
    assert store.parcels.table["coverage"].tolist() == [1, 1, pytest.approx(0.6, abs=0.02)] + [1] * 17
    source = store.manifest.source
    assert source["voxels to parcels"] == "same grid (7)"
    assert "confounds motion6 regressed out" in source["cleaning"]
    assert json.loads(source["settings"])["cleaning"]["max_scrub_fd_mm"] == 0.5
    assert source["atlas_sha256"]
    assert store.atlas_image is not None


def test_people_are_divided_as_asked(run, tmp_path):
    store = Store.open(run(tmp_path / "a.store", split=SplitRule(hold_out={"site": ["south"]}), dtype="float16").store)
    metadata = store.metadata
    assert ((metadata["split"] == "test") == (metadata["site"] == "south")).all()
    assert store.bold(0).dtype == np.float16


def test_impossible_wishes_are_refused_before_the_work(run, tmp_path, processed):
    for options, message in (
        ({"split": SplitRule(group="family")}, "no family; nearest"),
        ({"jobs": 0}, "--jobs 0"),
        ({"jobs": 2, "dask": "tcp://nowhere:1"}, "with --dask"),
    ):
        with pytest.raises((DataError, ConfigError), match=message):
            run(tmp_path / "a.store", **options)
    (tmp_path / "a.store").mkdir()
    with pytest.raises(DataError, match="exists already"):
        run(tmp_path / "a.store")
    assert not processed
    assert not partial_folder(tmp_path / "a.store").exists()


def test_nothing_but_failures_is_an_error_and_does_not_stand_in_the_way(study, atlas, tmp_path):
    shutil.copytree(study.root / "sub-02", tmp_path / "in" / "sub-02")
    for image in (tmp_path / "in").rglob("*preproc_bold.nii.gz"):
        truncated(image)
    found = find_scans([tmp_path / "in"], layout="bids")
    with pytest.raises(DataError, match=r"no input could be used(.|\n)*2 failed; the first: ends before"):
        parcellate_scans(found, tmp_path / "a.store", atlas=atlas)
    settings = ParcellationSettings(max_fd=1.0)
    with pytest.raises(DataError, match="no input could be used"):
        parcellate_scans(found, tmp_path / "a.store", atlas=atlas, settings=settings)


# The same store, whatever happens -------------------------------------------------------------------------------------


def test_two_processes_write_the_same_bytes_as_one(run, expected, tmp_path):
    seen = []
    run(tmp_path / "a.store", jobs=2, progress=lambda *said: seen.append(said))
    assert files(tmp_path / "a.store") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.store"]
    scans = [said for said in seen if said[2] != parcellating.WRITING]
    assert scans[-1][:2] == (8, 8)
    assert "scans/s, 1 failed" in scans[-1][2]


@pytest.mark.parametrize("after", range(9))
def test_interrupted_after_any_scan_nothing_is_done_twice(run, expected, processed, tmp_path, after):
    out = tmp_path / "a.store"
    with pytest.raises(KeyboardInterrupt):
        run(out, progress=interrupting(after))
    assert not out.exists()
    finished = set(processed)
    assert len(finished) == after
    summary = run(out)
    assert files(out) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.store"]
    assert {name for name, number in processed.items() if number > 1} == finished & {TRUNCATED}, "failed: tried again"
    num_kept = len(finished - {TRUNCATED})
    assert (f"{num_kept} scans were finished in an earlier attempt, and not done again" in summary.notes) == (
        num_kept > 0
    )


def test_interrupted_while_the_store_is_written_nothing_is_read_again(run, expected, processed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.store", progress=interrupting(5, writing=True))
    assert [path.name for path in tmp_path.iterdir()] == ["a.store.partial"]
    processed.clear()
    run(tmp_path / "a.store")
    assert set(processed) == {TRUNCATED}
    assert files(tmp_path / "a.store") == expected


def test_interrupted_between_store_and_clearing_up_the_store_stands(run, expected, processed, tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as within:
        within.setattr(parcellating, "_remove", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "a.store")
    (tmp_path / "a.store" / atomic.LOCK_FILE).write_text("{}")  # the last thing that publishing removes
    processed.clear()
    summary = run(tmp_path / "a.store")
    assert (summary.num_recordings, len(summary.failures)) == (7, 1)
    assert "the store was finished in an earlier attempt" in summary.notes
    assert not processed
    assert files(tmp_path / "a.store") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.store"]


def test_a_scan_that_changed_is_read_again(study, atlas, processed, tmp_path):
    root = tmp_path / "in"
    shutil.copytree(study.root, root)
    with pytest.raises(KeyboardInterrupt):
        parcellate_scans(find_scans([root]), tmp_path / "a.store", atlas=atlas, progress=interrupting(6))
    name = "sub-01_task-rest_run-1"
    shutil.copy(image_of(root, "sub-04_task-rest_run-2"), image_of(root, name))
    parcellate_scans(find_scans([root]), tmp_path / "a.store", atlas=atlas)
    assert processed[name] == 2
    store = Store.open(tmp_path / "a.store")
    true = study.truth["sub-04_task-rest_run-2"].bold
    np.testing.assert_allclose(np.delete(store.bold(0), 2, axis=1), np.delete(true, 2, axis=1), rtol=1e-4)


def test_what_tables_say_may_be_mended_between_attempts(run, found, expected, tmp_path, processed):
    wrong = replace(found, scans=tuple(replace(scan, site="x") for scan in found.scans))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.store", found=wrong, progress=interrupting(4))
    run(tmp_path / "a.store")
    assert files(tmp_path / "a.store") == expected
    assert max(number for name, number in processed.items() if name != TRUNCATED) == 1


def test_what_a_rule_left_out_is_not_read_again(run, processed, tmp_path):
    settings = ParcellationSettings(max_fd=0.06)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.store", settings=settings, progress=interrupting(8))
    summary = run(tmp_path / "a.store", settings=settings)
    assert sum("left out by rule" in failure.reason for failure in summary.failures) == 4
    assert {name for name, number in processed.items() if number > 1} == {TRUNCATED}


def test_other_settings_do_not_mix_with_what_is_kept(run, tmp_path, processed):
    out = tmp_path / "a.store"
    with pytest.raises(KeyboardInterrupt):
        run(out, progress=interrupting(3))
    other = ParcellationSettings(cleaning=processing.Cleaning("motion24"))
    with pytest.raises(DataError, match=r"begun with other settings(.|\n)*settings.cleaning.confounds: none in this "):
        run(out, settings=other)
    processed.clear()
    run(out, settings=other, overwrite=True)
    assert len(processed) == 8


def test_an_interrupted_replacement_goes_on(run, expected, processed, tmp_path):
    out = tmp_path / "a.store"
    run(out, settings=ParcellationSettings(min_parcel_coverage=0.9))
    before = files(out)
    processed.clear()
    with pytest.raises(KeyboardInterrupt):
        run(out, overwrite=True, progress=interrupting(3))
    assert files(out) == before
    with pytest.raises(DataError, match="exists already"):
        run(out)
    run(out, overwrite=True)
    assert files(out) == expected
    assert max(number for name, number in processed.items() if name != TRUNCATED) == 1


def test_two_at_a_time_do_not_write_the_same_store(run, tmp_path):
    def second(*_):
        with pytest.raises(DataError, match="is in use"):
            run(tmp_path / "a.store")

    run(tmp_path / "a.store", progress=second)
