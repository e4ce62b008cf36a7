"""Reading results.json of attention: what is there, what is missing, what is damaged."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_attention import make_attention, make_bare_attention, write_attention
from synthetic_run import make_parcels

from brainlm.errors import DataError
from brainlm.report.attention_study_file import read_attention_studies, read_attention_study
from brainlm.report.run_folder import RunFolder

PARCELS = make_parcels(40, np.random.default_rng(0))


def test_a_study_with_every_part_is_read() -> None:
    study = read_attention_study(make_attention(PARCELS, contrast="paired", effect=5.0), "x")
    assert study.heads_LHP is not None
    assert study.heads_LHP.shape == (4, 4, 40)
    assert study.contrast is not None
    assert study.contrast.is_paired
    assert study.contrast.is_significant_P.any()
    assert study.contrast.smallest_q == pytest.approx(np.nanmin(study.contrast.q_P))
    assert set(study.deletion) == {"embedding", "reconstruction", "insertion"}
    assert np.isnan(study.attention_P).sum() == 1
    assert study.relative_P[0] == pytest.approx(study.attention_P[0] / study.uniform)


def test_a_study_with_nothing_optional_is_read() -> None:
    study = read_attention_study(make_bare_attention(12), "x")
    assert not study.has_intervals
    assert study.contrast is None
    assert study.heads_LHP is None
    assert study.confidence_percent == "95 %"


def test_a_correlation_may_come_with_or_without_an_interval() -> None:
    content = make_attention(PARCELS, contrast="paired")
    for given in (0.3, {"value": 0.3, "low": 0.1, "high": 0.5}):
        content["contrast"]["amplitude_r"] = given
        contrast = read_attention_study(content, "x").contrast
        assert contrast is not None
        assert contrast.amplitude_r is not None
        assert contrast.amplitude_r.value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format version 2, this program reads 1"),
        ({"parcels": {"attention": [1, 2], "rollout": [1]}}, "a map of 1 parcels beside one of 2"),
        ({"heads": [[[1, 2]]]}, "a map of 2 parcels beside one of 40"),
        ({"parcels": None}, "NoneType"),
    ],
)
def test_content_this_program_does_not_know_is_an_error_that_names_the_file(
    tmp_path: Path, change: dict, said: str
) -> None:
    path = write_attention(tmp_path, make_attention(PARCELS) | change)
    with pytest.raises(DataError, match=r"results.json cannot be read") as caught:
        read_attention_studies(tmp_path)
    assert str(path) in str(caught.value)
    assert said in (caught.value.found or "")
    assert "brainlm attention" in (caught.value.remedy or "")


@pytest.mark.parametrize("content", [b"\x00\x01junk\xff", b'{"format_version": 1, "parcels": {', b"[]", b""])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = write_attention(tmp_path, make_bare_attention(4))
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_attention_studies(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("field", ["parcels", "uniform", "what"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    content = make_bare_attention(4)
    path = write_attention(tmp_path, content)
    del content[field]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        read_attention_studies(tmp_path)
    assert field in (caught.value.found or "")


def test_studies_come_in_natural_order_and_alone_make_a_run_folder(tmp_path: Path) -> None:
    for name in ("layer-10", "layer-9"):
        write_attention(tmp_path, make_bare_attention(4), name)
    assert [study.folder for study in RunFolder.read(tmp_path).attention_studies] == ["layer-9", "layer-10"]


def test_a_study_of_other_parcels_than_the_run_is_refused(tmp_path: Path) -> None:
    PARCELS.write(tmp_path / "parcels.tsv")
    write_attention(tmp_path, make_bare_attention(7), "odd")
    with pytest.raises(DataError, match="different parcels") as caught:
        RunFolder.read(tmp_path)
    assert "attention/odd: 7" in (caught.value.found or "")
