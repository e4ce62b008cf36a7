"""fMRIPrep's and XCP-D's derivatives: which image of a run is read, and what belongs to it."""

from pathlib import Path

import pytest
from name_trees import FMRIPREP, XCPD, fmriprep, sidecar, touch

from brainlm.data.scans import find_scans
from brainlm.errors import DataError

PREPROC = "sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"


def only(root: Path, **options: object):
    found = find_scans([root], **options)
    assert not found.failures
    assert len(found.scans) == 1
    return found.scans[0]


@pytest.mark.parametrize(
    "names",
    [  # the first is read
        ("space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", "space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"),
        ("space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", "space-fsLR_den-91k_bold.dtseries.nii"),
        ("space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", "space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz"),
        ("space-MNI152NLin6Asym_desc-denoised_bold.nii.gz", "space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"),
        ("space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz", "space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"),
        (
            "space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz",
            "space-MNI152NLin6Asym_res-1_desc-preproc_bold.nii.gz",
        ),
        (
            "space-MNI152NLin6Asym_res-1_desc-preproc_bold.nii.gz",
            "space-MNI152NLin6Asym_res-3_desc-preproc_bold.nii.gz",
        ),
        ("space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz", "space-T1w_desc-preproc_bold.nii.gz"),
        ("space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz", "desc-preproc_bold.nii.gz"),
        ("space-fsLR_den-91k_bold.dtseries.nii", "space-fsLR_den-170k_bold.dtseries.nii"),
        ("space-fsLR_den-91k_bold.dtseries.nii", "space-T1w_desc-preproc_bold.nii.gz"),
        ("desc-denoised_bold.dtseries.nii", "atlas-A424_timeseries.tsv"),
        ("atlas-A424_stat-mean_timeseries.ptseries.nii", "atlas-A424_stat-mean_timeseries.tsv"),
    ],
)
def test_of_several_images_of_a_run_one_is_read_by_a_fixed_order(tmp_path, names):
    root = fmriprep(tmp_path / "d", [f"sub-01_task-rest_{name}" for name in names])
    found = find_scans([root], tr=2.0)
    assert [Path(scan.path).name for scan in found.scans] == [f"sub-01_task-rest_{names[0]}"]
    assert found.failures == ()
    assert any("1 other images of the same runs were not chosen" in note for note in found.notes)


@pytest.mark.parametrize(
    ("entities", "chosen"),
    [
        ({"space": ["MNI152NLin2009cAsym"]}, "space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.nii.gz"),
        ({"space": ["fsLR"]}, "space-fsLR_den-91k_bold.dtseries.nii"),
        ({"space": ["T1w"]}, "space-T1w_desc-preproc_bold.nii.gz"),
        ({"desc": ["smoothAROMAnonaggr"]}, "space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz"),
        ({"resolution": ["1"]}, "space-MNI152NLin2009cAsym_res-1_desc-preproc_bold.nii.gz"),
    ],
)
def test_a_selection_comes_before_the_order(tmp_path, entities, chosen):
    names = (
        "space-MNI152NLin6Asym_desc-preproc_bold.nii.gz",
        "space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz",
        "space-MNI152NLin2009cAsym_res-1_desc-preproc_bold.nii.gz",
        "space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.nii.gz",
        "space-T1w_desc-preproc_bold.nii.gz",
        "space-fsLR_den-91k_bold.dtseries.nii",
    )
    root = fmriprep(tmp_path / "d", [f"sub-01_task-rest_{name}" for name in names])
    scan = only(root, entities=entities)
    assert Path(scan.path).name == f"sub-01_task-rest_{chosen}"
    assert scan.kind == ("cifti" if "dtseries" in chosen else "nifti")


def test_masks_and_confounds_are_those_of_the_run_and_of_its_space(tmp_path):
    stems = ["sub-01_task-rest_run-01", "sub-01_task-rest_run-02"]
    endings = [
        "space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz",
        "space-MNI152NLin6Asym_res-2_desc-brain_mask.nii.gz",
        "space-T1w_desc-brain_mask.nii.gz",
        "space-MNI152NLin6Asym_res-2_desc-aparcaseg_dseg.nii.gz",
        "desc-brain_mask.nii.gz",
        "desc-confounds_timeseries.tsv",
        "desc-confounds_timeseries.json",
    ]
    root = fmriprep(tmp_path / "d", [f"{stem}_{ending}" for stem in stems for ending in endings])
    for stem, scan in zip(stems, find_scans([root], tr=2.0).scans, strict=True):
        func = root / "sub-01" / "func"
        assert scan.recording_name == stem
        assert scan.mask == str(func / f"{stem}_space-MNI152NLin6Asym_res-2_desc-brain_mask.nii.gz")
        assert scan.confounds == str(func / f"{stem}_desc-confounds_timeseries.tsv")
        assert scan.space == "MNI152NLin6Asym"
        assert scan.name == f"sub-01/func/{stem}_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz"


def test_confounds_of_old_versions_are_found_and_missing_ones_are_counted(tmp_path):
    names = [PREPROC, "sub-01_task-rest_desc-confounds_regressors.tsv", PREPROC.replace("sub-01", "sub-02")]
    found = find_scans([fmriprep(tmp_path / "d", names)], tr=2.0)
    assert [bool(scan.confounds) for scan in found.scans] == [True, False]
    assert any("1 scans have no confounds" in note and "sub-02_task-rest" in note for note in found.notes)


def test_single_echoes_phases_and_maps_are_not_read(tmp_path):
    names = [
        PREPROC,
        "sub-01_task-rest_echo-1_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz",
        "sub-01_task-rest_part-phase_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz",
        "sub-01_task-rest_space-MNI152NLin6Asym_stat-alff_bold.nii.gz",
        "sub-01_task-rest_space-MNI152NLin6Asym_boldref.nii.gz",
        "sub-01_task-rest_atlas-A424_stat-coverage_timeseries.tsv",
    ]
    assert Path(only(fmriprep(tmp_path / "d", names), tr=2.0).path).name == PREPROC


@pytest.mark.parametrize("layout", ["bids", "plain"])
def test_runs_of_which_there_are_single_echoes_alone_are_named(tmp_path, layout):
    ending = "space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    names = [PREPROC, *(f"sub-02_task-rest_echo-{echo}_{ending}" for echo in (1, 2))]
    found = find_scans([fmriprep(tmp_path / "d", names)], layout=layout, tr=2.0)
    assert [scan.subject for scan in found.scans] == ["sub-01"]
    (failure,) = found.failures
    assert "sub-02_task-rest_echo-1" in failure.source
    assert "a single echo (echo-1), a single echo (echo-2)" in failure.reason
    assert "combine the echoes" in failure.remedy


def test_a_pointer_of_git_annex_is_named(tmp_path):
    dataset = fmriprep(tmp_path / "d", [PREPROC, PREPROC.replace("sub-01", "sub-02")])
    (path,) = dataset.rglob(f"{PREPROC}")
    path.write_text("/annex/objects/MD5E-s100--0123.nii.gz\n")
    found = find_scans([dataset], tr=2.0)
    (failure,) = found.failures
    assert "git-annex" in failure.reason
    assert "datalad get" in failure.remedy


def test_acquisitions_and_directions_are_runs_of_their_own(tmp_path):
    ending = "space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    stems = ["task-rest_acq-645", "task-rest_acq-1400", "task-rest_dir-AP_run-1", "task-rest_dir-PA_run-1"]
    found = find_scans([fmriprep(tmp_path / "d", [f"sub-01_{stem}_{ending}" for stem in stems])])
    assert [scan.run for scan in found.scans] == ["acq1400", "acq645", "dirAP1", "dirPA1"]
    assert (
        find_scans([tmp_path / "d"], entities={"dir": ["PA"]}).scans[0].recording_name == "sub-01_task-rest_run-dirPA1"
    )


def test_run_01_and_run_1_stay_apart(tmp_path):
    names = [f"sub-01_task-rest_run-{run}_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz" for run in ("01", "1")]
    assert [scan.run for scan in find_scans([fmriprep(tmp_path / "d", names)]).scans] == ["01", "1"]


def test_two_files_for_one_run_that_no_rule_tells_apart_are_not_read(tmp_path):
    names = [f"sub-01_task-rest_rec-{rec}_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz" for rec in ("a", "b")]
    root = fmriprep(tmp_path / "d", [*names, PREPROC.replace("sub-01", "sub-02")])
    found = find_scans([root])
    assert [scan.subject for scan in found.scans] == ["sub-02"]
    (failure,) = found.failures
    assert all(name in failure.reason for name in names)
    assert failure.remedy == "select one with --rec"
    assert len(find_scans([root], entities={"rec": ["b"]}).scans) == 1


def test_runs_without_an_image_in_a_standard_space_are_failures(tmp_path):
    names = ["sub-01_task-rest_space-T1w_desc-preproc_bold.nii.gz", "sub-01_task-rest_desc-preproc_bold.nii.gz"]
    (failure,) = find_scans([fmriprep(tmp_path / "d", names)]).failures
    assert "sub-01_task-rest has only images in T1w, the scanner's space" in failure.reason
    assert "MNI152NLin6Asym" in failure.remedy


def test_a_file_in_anothers_folder_is_never_read(tmp_path):
    root = fmriprep(tmp_path / "d", [PREPROC])
    touch(
        root, f"sub-02/func/{PREPROC}", "sub-03/ses-1/func/sub-03_ses-2_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    )
    found = find_scans([root])
    assert [scan.name for scan in found.scans] == [f"sub-01/func/{PREPROC}"]
    assert len(found.failures) == 2
    assert all("holds a file of another's" in failure.reason for failure in found.failures)


@pytest.mark.parametrize("folder", ["fmriprep-23.2.1", "odd [1] folder", "ünï cödé", "sub-project/derivatives"])
def test_odd_names_of_folders_do_no_harm(tmp_path, folder):
    root = fmriprep(tmp_path / folder, [PREPROC])
    scan = only(root)
    assert scan.recording_name == "sub-01_task-rest"
    assert scan.name == f"sub-01/func/{PREPROC}"


def test_a_subject_a_session_or_a_file_of_a_data_set_can_be_given_alone(tmp_path):
    names = [f"sub-01_ses-{ses}_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz" for ses in "12"]
    confounds = "sub-01_ses-1_task-rest_desc-confounds_timeseries.tsv"
    root = fmriprep(tmp_path / "d", [*names, confounds])
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    assert len(find_scans([root / "sub-01"]).scans) == 2
    folder = root / "sub-01" / "ses-1"
    for given, name in ((folder, f"func/{names[0]}"), (folder / "func" / names[0], f"{folder}/func/{names[0]}")):
        scan = only(given)
        assert scan.name == name
        assert scan.confounds.endswith(confounds)
        assert scan.phenotypes == {"age": 30.0}


def test_derivatives_are_found_in_the_raw_data_set_that_was_given(tmp_path):
    sidecar(tmp_path / "dataset_description.json", Name="raw", DatasetType="raw")
    touch(tmp_path, "sub-01/func/sub-01_task-rest_bold.nii.gz")
    with pytest.raises(DataError, match="is a raw data set") as caught:
        find_scans([tmp_path])
    assert "fMRIPrep" in str(caught.value.remedy)
    root = fmriprep(tmp_path / "derivatives" / "fmriprep", [PREPROC])
    found = find_scans([tmp_path])
    assert [scan.name for scan in found.scans] == [f"sub-01/func/{PREPROC}"]
    assert f"its derivatives in {root} were read" in found.notes[0]
    fmriprep(tmp_path / "derivatives" / "xcp_d", [PREPROC], description=XCPD)
    with pytest.raises(DataError, match="fmriprep, xcp_d"):
        find_scans([tmp_path])


def test_a_description_that_says_little_does_not_make_derivatives_raw(tmp_path):
    assert only(fmriprep(tmp_path / "d", [PREPROC], description={"Name": "mine"})).subject == "sub-01"


def test_a_damaged_description_is_an_error_with_its_path(tmp_path):
    (fmriprep(tmp_path / "d", [PREPROC]) / "dataset_description.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset_description\.json cannot be read"):
        find_scans([tmp_path / "d"])


# XCP-D ----------------------------------------------------------------------------------------------------------------


def xcpd(root: Path, *names: str) -> Path:
    return fmriprep(root, [f"sub-01_task-rest_{name}" for name in names], description=XCPD)


def test_tables_of_the_atlas_asked_for_are_read_where_there_is_no_image(tmp_path):
    tables = [f"space-MNI152NLin6Asym_seg-{name}_stat-mean_timeseries.tsv" for name in ("4S156Parcels", "A424")]
    root = xcpd(tmp_path / "d", *tables, "motion.tsv", "space-MNI152NLin6Asym_seg-A424_stat-coverage_bold.tsv")
    scan = only(root, atlas="a424", tr=2.0)
    assert Path(scan.path).name == f"sub-01_task-rest_{tables[1]}"
    assert (scan.kind, scan.motion_kind, Path(scan.motion).name) == ("table", "xcpd", "sub-01_task-rest_motion.tsv")
    assert Path(only(root, entities={"seg": ["4S156Parcels"]}, atlas="A424", tr=2.0).path).name.endswith(tables[0])
    (undecided,) = find_scans([root], tr=2.0).failures
    assert undecided.remedy == "select one with --atlas"
    (other,) = find_scans([root], tr=2.0, atlas="MIST-122").failures
    assert "only tables of 4S156Parcels, A424, not of MIST-122" in other.reason


def test_tables_need_a_repetition_time(tmp_path):
    root = xcpd(tmp_path / "d", "atlas-A424_timeseries.tsv")
    (failure,) = find_scans([root]).failures
    assert "repetition time is unknown" in failure.reason
    sidecar(root / "sub-01" / "func" / "sub-01_task-rest_atlas-A424_timeseries.json", RepetitionTime=0.8)
    assert only(root).tr_s == 0.8


def test_runs_put_end_to_end_are_passed_over(tmp_path):
    image = "space-MNI152NLin6Asym_desc-denoised_bold.nii.gz"
    root = xcpd(tmp_path / "d", f"run-1_{image}", f"run-2_{image}", image)
    found = find_scans([root])
    assert [scan.run for scan in found.scans] == ["1", "2"]
    assert any("put end to end" in note for note in found.notes)
    assert found.layout == "xcpd"
    fmriprep(tmp_path / "d", [], description=FMRIPREP)
    assert len(find_scans([root]).scans) == 3
