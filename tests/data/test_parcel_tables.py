"""Parcels tables of other people: read with certainty, or refused with the columns that are expected."""

import numpy as np
import pytest

from brainlm.data.atlas import Atlas
from brainlm.data.parcel_tables import read_parcel_table
from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError

PLACES = [[-26, -34, -18], [26, -76, 14]]
LUT = "# made by hand\n0 Unknown 0 0 0 0\n10 Left-Thalamus 0 118 14 0\n49 Right-Thalamus 0 118 14 0\n"
FSL = """<?xml version="1.0"?><atlas><header><name>HO</name><type>Probabalistic</type></header><data>
<label index="0" x="48" y="94" z="35">Frontal Pole</label><label index="1" x="25" y="70" z="32">Insular Cortex</label>
</data></atlas>"""
SPM = """<atlas><data><label><index>2001</index><name>Precentral_L</name></label>
<label><index>2002</index><name>Precentral_R</name></label></data></atlas>"""


def read(tmp_path, text, name="table.csv") -> Parcels:
    (tmp_path / name).write_text(text)
    return read_parcel_table(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "labels", "names"),
    [
        ("ROI Label,ROI Name,R,A,S\n1,a b,-26,-34,-18\n2,c,26,-76,14\n", [1, 2], ["a b", "c"]),
        ("index,name,R,A,S\n7,a,-26,-34,-18\n9,c,26,-76,14\n", [7, 9], ["a", "c"]),
        ('ROI;Label;x_mni;y_mni;z_mni\n7;"a";-26;-34;-18\n9;c;26,0;-76;14\n', [7, 9], ["a", "c"]),
        ("region\tmni_x\tmni_y\tmni_z\na\t-26\t-34\t-18\nc\t26\t-76\t14\n", [1, 2], ["a", "c"]),
        ("Label Hemi x.mni y.mni z.mni\nV1 L -26 -34 -18\nV1 R 26 -76 14\n", [1, 2], ["L_V1", "R_V1"]),
        (",name,X (mm),Y (mm),Z (mm)\n0,a,-26,-34,-18\n1,c,26,-76,14\n", [1, 2], ["a", "c"]),
        ("-26 -34 -18\n26 -76 14\n", [1, 2], ["parcel-1", "parcel-2"]),
        ("-26,-34,-18\n26,-76,14\n", [1, 2], ["parcel-1", "parcel-2"]),
        ("7\t-26\t-34\t-18\n9\t26\t-76\t14\n", [7, 9], ["parcel-7", "parcel-9"]),
    ],
)
def test_columns_called_otherwise_are_recognised(tmp_path, text, labels, names):
    parcels = read(tmp_path, text)
    assert parcels.labels.tolist() == labels
    assert parcels.table["name"].tolist() == names
    np.testing.assert_array_equal(parcels.coordinates, PLACES)
    assert parcels.networks == []


@pytest.mark.parametrize(
    ("text", "labels", "names"),
    [
        (LUT, [10, 49], ["Left-Thalamus", "Right-Thalamus"]),
        (FSL, [1, 2], ["Frontal Pole", "Insular Cortex"]),
        (SPM, [2001, 2002], ["Precentral_L", "Precentral_R"]),
        ("label\tname\n1\tNA\n2\tNone\n", [1, 2], ["NA", "None"]),
    ],
    ids=["FreeSurfer", "FSL", "SPM", "ours"],
)
def test_label_files_of_other_programs_are_read(tmp_path, text, labels, names):
    parcels = read(tmp_path, text, "labels.txt")
    assert parcels.labels.tolist() == labels
    assert parcels.table["name"].tolist() == names
    assert not parcels.has_coordinates
    assert Atlas.load(tmp_path / "labels.txt").parcels.fingerprint == parcels.fingerprint


def test_networks_are_kept_and_colours_are_not(tmp_path):
    parcels = read(tmp_path, "index,name,network_label,Yeo7,colour,nvox\n1,a,Vis,1,#fff,9\n2,c,,2,#000,8\n")
    assert parcels.networks == ["network_label", "Yeo7"]
    assert parcels.table["network_label"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b,c\n1,2,x\n", "columns a, b, c"),
        ("name,x,y\na,1,2\n", "columns name, x, y"),
        ("name,name\na,b\n", "twice"),
        ("name,x,y,z\na,-1,2\n", "3 values in line 2 under 4 columns"),
        ("name,x,y,z\na,-1,2,here\n", "'here' as a coordinate in line 2"),
        ("name,x,y,z\na,45,54,36\nb,10,60,70\n", "voxels"),
        ("1 2\n3 4\n", "2 in a line"),
        ("# nothing\n", "no line with values"),
        ("<atlas><data>", "XML that ends early"),
        ("<html><label>x</label></html>", "1 elements <label>"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_columns_expected(tmp_path, text, found):
    with pytest.raises(AtlasError, match="is no parcels table that is understood") as caught:
        read(tmp_path, text)
    assert found in str(caught.value.found)
    assert "label (integer" in str(caught.value.expected)
    assert "label name x y z" in str(caught.value.remedy)
