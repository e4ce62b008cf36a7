"""The card says what a stranger must know, and flatters nobody."""

import dataclasses
import logging
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard
from synthetic_run import make_evaluation

from brainlm.data.scaling import Scaler
from brainlm.inference.card import MARK, model_card, write_card
from brainlm.inference.folder import Checkpoint

PROVENANCE = {
    "program": "brainlm 0.1.0",
    "date": "2026-03-01T10:00:00+00:00",
    "step": 90,
    "num_windows": 1530,
    "device": "cpu",
    "data": {
        "store": "pain.store",
        "atlas": "MIST-122",
        "source": {"description": "heat | pain", "terms": "non-commercial research", "url": "https://example.org/a"},
        "split": {"fractions": {"validation": 0.1, "test": 0.2}, "held_out": {"site": ["YALE", "USM"]}},
        "num_recordings": {"test": 27, "train": 59, "validation": 12},
        "num_subjects": {"test": 9, "train": 20, "validation": 4},
        "tr_s": [2.0, 2.5],
        "training_subjects": ["sub-KARL"],
        "exclusions": [{"source": "sub-OTTO_bold.tsv", "reason": "short", "remedy": ""}],
    },
    "training": {
        "mask": "random:0.75+future:2",
        "epochs": 60,
        "batch_size": 17,
        "base_learning_rate": 0.008,
        "seed": 0,
    },
}


@pytest.fixture
def checkpoint(model) -> Checkpoint:
    return Checkpoint(model.network, model.scaler, model.parcels, PROVENANCE)


@pytest.fixture
def judged(checkpoint, model, rng):
    """``judged(advantage)``: with scores that are this much above the best baseline's."""

    def make(advantage: float = -0.06, **changes) -> Checkpoint:
        evaluation = make_evaluation(model.parcels, rng, advantage=advantage)
        evaluation["model"]["num_parameters"] = model.network.num_parameters
        evaluation["store"] |= changes
        return dataclasses.replace(checkpoint, evaluation=evaluation)

    return make


def section(card: str, heading: str) -> str:
    return re.split(r"^## ", card.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


def test_the_hub_reads_the_metadata(judged):
    data = ModelCard(model_card(judged(), name="lab/pain")).data
    assert data.library_name == "brainlm"
    assert {"fmri", "brainlm"} <= set(data.tags)
    assert data.license == "other"
    assert data.license_name == "not-chosen"
    assert len(data.eval_results) == 11
    first = data.eval_results[0]
    assert first.metric_type == "r2"
    assert first.metric_name == "R² (random 20 %)"
    assert first.metric_value == pytest.approx(0.53)
    assert first.dataset_split == "test"


def test_data_terms_and_numbers_are_told(checkpoint):
    data = section(model_card(checkpoint), "Data")
    for piece in ("heat | pain", "https://example.org/a", "non-commercial research", "MIST-122", "2, 2.5 s"):
        assert piece in data
    assert "| train | 20 | 59 |\n| validation | 4 | 12 |\n| test | 9 | 27 |" in data
    assert "10 % validation, 20 % test, site YALE, USM held out whole" in data
    assert "Recordings left out, for reasons that the program recorded: 1." in data


def test_nobody_is_named(judged):
    card = model_card(judged())
    for name in ("KARL", "OTTO", "sub-01"):
        assert name not in card


def test_the_model_and_its_training_are_told(checkpoint):
    card = model_card(checkpoint)
    network = checkpoint.network
    assert f"{network.num_parameters:,}" in section(card, "Model")
    assert "1 x 10 (parcels x time points)" in section(card, "Model")
    assert "40 tokens" in section(card, "Model")
    training = section(card, "Training")
    assert "random:0.75+future:2" in training
    assert "90 steps, 1530 windows, with brainlm 0.1.0 on cpu, 2026-03-01" in training


@pytest.mark.parametrize("kind", ["robust", "zscore", "none"])
def test_the_scaler_is_explained(checkpoint, make_model, kind):
    text = section(
        model_card(dataclasses.replace(checkpoint, scaler=make_model(kind).scaler)), "Preprocessing and scaling"
    )
    assert f"**{kind}**" in text
    assert ("interquartile range" in text) == (kind == "robust")


def test_every_method_stands_in_a_table_with_its_interval(judged):
    card = section(model_card(judged()), "How well it fills in hidden signal")
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in card.splitlines() if line.startswith("| ")}
    assert {"BrainLM (this model)", "Zero", "Linear interpolation", "Gaussian (space)"} <= rows.keys()
    assert "**0.590** [0.560, 0.615]" in card
    assert "95 % intervals over subjects" in card
    assert "7 held-out subjects (21 recordings) of the store x" in card
    assert "−0.002" in card


@pytest.mark.parametrize(
    ("advantage", "verdict", "tally"),
    [
        (-0.06, "behind", "ahead of the best baseline in 0 and behind it in 11; in 0 there"),
        (0.06, "ahead", "ahead of the best baseline in 11 and behind it in 0; in 0 there"),
        (0.01, "no clear difference", "ahead of the best baseline in 0 and behind it in 0; in 11 there"),
    ],
)
def test_who_is_ahead_is_said_as_it_is(judged, advantage, verdict, tally):
    card = model_card(judged(advantage))
    assert len(re.findall(rf"\| {verdict} \|", card)) == 11
    assert tally in " ".join(card.split())
    bold = re.search(r"^\| BrainLM.*$", card, re.MULTILINE)
    assert ("**" in bold[0]) == (advantage > 0)
    assert "use the baseline" in card


def test_one_subject_gives_no_interval_and_no_verdict(judged):
    checkpoint = judged()
    for condition in checkpoint.evaluation["conditions"]:
        condition["difference"] |= {"low": None, "high": None}
        for method in condition["methods"]:
            method |= {"r2_low": None, "r2_high": None}
    card = model_card(checkpoint)
    assert "| −0.0600 | not compared |" in card
    assert "| **0.590** |" in card


def test_a_look_at_people_of_the_training_is_not_called_an_evaluation(judged):
    assert "no evaluation" in model_card(judged(split="train"))
    assert "no evaluation" in model_card(judged(split="test+train+validation"))
    assert "no evaluation" not in model_card(judged())


def test_scores_of_another_model_are_left_out(judged, caplog):
    checkpoint = judged()
    checkpoint.evaluation["model"]["num_parameters"] += 1
    with caplog.at_level(logging.WARNING):
        card = model_card(checkpoint)
    assert "There are no scores of it here" in card
    assert "left out of the card" in caplog.text


def test_without_scores_the_card_says_so(checkpoint):
    card = model_card(checkpoint)
    assert "There are no scores of it here" in card
    assert "model-index" not in card


def test_no_licence_is_chosen_for_anybody_and_the_datas_terms_are_carried(checkpoint):
    text = section(model_card(checkpoint), "Licence")
    assert "No licence was chosen" in text
    assert "**non-commercial research**" in text
    chosen = model_card(checkpoint, license="cc-by-nc-4.0")
    assert ModelCard(chosen).data.license == "cc-by-nc-4.0"
    assert "under `cc-by-nc-4.0`" in section(chosen, "Licence")
    assert "**non-commercial research**" in section(chosen, "Licence")
    assert "license: apache" not in chosen


def test_limits_are_told(checkpoint):
    text = section(model_card(checkpoint), "Intended use and limits")
    assert "`provenance.json` knows them" in text
    for piece in ("Not a medical device", "do not belong in a test set", "functional connectivity", "scanners"):
        assert piece in text


def test_the_lines_that_load_it_are_python(checkpoint):
    code = re.search(r"```python\n(.*?)```", model_card(checkpoint, name="lab/pain"), re.DOTALL)[1]
    compile(code, "card", "exec")
    assert 'BrainLM.from_pretrained("lab/pain")' in code
    assert "(T, 10)" in code


def test_a_record_that_says_nothing_makes_a_card_that_says_so(checkpoint):
    card = model_card(dataclasses.replace(checkpoint, provenance={}))
    assert "**terms of the data**: not recorded" in card
    assert "Settings: not recorded" in card
    assert "repetition time**: not recorded" in card
    assert "who they were is not recorded here" in card


def test_text_of_others_stays_in_its_line(checkpoint):
    source = {"description": "two\nlines\n## and a heading", "terms": "a | b"}
    data = PROVENANCE["data"] | {"source": source}
    card = model_card(dataclasses.replace(checkpoint, provenance=PROVENANCE | {"data": data}))
    assert "two lines ## and a heading" in card


def test_converted_published_weights_are_said_to_stay_where_they_are(checkpoint):
    released = {"repository": "vandijklab/brainlm", "licence": "CC BY-NC-ND 4.0", "paper": "Ortega Caro et al."}
    scaler = Scaler.unfitted(10, divisor=5.64)
    card = model_card(dataclasses.replace(checkpoint, provenance={"released": released}, scaler=scaler))
    assert ModelCard(card).data.license == "cc-by-nc-nd-4.0"
    assert "do not pass it on" in card
    assert "divided by 5.64" in card
    assert "model.fit_scaler(" in section(card, "Use")
    assert "Trained from scratch" not in card


def test_a_parcel_without_spread_is_counted(checkpoint):
    scaler = checkpoint.scaler
    scaler = Scaler("robust", scaler.median_P, scaler.iqr_P, scaler.valid_P & (np.arange(10) != 4))
    card = model_card(dataclasses.replace(checkpoint, scaler=scaler))
    assert "Parcels without spread in training, which are never used: 1." in card


def test_a_card_is_written_anew_until_someone_takes_it_over(checkpoint, tmp_path):
    path = tmp_path / "README.md"
    write_card(tmp_path, checkpoint, name="lab/old")
    write_card(tmp_path, checkpoint, name="lab/new")
    assert "lab/new" in path.read_text(encoding="utf-8")
    mine = path.read_text(encoding="utf-8").replace(MARK, "My own words.")
    path.write_text(mine, encoding="utf-8")
    write_card(tmp_path, checkpoint, name="lab/newest")
    assert path.read_text(encoding="utf-8") == mine
