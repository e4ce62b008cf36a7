"""Ready-made data sets: that the demo's and ABIDE's files become what they say they are."""

import importlib.metadata
import shutil
import subprocess
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import requests

from brainlm.data import demo_files
from brainlm.data.demo_files import demo_folder
from brainlm.data.manifest import ATLAS_IMAGE
from brainlm.data.sources import import_abide, import_demo
from brainlm.data.splits import SplitRule
from brainlm.data.store import Store
from brainlm.errors import DataError

# A small copy of the demo's files: three people, four parcels (two of one name), the third person without run 1.
NAMES = ["R_a", "L_a", "b", "b"]
TASK = "heatpainwithregulationandratings"
FIRST_ONSET_S = {"01": 10.2, "03": 846.2, "07": 2482.2}


def write_recording(folder: Path, subject: str, run: str, rng: np.random.Generator) -> None:
    name, motion = (f"{subject}_ts.txt", f"{subject}_FD.txt")
    if run != "01":
        name, motion = f"{subject}_ts_run_{run}.tsv", f"{subject}_FD_run_{run}.txt"
    num_timepoints = 209 if run == "01" else 191
    table = pd.DataFrame(rng.normal(size=(num_timepoints, 5)), columns=["GlobSig", *NAMES])
    table.to_csv(folder / name, sep="\t", index=False)
    pd.DataFrame({"FramewiseDisplacement": [0.1, 0.3]}).to_csv(folder / motion, index=False)


def write_events(folder: Path, subject: str, run: str, condition: str, *, twice: bool = False) -> None:
    header = "onset\tduration\ttemperature\tratings\tregulate-up/down" + ("\tregulate-up/down" if twice else "")
    asked = ("n/a\t" if twice else "") + condition
    onset = FIRST_ONSET_S[run]
    lines = [header, f"{onset}\t12.5\t44.0\tn/a\t{asked}", f"{onset + 20}\t11\tn/a\t100\t{asked}"]
    lines += [f"{onset + 40}\t12.5\t46.0\tn/a\t{asked}", f"{onset + 60}\t11\tn/a\t50\t{asked}"]
    (folder / f"{subject}_task-{TASK}_run-{run}_events.tsv").write_text("\n".join(lines))


@pytest.fixture
def small_demo(tmp_path, rng) -> Path:
    folder = tmp_path / "resources"
    recordings = folder / "ex_timeseries_task"
    recordings.mkdir(parents=True)
    volume = np.zeros((6, 5, 4), dtype=np.float32)
    volume[0:2], volume[2:3], volume[3:4], volume[4:] = 1, 2, 3, 4
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1, 1, 1])), folder / "MIST122_relabeled.nii.gz")
    table = pd.DataFrame({"index": [9, 8, 7, 6], "labels": NAMES, "modules": ["V", "V", "M", "M"]}, index=range(1, 5))
    table.to_csv(folder / "MIST122_relabeled.tsv", sep="\t")
    for number, subject in enumerate(("sub-01", "sub-02", "sub-03")):
        for run, condition in (("01", "n/a"), ("03", ("up", "down")[number % 2]), ("07", ("down", "up")[number % 2])):
            write_events(recordings, subject, run, condition, twice=(subject, run) == ("sub-02", "07"))
            if (subject, run) != ("sub-03", "01"):
                write_recording(recordings, subject, run, rng)
    (recordings / "_extract_timeseries32.tsv").write_text("GlobSig\tR_a\n1\t2\n")
    return folder


def test_demo_becomes_a_store_with_conditions_motion_and_ratings(small_demo, tmp_path):
    summary = import_demo(tmp_path / "demo.store", path=small_demo)
    assert (summary.num_recordings, summary.num_subjects, summary.failures) == (8, 3, ())
    store = Store.open(summary.store, verify=True)
    metadata = store.metadata.set_index(["subject", "run"])
    assert metadata["condition"].tolist() == ["passive", "up", "down", "passive", "down", "up", "up", "down"]
    assert set(metadata["tr"]) == {2.0}
    np.testing.assert_allclose(metadata["mean_fd"], 0.2)
    assert set(metadata["mean_rating"]) == {75.0}
    assert set(metadata["mean_temperature"]) == {45.0}
    table = pd.read_csv(small_demo / "ex_timeseries_task" / "sub-02_ts_run_07.tsv", sep="\t")
    expected = table.iloc[:, 1:].to_numpy(np.float32)
    np.testing.assert_allclose(store.select(subject="sub-02", run="07").bold(0), expected, rtol=1e-6)


def test_demo_store_has_the_atlas_its_modules_and_its_image(small_demo, tmp_path):
    store = Store.open(import_demo(tmp_path / "demo.store", path=small_demo).store)
    assert store.parcels.labels.tolist() == [1, 2, 3, 4]
    assert store.parcels.networks == ["network"]
    assert store.parcels.coordinates[0].tolist() == [0.5, 2.0, 1.5]
    image = store.path / ATLAS_IMAGE
    assert image.read_bytes() == (small_demo / "MIST122_relabeled.nii.gz").read_bytes()
    assert "ds000140" in store.manifest.source["url"]
    assert "GPL-3.0" in store.manifest.source["terms"]


def test_demo_columns_in_another_order_fail_because_names_repeat(small_demo, tmp_path):
    path = small_demo / "ex_timeseries_task" / "sub-01_ts.txt"
    table = pd.read_csv(path, sep="\t")
    table[[table.columns[0], *table.columns[:0:-1]]].rename(columns={"b.1": "b"}).to_csv(path, sep="\t", index=False)
    summary = import_demo(tmp_path / "demo.store", path=small_demo)
    assert summary.num_recordings == 7
    assert "names repeat" in summary.failures[0].reason


def test_demo_events_that_contradict_the_repetition_time_end_the_import(small_demo, tmp_path):
    for path in (small_demo / "ex_timeseries_task").glob("sub-02*run-03_events.tsv"):
        path.write_text(path.read_text().replace("846.2", "800.0"))
    with pytest.raises(DataError, match="do not agree with a repetition time") as caught:
        import_demo(tmp_path / "demo.store", path=small_demo)
    assert "789.800 s for sub-02" in str(caught.value)


# Where the demo's files are -------------------------------------------------------------------------------------------


@pytest.fixture
def small_wheel(small_demo, tmp_path, monkeypatch) -> Path:
    """A wheel of the small demo, taken for the real one; the package is not installed."""
    wheel = tmp_path / "dist" / demo_files.WHEEL
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in small_demo.rglob("*"):
            archive.write(path, path.relative_to(small_demo.parent))
        archive.writestr("connattractor/__init__.py", "raise SystemExit('the package was imported')")
    monkeypatch.setattr(demo_files, "WHEEL_SHA256", demo_files.hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(demo_files, "_installed", lambda: None)
    return wheel


def test_wheel_is_downloaded_once_checked_and_only_its_data_unpacked(small_wheel, tmp_path, monkeypatch):
    commands = []

    def pip(command, **_options):
        commands.append(command)
        shutil.copy(small_wheel, command[-1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(demo_files.subprocess, "run", pip)
    folder = demo_folder(cache=tmp_path / "cache")
    assert demo_folder(cache=tmp_path / "cache") == folder
    assert len(commands) == 1
    assert commands[0][1:4] == ["-m", "pip", "download"]
    assert "--no-deps" in commands[0]
    assert (folder / demo_files.MARK).is_file()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]
    assert not list(folder.rglob("*.py"))


def test_wheel_or_folder_can_be_given(small_wheel, small_demo, tmp_path):
    assert demo_folder(small_demo) == small_demo
    assert demo_folder(small_demo.parent) == small_demo
    for given in (small_wheel, small_wheel.parent):
        folder = demo_folder(given, cache=tmp_path / given.name)
        assert (folder / demo_files.MARK).is_file()
    with pytest.raises(DataError, match="demo's data are not at"):
        demo_folder(tmp_path / "nowhere")


def test_another_wheel_than_expected_is_refused(small_wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_files, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(DataError, match="is not the file the demo was made with"):
        demo_folder(small_wheel, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.usefixtures("small_wheel")
def test_without_internet_the_message_says_what_to_download(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found")
    monkeypatch.setattr(demo_files.subprocess, "run", lambda *_args, **_options: failed)
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        demo_folder(cache=tmp_path / "cache")
    assert caught.value.found == "ERROR: No matching distribution found"
    assert "pip download --no-deps connattractor==0.1.0" in str(caught.value)


def test_real_demo_has_98_recordings_of_33_people(tmp_path):
    try:
        installed = importlib.metadata.distribution(demo_files.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("connattractor (the demo's data) is not installed")
    assert installed.version == demo_files.VERSION
    summary = import_demo(tmp_path / "demo.store")
    assert (summary.num_recordings, summary.num_subjects, summary.failures) == (98, 33, ())
    store = Store.open(summary.store)
    assert store.metadata["condition"].value_counts().to_dict() == {"up": 33, "down": 33, "passive": 32}
    assert store.num_parcels == 122
    assert store.parcels.table["network"].nunique() == 7


# ABIDE ----------------------------------------------------------------------------------------------------------------


def write_packed(folder: Path, rng: np.random.Generator) -> np.ndarray:
    folder.mkdir()
    signals = rng.normal(size=(90, 200)).astype(np.float16)
    signals[30:60, 7] = 2.5
    np.save(folder / "abide_cc200_f16.npy", signals)
    pd.DataFrame(
        {
            "participant_id": ["sub-0050001", "sub-0050002", "sub-0050003"],
            "file_id": ["NYU_0050001", "YALE_0050002", "USM_0050003"],
            "site": ["NYU", "YALE", "USM"],
            "tr": [2.0, 2.0, 1.5],
            "n_vols": 30,
            "offset": [0, 30, 60],
            "dx": ["asd", "control", "control"],
            "age": [12.5, 20, 30],
            "sex": "M",
            "fiq": ["n/a", 100, 110],
            "viq": "n/a",
            "piq": 101,
            "handedness": ["R", "-9999", "L"],
            "eye_status": [1, 2, 1],
            "ados_total": ["", 3, 4],
            "mean_fd": 0.1,
            "qc_pcp": True,
        }
    ).to_csv(folder / "participants.tsv", sep="\t", index=False)
    labels = np.arange(1, 201)
    parcels = {"label": labels, "nvox": 5, "x": labels - 100.0, "y": 0.0, "z": 1.0, "yeo7": labels % 8, "a424_best": 1}
    pd.DataFrame(parcels).to_csv(folder / "parcels.tsv", sep="\t", index=False)
    return signals


def test_packed_abide_becomes_a_store_with_held_out_sites(tmp_path, rng):
    signals = write_packed(tmp_path / "abide", rng)
    store = Store.open(import_abide(tmp_path / "a.store", packed=tmp_path / "abide").store, verify=True)
    metadata = store.metadata.set_index("site")
    assert metadata["subject"].tolist() == ["sub-0050001", "sub-0050002", "sub-0050003"]
    assert metadata.loc[["YALE", "USM"], "split"].tolist() == ["test", "test"]
    assert metadata["tr"].tolist() == [2.0, 2.0, 1.5]
    assert metadata["eye_status"].tolist() == ["open", "closed", "open"]
    assert metadata["handedness"].isna().tolist() == [False, True, False]
    assert metadata["fiq"].isna().tolist() == [True, False, False]
    assert "n_vols" not in metadata
    np.testing.assert_array_equal(store.bold(2), signals[60:].astype(np.float32))
    assert np.flatnonzero(np.isnan(store.bold(1)).all(axis=0)).tolist() == [7]
    assert store.parcels.networks == ["yeo7"]
    assert store.parcels.table["yeo7"].isna().sum() == 25
    assert store.parcels.table.loc[0, "yeo7"] == "Vis"
    assert store.manifest.split["held_out"] == {"site": ["YALE", "USM"]}


def test_abide_of_some_sites_has_their_people_only(tmp_path, rng):
    write_packed(tmp_path / "abide", rng)
    summary = import_abide(tmp_path / "a.store", packed=tmp_path / "abide", sites={"YALE"}, split=SplitRule())
    assert Store.open(summary.store).metadata["site"].tolist() == ["YALE"]


def test_packed_abide_that_does_not_fit_is_an_error(tmp_path, rng):
    folder = tmp_path / "abide"
    signals = write_packed(folder, rng)
    np.save(folder / "abide_cc200_f16.npy", signals[:-1])
    with pytest.raises(DataError, match=r"does not fit participants\.tsv") as caught:
        import_abide(tmp_path / "a.store", packed=folder)
    assert caught.value.found == "89 x 200"
    (folder / "parcels.tsv").unlink()
    with pytest.raises(DataError, match=r"no parcels\.tsv"):
        import_abide(tmp_path / "a.store", packed=folder)


def fetched_abide() -> dict:
    people = pd.DataFrame(
        {
            "SITE_ID": ["NYU", "YALE"],
            "SUB_ID": [50001, 50002],
            "FILE_ID": ["NYU_0050001", "Yale_0050002"],
            "DX_GROUP": [1, 2],
            "AGE_AT_SCAN": [12.5, 20.0],
            "SEX": [1, 2],
            "FIQ": [-9999.0, 110.0],
            "HANDEDNESS_CATEGORY": ["-9999", "R"],
            "EYE_STATUS_AT_SCAN": [1, 2],
            "func_mean_fd": [0.1, np.nan],
        }
    )
    rng = np.random.default_rng(0)
    return {"phenotypic": people, "rois_cc200": [rng.normal(size=(40, 200)), rng.normal(size=(50, 200))]}


def test_abide_fetched_by_nilearn_has_the_same_columns(tmp_path, monkeypatch):
    import nilearn.datasets

    asked = {}
    monkeypatch.setattr(nilearn.datasets, "fetch_abide_pcp", lambda **options: asked.update(options) or fetched_abide())
    rule = SplitRule(hold_out={"site": ["YALE"]})
    store = Store.open(import_abide(tmp_path / "a.store", split=rule).store)
    assert asked["derivatives"] == ["rois_cc200"]
    assert (asked["band_pass_filtering"], asked["global_signal_regression"]) == (False, False)
    metadata = store.metadata
    assert metadata["subject"].tolist() == ["sub-0050001", "sub-0050002"]
    assert metadata[["dx", "sex", "eye_status"]].values.tolist() == [["asd", "M", "open"], ["control", "F", "closed"]]
    assert metadata["fiq"].isna().tolist() == [True, False]
    assert metadata["num_timepoints"].tolist() == [40, 50]
    with pytest.raises(DataError, match="repetition time of some sites is unknown"):
        import_abide(tmp_path / "b.store", tr_s={"NYU": 2.0})


def test_abide_without_internet_says_what_to_do(tmp_path, monkeypatch):
    import nilearn.datasets

    def offline(**_kwargs):
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr(nilearn.datasets, "fetch_abide_pcp", offline)
    with pytest.raises(DataError, match="nilearn could not fetch ABIDE"):
        import_abide(tmp_path / "a.store")


@pytest.mark.slow
def test_real_packed_abide_has_908_people(shared, tmp_path):
    summary = import_abide(tmp_path / "a.store", packed=shared / "data" / "abide")
    assert (summary.num_recordings, summary.num_subjects, summary.failures) == (908, 908, ())
    metadata = Store.open(summary.store).metadata
    assert set(metadata.loc[metadata["site"].isin(["YALE", "USM"]), "split"]) == {"test"}
    table = pd.read_csv(shared / "data" / "abide" / "participants.tsv", sep="\t").set_index("participant_id")
    np.testing.assert_array_equal(metadata["age"], table.loc[metadata["subject"], "age"])
    others = metadata[~metadata["site"].isin(["YALE", "USM"])]
    assert 0.12 < (others["split"] == "test").mean() < 0.18
