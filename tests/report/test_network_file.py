"""Reading results.json of functional networks: order, what is missing, what is damaged."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_networks import BEST, MAIN, make_bare_networks, make_networks, write_networks
from synthetic_run import make_parcels

from brainlm.errors import DataError
from brainlm.report.network_file import read_network_studies, read_network_study
from brainlm.report.network_study import GROUPS
from brainlm.report.run_folder import RunFolder

PARCELS = make_parcels(40, np.random.default_rng(0))


def test_methods_come_by_kind_and_the_best_of_each_kind_first() -> None:
    study = read_network_study(make_networks(PARCELS), "x")
    assert list(dict.fromkeys(method.group for method in study.methods)) == list(GROUPS)
    of_model = [method.scores["accuracy"].value for method in study.methods if method.group == "model"]
    assert of_model == sorted(of_model, reverse=True)


def test_a_study_with_every_part_is_read() -> None:
    study = read_network_study(make_networks(PARCELS), "x")
    main = study.method(MAIN)
    assert main is not None
    assert main.null is not None
    assert main.null.low_accuracy < main.null.mean_accuracy < main.null.high_accuracy
    assert main.confusion_CC is not None
    assert main.confusion_CC.sum(axis=1) == pytest.approx(1.0)
    assert study.verdict == "worse"
    assert study.best_baseline == BEST
    assert np.isnan(study.share_right[MAIN][2])
    assert study.reference("accuracy") == pytest.approx(max(study.networks.values()) / 38)


def test_a_study_with_nothing_optional_is_read() -> None:
    study = read_network_study(make_bare_networks(6), "x")
    assert study.verdict == "unknown"
    assert study.methods[0].null is None
    assert not study.share_right


def test_a_confusion_matrix_of_counts_becomes_shares() -> None:
    content = make_bare_networks(6)
    content["methods"][0]["confusion"] = [[3, 1], [0, 0]]
    confusion_CC = read_network_study(content, "x").methods[0].confusion_CC
    assert confusion_CC is not None
    np.testing.assert_allclose(confusion_CC, [[0.75, 0.25], [np.nan, np.nan]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format version 2, this program reads 1"),
        ({"methods": [{"name": "m", "group": "magic", "scores": {}}]}, "group 'magic'"),
        ({"methods": [{"name": "m", "group": "model", "scores": {}, "confusion": [[1.0]]}]}, "shape (1, 1)"),
        ({"parcels": {"true": ["a"], "share_right": {"m": [1, 2]}}}, "shares of 2 parcels beside"),
        ({"parcels": {"true": ["a"], "predicted": {"m": ["a", "b"]}}}, "networks of 2 parcels beside"),
        ({"networks": None}, "NoneType"),
    ],
)
def test_content_this_program_does_not_know_is_an_error_that_names_the_file(
    tmp_path: Path, change: dict, said: str
) -> None:
    path = write_networks(tmp_path, make_networks(PARCELS) | change)
    with pytest.raises(DataError, match=r"results.json cannot be read") as caught:
        read_network_studies(tmp_path)
    assert str(path) in str(caught.value)
    assert said in (caught.value.found or "")
    assert "brainlm networks" in (caught.value.remedy or "")


@pytest.mark.parametrize("content", [b"\x00\x01junk\xff", b'{"format_version": 1, "methods": [', b"[]", b""])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = write_networks(tmp_path, make_bare_networks(4))
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_network_studies(tmp_path)
    assert str(path) in str(caught.value)


def test_a_study_of_other_parcels_than_the_run_is_refused(tmp_path: Path) -> None:
    PARCELS.write(tmp_path / "parcels.tsv")
    write_networks(tmp_path, make_bare_networks(6))
    with pytest.raises(DataError, match="different parcels") as caught:
        RunFolder.read(tmp_path)
    assert "networks/halves: 6" in (caught.value.found or "")
