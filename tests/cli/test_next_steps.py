"""What a verb proposes at its end runs as it is printed, whatever the store lacks."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest

from brainlm.cli.next_steps import command_line, probe_of
from brainlm.data.store import Store

SMALL = [
    "--training.epochs=1",
    *(
        f"--model.{name}={number}"
        for name, number in {"encoder_width": 16, "encoder_depth": 1, "encoder_heads": 2}.items()
    ),
    *("--model.encoder_mlp=16", "--model.decoder_width=16", "--model.decoder_heads=2", "--model.decoder_mlp=16"),
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with a blank in its name."""
    folder = tmp_path / "my study"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def make_store(speak, rng, monkeypatch, *, num=6, length=220, located=True, split=("0.2", "0.2")):
    parcels = pd.DataFrame({"label": range(1, 9), "name": [f"area {n}" for n in range(8)]})
    if located:
        parcels = parcels.assign(x=0.0, y=np.arange(-40, 40, 10.0), z=0.0)
    parcels.to_csv("parcels.tsv", sep="\t", index=False)
    for number in range(num):
        pd.DataFrame(rng.normal(size=(length, 8)).cumsum(axis=0)).to_csv(
            f"sub-{number}_bold.tsv", sep="\t", header=False, index=False
        )
    words = ["import", "sub-*_bold.tsv", "a store", "--parcels", "parcels.tsv", "--tr", "2"]
    words += ["--split.validation", split[0], "--split.test", split[1]]
    monkeypatch.setattr("sys.argv", ["brainlm", *words])
    return speak(*words)


def proposed(spoken) -> list[list[str]]:
    """The commands at the end of what a verb said, as a shell takes them apart."""
    assert spoken.status == 0, spoken.err
    lines = spoken.out[spoken.out.index("next:") :].removeprefix("next:").splitlines()
    commands = [shlex.split(line) for line in lines if line.strip().startswith("brainlm")]
    assert commands
    return [words[1:] for words in commands]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({}, []),
        ({"located": False}, ["--model.spatial_positions", "learned", "--model.parcel_order", "atlas"]),
        ({"length": 90}, ["--model.num_timepoints", "80"]),
        ({"length": 30}, ["--model.num_timepoints", "28", "--model.timepoints_per_patch", "7"]),
        ({"split": ("0.3", "0")}, []),
        ({"split": ("0", "0")}, []),
        ({"num": 1, "split": ("0", "0"), "located": False, "length": 60}, ["--model.num_timepoints", "60"]),
    ],
    ids=["usual", "no coordinates", "short", "shorter than patches", "no test", "train only", "one subject"],
)
def test_what_is_proposed_runs(speak, rng, monkeypatch, odd, said):
    look, pretrain = proposed(make_store(speak, rng, monkeypatch, **odd))
    assert look == ["inspect", "a store"]
    assert pretrain[:6] == ["pretrain", "a store", "--out", "runs/first", "--preset", "tiny"]
    assert " ".join(said) in " ".join(pretrain)
    assert ("--model.num_timepoints" in pretrain) == ("length" in odd)
    assert proposed(speak(*look)) == [pretrain]
    after = proposed(speak(*pretrain, *SMALL))
    verbs = [words[0] for words in after]
    assert verbs[-2:] == ["embed", "report"]
    assert ("evaluate" in verbs) == ("test" in set(Store.open("a store").metadata["split"]))
    for words in after:
        more = ("--num_bootstrap", "20") if words[0] == "evaluate" else ()
        spoken = speak(*words, *more)
        assert spoken.status == 0, (words, spoken.err)
        if words[0] == "evaluate":
            assert ["embed", *words[1:3]] in proposed(spoken)


def test_a_store_without_training_recordings_is_imported_again(speak, rng, monkeypatch):
    spoken = make_store(speak, rng, monkeypatch, num=1, split=("0.0001", "0.9998"))
    look, again = proposed(spoken)
    assert look == ["inspect", "a store"]
    assert again[:4] == ["import", "sub-*_bold.tsv", "a store", "--parcels"]
    assert again[-5:] == ["--split.validation", "0", "--split.test", "0", "--overwrite"]
    assert again.count("--split.test") == 1
    assert proposed(speak(*again))[-1][0] == "pretrain"


def test_a_folder_with_a_run_is_not_proposed_again(here, speak, rng, monkeypatch):
    (here / "runs" / "first").mkdir(parents=True)
    assert "runs/a store" in proposed(make_store(speak, rng, monkeypatch))[-1]


def test_words_are_quoted_for_a_shell():
    line = command_line("embed", "my run", "it's.store")
    assert shlex.split(line) == ["brainlm", "embed", "my run", "it's.store"]


def test_no_verb_puts_a_next_command_together_by_hand():
    import brainlm.cli

    for folder in brainlm.cli.__path__:
        from pathlib import Path

        for file in Path(folder).glob("*.py"):
            assert not re.search(r"next_command\(.*f\"", file.read_text()), file


def test_a_missing_coordinate_names_the_options(speak, rng, monkeypatch):
    make_store(speak, rng, monkeypatch, located=False)
    spoken = speak("pretrain", "a store", "--out", "run", "--preset", "tiny", "--training.batch_size", "1")
    assert spoken.status == 2
    assert "--model.parcel_order atlas" in spoken.err


def add_table(cells):
    """A participants table of sub-0 to sub-11, whose last has another value of ``cells``."""
    rows = {"participant_id": [f"sub-{n}" for n in range(12)], "score": [10 + n / 2 for n in range(11)] + [cells]}
    pd.DataFrame(rows).to_csv("people.csv", index=False)


def test_a_code_for_missing_leads_to_another_import_and_then_to_pretraining(speak, rng, monkeypatch):
    add_table(-9999)
    make_store(speak, rng, monkeypatch, num=12)
    words = ["import", "sub-*_bold.tsv", "people store", "--parcels", "parcels.tsv", "--tr", "2"]
    words += ["--participants", "people.csv"]
    monkeypatch.setattr("sys.argv", ["brainlm", *words])
    (again,) = proposed(speak(*words))
    assert again[: len(words)] == words
    assert "--overwrite" in again
    assert any("-9999" in word for word in again)
    monkeypatch.setattr("sys.argv", ["brainlm", *again])
    assert proposed(speak(*again))[-1][0] == "pretrain"
    assert Store.open("people store").metadata["score"].max() < 100
    assert Store.open("people store").metadata["score"].min() > 0


def test_a_store_with_a_phenotype_leads_to_its_probe_and_one_without_does_not(speak, rng, monkeypatch):
    from pathlib import Path

    add_table(20.0)
    make_store(speak, rng, monkeypatch, num=12)
    assert probe_of("run", Path("a store")) == []
    assert (
        speak(
            *("import", "sub-*_bold.tsv", "people store", "--parcels", "parcels.tsv", "--tr", "2"),
            *("--participants", "people.csv"),
        ).status
        == 0
    )
    (line,) = probe_of("run", Path("people store"))
    assert shlex.split(line)[:6] == ["brainlm", "probe", "run", "people store", "--target", "score"]


def test_how_many_recordings_are_too_short_for_what_is_proposed_is_said(speak, rng, monkeypatch):
    make_store(speak, rng, monkeypatch, num=6, split=("0", "0"))
    for number in (0, 1):
        pd.DataFrame(rng.normal(size=(60, 8))).to_csv(f"sub-{number}_bold.tsv", sep="\t", header=False, index=False)
    spoken = speak(
        *("import", "sub-*_bold.tsv", "mixed", "--parcels", "parcels.tsv", "--tr", "2"),
        *("--split.validation", "0", "--split.test", "0"),
    )
    assert "2 of 6 training recordings are shorter" in spoken.out
