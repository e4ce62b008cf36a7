"""The parts of an array of jobs become the store that one job would have written, or an error that names the part."""

from dataclasses import replace

import pytest
from derivatives import small_atlas, truncated, write_fmriprep_tree

from brainlm.data.merging import merge_parts
from brainlm.data.parcellating import parcellate_scans, partial_folder
from brainlm.data.partial import Part, Partial
from brainlm.data.processing import ParcellationSettings
from brainlm.data.scans import find_scans
from brainlm.data.splits import SplitRule
from brainlm.errors import BrainLMError, ConfigError, DataError, Failure

RULE = SplitRule(validation=0.25, test=0.25, stratify="site")
FAILING = "sub-02_task-rest_run-1"


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return small_atlas(tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="module")
def found(tmp_path_factory, atlas):
    """Eight runs of four people, one of them cut off, and something that was not even a scan."""
    folder = tmp_path_factory.mktemp("study")
    tree = write_fmriprep_tree(folder, atlas, subjects=("01", "02", "03", "04"), runs=("1", "2"), coverage={3: 0.6})
    truncated(next(tree.root.rglob(f"{FAILING}_*preproc_bold.nii.gz")))
    found = find_scans([tree.root])
    return replace(found, failures=(Failure("a", "a folder that cannot be looked into", "chmod"),))


@pytest.fixture(scope="module")
def expected(found, atlas, tmp_path_factory):
    """The files of the store that one uninterrupted process writes."""
    out = tmp_path_factory.mktemp("expected") / "study.store"
    parcellate_scans(found, out, atlas=atlas, split=RULE)
    return files(out)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "a.store"


@pytest.fixture
def do_part(found, atlas, out):
    """``do_part("2/3")``: do a part of ``a.store``; the path of its ledger."""

    def do(text, found=found, out=out, **options):
        options = {"split": RULE} | options
        return parcellate_scans(found, out, atlas=atlas, part=Part.parse(text), **options).store

    return do


@pytest.fixture
def refused(out):
    """``refused(parts)``: what merging says, when it must refuse."""

    def merge(parts) -> str:
        with pytest.raises(DataError) as caught:
            merge_parts(parts, out)
        assert not out.exists()
        return str(caught.value)

    return merge


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("of", [2, 3, 8, 11])
def test_parts_become_the_store_that_one_process_writes(do_part, expected, out, tmp_path, of):
    """With 8 parts all scans of one fail; with 11 some have no scans at all."""
    parts = [do_part(f"{number}/{of}") for number in range(of, 0, -1)]
    assert not out.exists()
    summary = merge_parts([partial_folder(out)], out)
    assert files(out) == expected
    assert (summary.num_recordings, summary.num_subjects, len(summary.failures)) == (7, 4, 2)
    merge_parts(parts, tmp_path / "b.store")  # what was merged has stayed, and the order does not matter
    assert files(tmp_path / "b.store") == expected


def test_a_part_takes_every_so_manyth_scan(do_part, found):
    with Partial(do_part("2/3"), writable=False) as part:
        assert list(part.outcomes) == [found.scans[position].recording_name for position in (1, 4, 7)]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ConfigError, match=r"no part of a whole(.|\n)*the first is 1/20"):
        Part.parse(text)


def test_an_interrupted_part_goes_on(do_part, expected, out):
    def interrupt(done, *_):
        if done == 2:
            raise KeyboardInterrupt

    for number in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            do_part(f"{number}/2", progress=interrupt)
        do_part(f"{number}/2")
    merge_parts([partial_folder(out)], out)
    assert files(out) == expected


def test_missing_parts_are_named(do_part, refused, out):
    do_part("2/4")
    assert "3 of 4 parts are missing\n  expected: the parts 1/4 to 4/4\n  found:    no 1/4, 3/4, 4/4" in refused(
        [partial_folder(out)]
    )


def test_parts_that_are_there_twice_are_named(do_part, refused, out, tmp_path):
    do_part("1/2"), do_part("2/2")
    do_part("2/2", out=tmp_path / "other.store")
    said = refused([partial_folder(out), partial_folder(tmp_path / "other.store")])
    assert "parts overlap" in said
    assert f"2/2 in {out}.partial/part-2-of-2.ledger and {tmp_path}/other.store.partial/part-2-of-2.ledger" in said


def test_the_same_file_given_twice_is_one(do_part, expected, out):
    parts = [do_part("1/2"), do_part("2/2")]
    merge_parts([*parts, partial_folder(out), parts[0]], out)
    assert files(out) == expected


def test_unfinished_parts_are_named(do_part, refused, out):
    def interrupt(done, *_):
        if done == 1:
            raise KeyboardInterrupt

    do_part("1/2")
    with pytest.raises(KeyboardInterrupt):
        do_part("2/2", progress=interrupt)
    said = refused([partial_folder(out)])
    assert "1 parts are not finished" in said
    assert "2/2 (3 of 4 scans are missing)" in said


def test_parts_of_other_settings_are_named(do_part, refused, out):
    do_part("1/2")
    do_part("2/2", settings=ParcellationSettings(max_fd=2.0))
    said = refused([partial_folder(out)])
    assert "made with different settings" in said
    assert "settings.max_fd: 0.0 in" in said
    assert "2.0 in" in said
    assert "part-2-of-2.ledger" in said


def test_parts_of_other_options_are_named(do_part, refused, out):
    do_part("1/2")
    do_part("2/2", split=None, dtype="float16")
    said = refused([partial_folder(out)])
    assert "part-1-of-2.ledger: --split, --dtype" in said
    do_part("2/2")  # nothing is done again for that
    merge_parts([partial_folder(out)], out)


def test_parts_of_another_division_do_not_mix(do_part, refused, out, tmp_path):
    do_part("1/2")
    with pytest.raises(DataError, match=r"parts of another division(.|\n)*part-1-of-2.ledger"):
        do_part("2/3")
    with pytest.raises(DataError, match=r"parts of another division(.|\n)*brainlm merge"):
        do_part(None)
    do_part("2/3", out=tmp_path / "b.store")
    assert "part: one of 2 in" in refused([partial_folder(out), partial_folder(tmp_path / "b.store")])


def test_parts_of_other_scans_are_named(do_part, found, refused, out):
    do_part("1/2")
    do_part("2/2", found=replace(found, scans=found.scans[1:]))
    said = refused([partial_folder(out)])
    assert "did not find the same scans" in said
    assert "8 in" in said
    assert "7 in" in said


def test_a_part_that_is_at_work_is_waited_for(do_part, refused, out):
    do_part("2/2")
    said = []

    def look(*_):
        if not said:
            said.append(refused([partial_folder(out)]))

    do_part("1/2", progress=look)
    assert "part-1-of-2.ledger is in use" in said[0]


def test_a_damaged_part_is_done_again(do_part, expected, out, refused):
    do_part("1/2")
    part = do_part("2/2")
    content = bytearray(part.read_bytes())
    content[-200] ^= 1
    part.write_bytes(content)
    assert "2/2 (1 of 4 scans are missing)" in refused([partial_folder(out)])
    do_part("2/2")
    merge_parts([partial_folder(out)], out)
    assert files(out) == expected


def test_what_is_no_part_is_explained(refused, found, atlas, tmp_path):
    (tmp_path / "empty").mkdir()
    parcellate_scans(found, tmp_path / "whole.store", atlas=atlas)
    assert "nothing there" in refused([tmp_path / "nowhere"])
    assert "a folder without" in refused([tmp_path / "empty"])
    assert "a finished store\n  remedy:   it needs no merging" in refused([tmp_path / "whole.store"])
    assert "no parts were given" in refused([])
    (tmp_path / "x.ledger").write_text("something else")
    assert "not written by this program" in refused([tmp_path / "x.ledger"])


def test_a_store_that_is_there_is_not_replaced_unasked(do_part, expected, out):
    do_part("1/2"), do_part("2/2")
    for _ in range(2):
        merge_parts([partial_folder(out)], out, overwrite=True)
    with pytest.raises(BrainLMError, match="exists already"):
        merge_parts([partial_folder(out)], out)
    assert files(out) == expected
