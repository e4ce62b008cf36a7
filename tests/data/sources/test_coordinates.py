"""The authors' coordinates as a parcels table, from Arrow and from text."""

import shutil

import numpy as np
import pytest

from brainlm.data.sources.coordinates import holds_coordinates, read_coordinates
from brainlm.errors import AtlasError


def test_a_data_set_of_coordinates_is_a_parcels_table(authors, shard_of):
    folder = authors / "Brain_Region_Coordinates"
    for path in (folder, shard_of(folder)):
        assert holds_coordinates(path)
        parcels = read_coordinates(path)
        assert parcels.labels.tolist() == list(range(1, 13))
        assert parcels.coordinates[1].tolist() == np.float32([2.1, -2, 4]).tolist()
        assert "2.1\t" in parcels.to_tsv()  # not 2.0999999


def test_text_and_arrow_give_the_same_table(tmp_path, save):
    text = tmp_path / "coordinates.dat"
    text.write_text("1\t14.5\t-78\t4\r\n2\t44\t-64.25\t4\r\n")
    with_header = tmp_path / "coordinates.txt"
    with_header.write_text("Index X Y Z\n1 14.5 -78 4\n2 44 -64.25 4\n")
    columns = {"Index": [1, 2], "X": [14.5, 44.0], "Y": [-78.0, -64.25], "Z": [4.0, 4.0]}
    tables = [read_coordinates(path) for path in (text, with_header, save(columns, tmp_path / "arrow"))]
    assert all(holds_coordinates(path) for path in (text, with_header, tmp_path / "arrow"))
    assert len({table.fingerprint for table in tables}) == 1


def test_the_coordinates_of_a424_are_424_parcels(shared):
    parcels = read_coordinates(shared / "atlas" / "A424_Coordinates.txt")
    assert len(parcels) == 424
    assert parcels.coordinates[0].tolist() == [14, -78, 4]


def test_other_tables_are_not_taken_for_coordinates(tmp_path):
    for name, content in (("parcels.txt", "label\tname\n1\ta\n"), ("parcels.tsv", "1 2 3 4\n"), ("empty.dat", "")):
        (tmp_path / name).write_text(content)
        assert not holds_coordinates(tmp_path / name)
    assert not holds_coordinates(tmp_path)
    assert not holds_coordinates(tmp_path / "nowhere.dat")


def test_a_store_is_not_taken_for_coordinates(authors, tmp_path, run_import):
    assert not holds_coordinates(run_import(authors / "val_ukbiobank1000", tmp_path / "a.store").store)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"Index": [1.5, 2.0]}, "not whole"),
        ({"X": [None, 1.0]}, "not known"),
        ({"Index": [2, 2]}, "repeated"),
        ({"Z": [[1.0], [1.0]]}, "other columns"),
    ],
)
def test_what_are_no_coordinates_is_an_error(tmp_path, save, change, found):
    columns = {"Index": [1, 2], "X": [1.0, 2.0], "Y": [1.0, 2.0], "Z": [1.0, 2.0], **change}
    with pytest.raises(AtlasError) as caught:
        read_coordinates(save(columns, tmp_path / "in"))
    assert found in str(caught.value)


def test_recordings_and_damaged_files_are_no_coordinates(authors, tmp_path, shard_of):
    with pytest.raises(AtlasError, match="does not hold coordinates"):
        read_coordinates(authors / "train_ukbiobank1000")
    folder = shutil.copytree(authors / "Brain_Region_Coordinates", tmp_path / "cut")
    shard = shard_of(folder)
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(AtlasError, match="does not hold coordinates"):
        read_coordinates(folder)
    text = tmp_path / "bad.dat"
    text.write_text("1 2 3 4\n2 x 3 4\n")
    with pytest.raises(AtlasError, match="does not hold coordinates"):
        read_coordinates(text)
