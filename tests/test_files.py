"""Small files: what is damaged is an error with a path and a remedy, what is a cache is computed again."""

import csv
import io
import json
import logging
import zipfile

import numpy as np
import pandas as pd
import pytest

from brainlm import files
from brainlm.errors import CheckpointError, DataError

ABOUT = {"what": "the thing", "remedy": "make it again"}


def flipped(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x20
    path.write_bytes(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xc1\xc2", b"[]", b"3", b"[" * 200_000, b'{"a": 1', b'{"b": 2}', b'{"a": "one"}', b"null"],
    ids=repr,
)
@pytest.mark.parametrize("read", [files.read_json, files.read_yaml])
def test_a_damaged_mapping_is_an_error_that_names_the_file_and_the_remedy(tmp_path, content, read):
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as raised:
        read(path, **ABOUT, kind=CheckpointError, needs={"a": int})
    assert str(path) in str(raised.value)
    assert "make it again" in str(raised.value)


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path):
    for read in (files.read_json, files.read_yaml, files.read_csv, files.read_arrays, files.read_parquet):
        with pytest.raises(DataError, match="make it again"):
            read(tmp_path / "nothing", **ABOUT)


def test_an_entry_within_an_entry_is_asked_for_by_its_path(tmp_path):
    path = tmp_path / "thing.json"
    path.write_text('{"data": {"fingerprint": "abc"}}')
    assert files.read_json(path, **ABOUT, needs={"data.fingerprint": str})["data"] == {"fingerprint": "abc"}
    with pytest.raises(DataError, match="no entry data\\.atlas"):
        files.read_json(path, **ABOUT, needs={"data.atlas": str})


def test_what_was_written_as_json_comes_back_and_a_changed_digit_is_noticed(tmp_path):
    path = tmp_path / "below" / "results.json"
    content = {"score": 0.1 + 0.2, "nothing": None, "names": ["ü", "b"], "sizes": {"1": [1, 2]}}
    files.write_json(path, content)
    assert files.read_json(path, **ABOUT) == content
    path.write_text(path.read_text().replace("0.30000000000000004", "0.90000000000000004"))
    with pytest.raises(DataError, match="SHA-256"):
        files.read_json(path, **ABOUT)


def test_json_without_a_checksum_is_read_as_it_is(tmp_path):
    path = tmp_path / "old.json"
    path.write_text('{"score": 1}')
    assert files.read_json(path, **ABOUT) == {"score": 1}


@pytest.mark.parametrize("content", [b"", b"a\tb\n\x8a\t1\n", b'a\n"x\n'], ids=["empty", "not UTF-8", "a quote"])
def test_a_damaged_table_is_an_error(tmp_path, content):
    path = tmp_path / "table.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"table\.tsv cannot be read"):
        files.read_csv(path, **ABOUT, sep="\t", engine="python" if b'"' in content else "c")


def test_arrays_and_facts_come_back_under_their_key_alone(tmp_path):
    path = tmp_path / "caches" / "a.npz"
    arrays = {
        "x": np.arange(6.0).reshape(2, 3).T,
        "names": np.array(["a", "bc"]),
        "one": np.array(3),
        "no": np.empty(0),
    }
    files.write_arrays(path, arrays, key="k", facts={"seconds": 0.1, "note": None})
    found = files.read_cache(path, "k")
    assert found is not None
    assert found.facts == {"seconds": 0.1, "note": None}
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    assert files.read_cache(path, "another") is None
    assert files.read_cache(path) is not None


def test_no_flipped_byte_changes_what_a_cache_says(tmp_path, caplog):
    path = tmp_path / "a.npz"
    files.write_arrays(path, {"x": np.arange(50.0)}, key="k", facts={"note": "a"})
    whole = path.read_bytes()
    served = 0
    for position in range(0, len(whole), 3):
        path.write_bytes(whole)
        flipped(path, position)
        found = files.read_cache(path, "k")
        if found is not None:  # a byte that says nothing, such as a time of writing
            served += 1
            np.testing.assert_array_equal(found.arrays["x"], np.arange(50.0))
            assert found.facts == {"note": "a"}
    assert served < len(whole) / 3 / 4
    assert "computed again" in caplog.text


def test_a_damaged_cache_is_computed_again_with_one_warning(tmp_path, caplog):
    path, calls = tmp_path / "maps" / "thing.npz", []

    def compute():
        calls.append(1)
        return {"a": np.arange(3)}

    for _ in range(2):
        np.testing.assert_array_equal(files.cached_arrays(path, "k", compute)["a"], [0, 1, 2])
    assert len(calls) == 1
    path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        files.cached_arrays(path, "k", compute)
        files.cached_arrays(path, "k", compute)
    assert len(calls) == 2
    assert len(caplog.records) == 1


@pytest.mark.parametrize("shape", [(10**12,), (2**40, 2**40), (5,)])
def test_an_array_that_claims_another_size_than_its_bytes_is_refused(tmp_path, shape):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        file.write(bytes(16))
    with pytest.raises(DataError, match="claim"):
        files.read_arrays(path, **ABOUT)


def test_a_small_archive_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(10**6))
    assert files.load_archive(path)["x"].size == 10**6
    monkeypatch.setattr(files, "FREE_BYTES", 1000)
    with pytest.raises(DataError, match="claim"):
        files.read_arrays(path, **ABOUT)


def test_a_parquet_table_comes_back_and_damage_is_noticed(tmp_path):
    table = pd.DataFrame({"subject": ["a", "b"], "age": [1.5, np.nan], "cls": list(np.eye(2, 40, dtype=np.float32))})
    path = tmp_path / "site=1" / "table.parquet"
    files.write_parquet(path, table)
    found = files.read_parquet(path, **ABOUT)
    assert found.columns.tolist() == ["subject", "age", "cls"]
    np.testing.assert_array_equal(np.stack(found["cls"]), np.eye(2, 40))
    whole = path.read_bytes()
    noticed = 0
    for position in range(0, len(whole), 5):
        path.write_bytes(whole)
        flipped(path, position)
        try:
            again = files.read_parquet(path, **ABOUT)
        except DataError:
            noticed += 1
        else:
            assert again.columns.tolist() == found.columns.tolist()
            assert again.drop(columns="cls").equals(found.drop(columns="cls"))
            np.testing.assert_array_equal(np.stack(again["cls"]), np.eye(2, 40))
    assert noticed > len(whole) / 5 / 3


def test_no_name_in_a_csv_is_a_formula_and_numbers_stay_numbers():
    names = ["=HYPERLINK(1)", "+cmd", "-2+3", "@SUM(A1)", "\tx", "fine", "-9999", ""]
    table = pd.DataFrame({"name": names, "=x": np.arange(8) - 4.0, "kind": pd.Categorical(["=a", *"bcdefgh"])})
    rows = list(csv.reader(io.StringIO(files.csv_text(table))))
    assert rows[0] == ["name", "'=x", "kind"]
    assert [row[0] for row in rows[1:]] == [
        "'=HYPERLINK(1)",
        "'+cmd",
        "'-2+3",
        "'@SUM(A1)",
        "'\tx",
        "fine",
        "-9999",
        "",
    ]
    assert [float(row[1]) for row in rows[1:]] == table["=x"].tolist()
    assert rows[1][2] == "'=a"
    assert table["name"].tolist() == names


def test_a_csv_without_dangerous_names_is_what_pandas_writes():
    table = pd.DataFrame({"a": ["x", None], "b": [1, 2], "c": [0.1, np.nan], "d": [True, False]})
    assert files.csv_text(table) == table.to_csv(index=False)
    assert json.dumps(files.sealed({"a": 1}), sort_keys=True) == json.dumps(files.sealed({"a": 1}), sort_keys=True)
