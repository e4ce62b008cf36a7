"""Tables as people have them are read as what they are, and what cannot be read is named."""

import pytest

from brainlm.data.people_files import PeopleFile
from brainlm.errors import DataError


def read(folder, content, name="people.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return PeopleFile.read(path)


EXPECTED = {"subject": ["01", "02"], "name": ["a b", "c"], "age": ["5", "6.5"]}


@pytest.mark.parametrize(
    "text",
    [
        "subject,name,age\n01,a b,5\n02,c,6.5\n",
        "subject;name;age\n01;a b;5\n02;c;6.5\n",
        "subject\tname\tage\r\n01\ta b\t5\r\n02\tc\t6.5\r\n",
        '"subject","name","age"\n"01","a b","5"\n 02 , c ,6.5\n',
        "subject,name,age,,\n01,a b,5,,\n,,,,\n02,c,6.5,,\n\n,,,,\n",
        "\nsubject,name,age\n01,a b,5\n\n02,c,6.5",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["people.csv", "people.tsv", "people.txt"])
def test_separators_endings_quotes_blanks_and_empty_lines_do_no_harm(tmp_path, text, encoding, name):
    file = read(tmp_path, text.encode(encoding), name)
    assert file.table.to_dict(orient="list") == EXPECTED
    assert file.notes == ()


def test_a_comma_in_quotes_and_decimal_commas_separate_nothing(tmp_path):
    assert read(tmp_path, 'subject,name\n01,"a, b"\n').table["name"].tolist() == ["a, b"]
    assert read(tmp_path, "subject;age\n01;5,5\n").table["age"].tolist() == ["5,5"]


def test_latin_1_is_read_and_said(tmp_path):
    file = read(tmp_path, "subject,name\n01,José\n".encode("latin-1"))
    assert file.table["name"].tolist() == ["José"]
    assert "Windows-1252" in file.notes[0]


def test_columns_without_a_name_are_left_out_and_said(tmp_path):
    file = read(tmp_path, ",Unnamed: 0,subject,Unnamed: 0.1\n0,1,01,5\n1,2,02,6\n")
    assert list(file.table) == ["subject"]
    assert "Unnamed: 0" in file.notes[0]
    assert list(file.unnamed) == [1, 2, 4]


def test_columns_of_one_name_are_an_error_that_names_them(tmp_path):
    with pytest.raises(DataError, match="same name") as caught:
        read(tmp_path, "subject,age,iq,age\n01,5,100,5\n")
    assert caught.value.found == "age (2 times)"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"PK\x03\x04rest", "people.csv", "is no text"),
        (b"anything", "people.xlsx", "is no text"),
        (b"", "people.csv", "cannot be read"),
        (b"subject,age\n01,5\n02,6,7,8\n", "people.csv", "4 values in line 3, 2 in the header"),
        (b'subject,age\n01,"5\n02,6\n', "people.csv", "cannot be read"),
        (b"subject\0age\n", "people.csv", "binary"),
    ],
)
def test_what_is_no_table_is_an_error_with_its_path(tmp_path, content, name, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content, name)
    assert str(tmp_path / name) in str(caught.value)
    assert caught.value.remedy
    with pytest.raises(DataError, match="no participants table at"):
        PeopleFile.read(tmp_path / "nowhere.tsv")
