"""``brainlm parcellate`` and ``brainlm merge``, as a user types them."""

import re
from pathlib import Path

import numpy as np
import pytest
from derivatives import (
    small_atlas,
    truncated,
    write_fmriprep_tree,
    write_hcp_tree,
    write_plain_tree,
    write_ukb_tree,
    write_xcpd_tree,
)

from brainlm.cli import scan_verbs
from brainlm.data.atlas import Atlas
from brainlm.data.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of four people, two tasks each, and an atlas."""
    folder = tmp_path_factory.mktemp("study")
    atlas = small_atlas(folder / "atlas")
    write_fmriprep_tree(folder / "good", atlas, subjects=("01", "02", "03", "04"), tasks=("rest", "motor"))
    tree = write_fmriprep_tree(folder / "bad", atlas, subjects=("01", "02"))
    truncated(next(tree.root.rglob("sub-02*_desc-preproc_bold.nii.gz")))
    return folder


@pytest.fixture
def typed(folder, speak, tmp_path, monkeypatch):
    """``typed("good", "--task", "rest")``: parcellate a study into ``a.store``."""
    monkeypatch.chdir(tmp_path)
    return lambda study, *words: speak(
        "parcellate", folder / study, "a.store", "--atlas", folder / "atlas" / "small.nii.gz", *words
    )


def commands(spoken):
    return [line.removeprefix("next:").strip() for line in spoken.out.splitlines() if "brainlm " in line]


def test_a_folder_of_derivatives_becomes_a_store_with_one_command(typed):
    spoken = typed("good")
    assert spoken.status == 0, spoken.out + spoken.err
    assert "8 recordings of 4 subjects in a.store (" in spoken.out
    assert commands(spoken)[0] == "brainlm inspect a.store"
    store = Store.open("a.store")
    assert len(store) == 8
    assert store.quality_columns


def test_what_failed_is_listed_with_reason_and_remedy_and_exit_1(typed):
    spoken = typed("bad")
    assert spoken.status == 1
    assert "1 recordings of 1 subjects" in spoken.out
    assert re.search(r"1 left out:\n  \S*sub-02\S+_bold.nii.gz: ends before what its header promises", spoken.out)
    assert "remedy: copy it again" in spoken.out


def test_a_dry_run_lists_what_would_be_read_and_writes_nothing(typed):
    spoken = typed("good", "--dry_run", "--task", "rest")
    assert spoken.status == 0
    assert "would read 4 scans, layout bids" in spoken.out
    name = "sub-03/func/sub-03_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    what = "TR 2 s, space MNI152NLin6Asym, a mask, a table of confounds"
    assert f"sub-03_task-rest: {name} ({what})" in spoken.out
    assert "4 recordings of 4 subjects; phenotypes: age, sex" in spoken.out
    assert not list(Path().iterdir())


def test_a_dry_run_of_a_part_lists_its_share(typed):
    spoken = typed("good", "--dry_run", "--part", "2/3")
    assert "would read 3 scans (part 2/3)" in spoken.out
    assert re.findall(r"sub-\d+_task-\w+(?=:)", spoken.out) == [
        "sub-01_task-rest",
        "sub-03_task-motor",
        "sub-04_task-rest",
    ]


def test_entities_cleaning_rules_and_splits_are_options(typed):
    spoken = typed(
        "good", "--subject", "01", "--subject", "02", "--task", "rest", "--confounds", "motion6", "--scrub", "0.5",
        "--detrend", "--low_hz", "0.01", "--high_hz", "0.1", "--target_tr", "1", "--min_volumes", "10",
        "--min_parcel_coverage", "0.6", "--split.test", "0", "--split.validation", "0", "--dtype", "float16",
    )  # fmt: skip
    assert spoken.status == 0, spoken.out + spoken.err
    store = Store.open("a.store")
    assert store.metadata["subject"].tolist() == ["sub-01", "sub-02"]
    assert store.metadata["tr"].tolist() == [1.0, 1.0]
    assert (store.metadata["split"] == "train").all()
    for words in ("confounds motion6", "0.5 mm", "band-pass at 0.01 to 0.1 Hz", "repetition time of 1 s"):
        assert words in store.manifest.source["cleaning"]


def test_what_a_rule_leaves_out_is_said_with_its_number_and_has_not_failed(typed):
    spoken = typed("good", "--max_fd", "0.06")
    assert spoken.status == 0
    assert "4 left out:" in spoken.out
    assert "mean framewise displacement" in spoken.out
    assert "above 0.06 mm (--max_fd)" in spoken.out


def test_the_same_command_goes_on_after_an_interruption(typed, monkeypatch):
    parcellate_scans = scan_verbs.parcellate_scans

    def interrupted(*arguments, progress, **options):
        def look(done, *others):
            progress(done, *others)
            if done == 3:
                raise KeyboardInterrupt

        return parcellate_scans(*arguments, progress=look, **options)

    with monkeypatch.context() as within:
        within.setattr(scan_verbs, "parcellate_scans", interrupted)
        spoken = typed("good")
    assert spoken.status == 130
    assert "3 of 8 scans are finished and kept in a.store.partial; the same command goes on" in spoken.err
    spoken = typed("good")
    assert spoken.status == 0
    assert "note: 3 scans were finished in an earlier attempt, and not done again" in spoken.out


def test_parts_are_merged_and_each_says_how(typed, speak):
    for number in (1, 2):
        spoken = typed("good", "--part", f"{number}/2")
        assert spoken.status == 0
        assert f"part {number}/2: 4 recordings of" in spoken.out
        assert "when all 2 parts are done" in spoken.out
    command = commands(spoken)[-1]
    assert command == "brainlm merge a.store.partial --out a.store"
    merged = speak(*command.split()[1:])
    assert merged.status == 0, merged.out + merged.err
    assert "8 recordings of 4 subjects in a.store" in merged.out
    assert "the parts are not needed any more" in merged.out
    files = [f"a.store.partial/part-{number}-of-2.ledger" for number in (1, 2)]
    assert speak("merge", *files, "--out", "b.store").status == 0
    assert (Path("a.store") / "manifest.json").read_bytes() == (Path("b.store") / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--part", "0/3"], "the first is 1/20"),
        (["--jobs", "0"], "--jobs"),
        (["--low_hz", "0.2", "--high_hz", "0.1"], "low_hz below high_hz"),
        (["--task", "reast"], "no scan is left by the selection"),
        (["--taks", "rest"], "did you mean --task"),
        (["--confounds", "motion12"], "motion24"),
        (["--min_coverage", "2"], "min_coverage is not usable"),
    ],
)
def test_wrong_usage_says_what_is_right(typed, words, message):
    spoken = typed("good", *words)
    assert spoken.status == 2
    assert message in spoken.err
    assert not list(Path().iterdir())


def test_what_is_missing_is_said(speak, folder, tmp_path):
    spoken = speak("parcellate", folder / "good", tmp_path / "a.store")
    assert spoken.status == 2
    assert "--atlas A424" in spoken.err
    spoken = speak("merge", tmp_path)
    assert spoken.status == 2
    assert "--out STORE" in spoken.err
    spoken = speak("parcellate", tmp_path / "nowhere", tmp_path / "a.store", "--atlas", folder / "atlas")
    assert spoken.status == 2
    assert f"no input at {tmp_path}/nowhere" in spoken.err


def test_a_store_that_is_there_is_replaced_only_when_asked(typed):
    assert typed("good").status == 0
    spoken = typed("good")
    assert spoken.status == 2
    assert "a.store exists already" in spoken.err
    assert "--overwrite" in spoken.err
    assert typed("good", "--overwrite").status == 0


def test_without_a_terminal_progress_is_a_line_now_and_then(typed, monkeypatch):
    monkeypatch.setattr("brainlm.cli.console.LINE_EVERY_S", 0.01)
    spoken = typed("good")
    assert re.search(r"^scans: \d of 8, .* \(\S+ scans/s, 0 failed\)$", spoken.out, re.MULTILINE)


TREES = {
    "fmriprep": write_fmriprep_tree,
    "xcpd": write_xcpd_tree,
    "hcp": write_hcp_tree,
    "ukb": write_ukb_tree,
    "plain": write_plain_tree,
}


@pytest.mark.parametrize("kind", TREES)
def test_each_kind_of_tree_goes_in_with_one_command(folder, speak, tmp_path, kind):
    atlas = Atlas.load(folder / "atlas" / "small.nii.gz")
    tree = TREES[kind](tmp_path / kind, atlas)
    out = tmp_path / "a.store"
    spoken = speak("parcellate", tree.root, out, "--atlas", folder / "atlas" / "small.nii.gz")
    assert spoken.status == 0, spoken.out + spoken.err
    store = Store.open(out)
    assert {recording.name for recording in store} == set(tree.truth)
    for recording in store:
        np.testing.assert_allclose(recording.bold, tree.truth[recording.name].bold, rtol=1e-4)
        assert recording.tr == pytest.approx(tree.truth[recording.name].tr)
