"""The whole benchmark, in seconds."""

import os

import pytest
import torch

from brainlm.bench import embedding
from brainlm.bench.machine import in_fresh_process, resident_memory
from brainlm.bench.plan import FULL, run_benchmark
from brainlm.bench.results import Benchmark
from brainlm.cli.main import main
from brainlm.errors import ConfigError, DataError

OF_STEPS = (
    "step",
    "windows",
    "products alone",
    "products alone / step",
    "speed",
    "speed of the products alone",
    "speed of a large product",
    "speed / large product",
)
WINDOWS = [
    "windows, memory reused",
    "windows, new memory",
    "Hugging Face rows (numpy)",
    "mere copying in memory",
    "reused / Hugging Face",
    "new / Hugging Face",
    "reused / mere copying",
    *(
        (
            "own memory grown by a store",
            "own memory grown by one 4 x as large",
            "difference",
            "mapped pages of the store",
            "mapped pages of the 4 x as large",
        )
        if resident_memory()
        else ()
    ),
    "open 50 recordings",
    "open and list their windows",
]
PARCELLATION = [
    "20 x 22 x 18 x 12 int16 to 16 parcels",
    "mere decompression",
    "ours / mere decompression",
    *(
        ("memory grown by an image", "the image in float64", "memory grown / image in float64")
        if resident_memory()
        else ()
    ),
    "loop over parcels",
    "loop over parcels / ours",
    "nilearn's masker",
    "nilearn's masker / ours",
    "nilearn's masker, labels as integers",
    "nilearn's masker, labels as integers / ours",
]
TRAINING = [
    "step of 2 windows",
    *(f"{precision} {name}" for precision in ("fp32", "bf16") for name in OF_STEPS),
    "fp32 / bf16",
    "all / 25% of the hidden decoded",
    "patches 1 x 20 / 8 x 20",
]
EMBEDDING = ["tiny recordings", *(["tiny peak memory"] if resident_memory() else [])]
ATTENTION = [
    "tiny windows encoded",
    "maps of CLS / encoding",
    "rollout and lags of every window / encoding",
    "maps of 1,000 windows / encoding",
    "the same in processor time",
    *(["tiny peak memory"] if resident_memory() else []),
]
CONNECTOME = [
    "correlations of 10 recordings of 16 x 40",
    "nilearn's",
    "nilearn's / ours",
    "partial correlations",
    "tangent vectors of a fold",
]


def test_a_quick_run_measures_everything(tmp_path, capsys):
    threads = torch.get_num_threads()
    assert main(["bench", "--quick", "--threads", "1", "--out", str(tmp_path / "speed.json")]) == 0
    assert torch.get_num_threads() == threads
    benchmark = Benchmark.read(tmp_path / "speed.json")
    assert [measure.name for measure in benchmark.measures] == [
        *PARCELLATION,
        *WINDOWS,
        *TRAINING,
        *EMBEDDING,
        *ATTENTION,
        *CONNECTOME,
    ]
    assert benchmark.left_out == ()
    assert benchmark.machine["threads"] == 1
    for measure in benchmark.measures:
        assert measure.low <= measure.value <= measure.high
        assert measure.aim is None, "small sizes have no aims"
        if measure.unit != "MiB" and "memory grown" not in measure.name:
            assert measure.low > 0
    shown = capsys.readouterr().out
    assert "fp32 products alone / step" in shown
    assert "too small to judge by" in shown
    assert (tmp_path / "speed.md").read_text(encoding="utf-8").count("\n|") > len(benchmark.measures)


def test_a_file_is_not_replaced_unless_asked(tmp_path, capsys):
    (tmp_path / "speed.md").write_text("mine", encoding="utf-8")
    assert main(["bench", "--out", str(tmp_path / "speed.json")]) == 2
    assert "speed.md exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--parts", "windows,trainin"], "did you mean 'training'?"),
        (["--threads", "0"], "--threads 1 or more"),
        (["--out", "speed.md"], "speed.md cannot be the JSON file"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_measured(words, complaint, capsys):
    assert main(["bench", *words]) == 2
    assert complaint in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU"):
        run_benchmark(quick=True, device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_quick_run_measures_everything_on_a_gpu():
    benchmark = run_benchmark(quick=True, device="cuda")
    assert [measure.name for measure in benchmark.measures] == [
        *PARCELLATION,
        *WINDOWS,
        *TRAINING,
        "tiny recordings",
        "tiny peak GPU memory",
        *ATTENTION[:4],
        "tiny peak GPU memory",
        *CONNECTOME,
    ]
    assert benchmark.left_out == ()


def test_a_preset_that_does_not_fit_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(embedding, "available_memory", lambda: 1)
    benchmark = run_benchmark(["embedding"], quick=True)
    assert benchmark.measures == ()
    (failure,) = benchmark.left_out
    assert failure.source == "embedding with tiny"
    assert "needs more memory" in failure.reason


def test_a_process_that_dies_is_an_error_that_says_so():
    with pytest.raises(DataError, match="died"):
        in_fresh_process(os._exit, 1)


def test_full_sizes_are_those_of_the_published_table():
    assert (FULL.parcellation.shape, FULL.parcellation.num_volumes) == ((91, 109, 91), 490)
    assert FULL.parcellation.num_parcels == 424
    assert FULL.windows.num_recordings == 300
    assert FULL.windows.recording_timepoints == (250, 500)
    assert (FULL.windows.batch_size, FULL.windows.num_timepoints, FULL.windows.num_parcels) == (64, 200, 424)
    assert FULL.windows.num_short == 10_000
    assert FULL.training.preset == "13m"
    sizes = FULL.connectome
    assert (sizes.num_recordings, sizes.num_parcels, sizes.recording_timepoints) == (1000, 200, 200)
    assert list(FULL.embedding.num_recordings) == ["tiny", "13m", "111m", "650m"]
