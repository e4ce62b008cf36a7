"""Numbers as records, JSON and tables."""

import json

import numpy as np
import pytest

from brainlm.bench.results import Aim, Benchmark, Measure, cells
from brainlm.errors import DataError, Failure


@pytest.fixture
def benchmark() -> Benchmark:
    return Benchmark(
        machine={"processor": "one", "threads": 2},
        settings={"device": "cpu", "quick": True},
        measures=(
            Measure.of("windows", "windows, memory reused", "1/s", np.array([3.0, 1.0, 20_000.0]), Aim(2.5)),
            Measure.of("windows", "open", "s", 0.12345, Aim(0.1, at_most=True)),
            Measure.of("training", "fp32 step", "s", np.array([2.0, 4.0])),
        ),
        left_out=(Failure("embedding with 650m", "no memory", "buy some"),),
    )


def test_what_is_written_is_read_back(benchmark, tmp_path):
    page = benchmark.write(tmp_path / "new" / "speed.json")
    assert Benchmark.read(tmp_path / "new" / "speed.json") == benchmark
    assert page == tmp_path / "new" / "speed.md"


def test_a_measure_is_the_median_with_the_extremes(benchmark):
    first, _, last = benchmark.measures
    assert (first.value, first.low, first.high) == (3.0, 1.0, 20_000.0)
    assert last.value == 3.0


def test_an_aim_is_reached_from_its_own_side(benchmark):
    assert [measure.reached for measure in benchmark.measures] == [True, False, None]


def test_a_row_says_median_spread_aim_and_whether_it_is_reached(benchmark):
    assert cells(benchmark.measures[0]) == ["windows, memory reused", "3", "1 to 20,000", "1/s", "≥ 2.5", "yes"]
    assert cells(benchmark.measures[1]) == ["open", "0.123", "", "s", "≤ 0.1", "no"]


def test_the_page_has_a_table_for_each_part_and_what_was_left_out(benchmark):
    page = benchmark.to_markdown()
    assert page.index("## Windows") < page.index("| open |") < page.index("## Training") < page.index("| fp32 step |")
    assert "Left out: embedding with 650m: no memory." in page
    assert "too small to judge by" in page


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "bench", "format_version": 99}', '{"kind": "other"}'])
def test_a_file_that_is_no_benchmark_is_refused(tmp_path, text):
    (tmp_path / "speed.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"speed\.json cannot be read"):
        Benchmark.read(tmp_path / "speed.json")


def test_a_benchmark_with_an_unknown_field_is_refused(benchmark, tmp_path):
    content = json.loads(benchmark.to_json())
    content["measures"][0]["colour"] = "red"
    (tmp_path / "speed.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"speed\.json cannot be read"):
        Benchmark.read(tmp_path / "speed.json")
