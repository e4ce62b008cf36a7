"""A study from store to files, through a real model: a planted effect of a task, none where none is, and bad input."""

import json

import numpy as np
import pandas as pd
import pytest

from brainlm.errors import AtlasError, ConfigError, DataError
from brainlm.evaluation.attention.gathering import evened
from brainlm.evaluation.attention.rule import AttentionRule, MapChoice
from brainlm.evaluation.attention.running import attention_study, write_images, write_study
from brainlm.files import sealed

AFFECTED = (2, 7)  # as in conftest.py
QUICK = {"permutations": 1000, "num_bootstrap": 100, "deletion_recordings": 6, "attribution_recordings": 3}


@pytest.fixture(scope="module")
def study(model, tasks, tmp_path_factory):
    rule = AttentionRule(contrast="task", levels=("movie", "rest"), **QUICK)
    found = attention_study(model, tasks, rule, folder=tmp_path_factory.mktemp("study") / "attention" / rule.name)
    write_images(found, tasks.atlas_image)
    write_study(found)
    return found


def test_a_planted_effect_of_a_task_is_found_in_its_parcels(study):
    contrast = study.results["contrast"]
    assert contrast["kind"] == "paired"
    q = np.array(contrast["q"])
    assert (q[list(AFFECTED)] < 0.05).all()
    t = np.abs(np.array(contrast["t"]))
    assert set(np.argsort(-t)[:2]) == set(AFFECTED)


def test_no_effect_of_a_task_is_found_where_none_is(model, no_effect, tmp_path):
    for column in ("task", "coin"):
        found = attention_study(model, no_effect, AttentionRule(contrast=column, **QUICK), folder=tmp_path / column)
        assert found.results["contrast"]["num_significant_fwe"] == 0
        assert "not shown to differ" in found.results["conclusion"]


def test_results_are_plain_and_name_nobody(study, tasks):
    text = json.dumps(study.results, allow_nan=False)
    assert not any(f'"{subject}"' in text for subject in tasks.metadata["subject"])
    assert json.loads((study.folder / "results.json").read_text()) == sealed(study.results)


def test_the_map_is_the_mean_over_subjects_of_what_the_model_says(study, model, tasks):
    own = [model.attention(tasks[index]).cls for index in range(len(tasks))]
    own = [one * study.results["uniform"] / one.mean() for one in own]
    people = tasks.metadata["subject"].to_numpy()
    expected = np.mean([np.mean([own[i] for i in np.flatnonzero(people == name)], axis=0) for name in set(people)], 0)
    np.testing.assert_allclose(study.results["parcels"]["attention"], expected, rtol=1e-4)
    low, high = (np.array(study.results["parcels"][name]) for name in ("low", "high"))
    assert ((low < expected) & (expected < high)).all()


def test_the_table_has_a_row_a_parcel(study, tasks):
    table = pd.read_csv(study.folder / "table.csv")
    assert table["name"].tolist() == tasks.parcels.table["name"].tolist()
    assert {"attention", "relative_to_uniform", "attribution", "t", "q", "p_fwe", "network"} <= set(table)


def test_a_second_study_of_the_same_recordings_computes_no_map_again(study, model, tasks, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("brainlm.evaluation.attention.gathering.hide_attended", never)
    monkeypatch.setattr("brainlm.evaluation.attention.gathering.attribute", never)
    monkeypatch.setattr("brainlm.inference.attention_maps.attention_maps", never)
    rule = AttentionRule(contrast="task", levels=("movie", "rest"), **QUICK)
    again = attention_study(model, tasks, rule, folder=study.folder)
    assert again.results == study.results
    with pytest.raises(AssertionError, match="computed again"):
        attention_study(model, tasks, AttentionRule(**QUICK, seed=1), folder=study.folder)


def test_parcels_without_signal_do_not_raise_the_attention_to_the_others():
    maps = np.array([[0.1, 0.3, 0.2, 0.4], [0.2, 0.6, np.nan, np.nan], [np.nan] * 4], dtype=np.float32)
    found = evened(maps, 0.25)
    np.testing.assert_allclose(np.nanmean(found[:2], axis=1), 0.25, rtol=1e-6)
    np.testing.assert_allclose(found[1, 1] / found[1, 0], 3, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(maps))


@pytest.mark.parametrize("layer", ["0", "mean", "rollout"])
def test_other_maps_can_be_analysed(model, tasks, layer, tmp_path):
    rule = AttentionRule(choice=MapChoice.parse(layer, None), contrast="task", **QUICK)
    found = attention_study(model, tasks, rule, folder=tmp_path / rule.name)
    np.testing.assert_allclose(found.relative_P.mean(), 1.0)
    assert found.results["layer"] == (0 if layer == "0" else layer)
    assert rule.name == f"task.{'layer0' if layer == '0' else layer}"


def test_one_head_of_a_layer(model, tasks, tmp_path):
    rule = AttentionRule(choice=MapChoice.parse("-1", 1), **QUICK)
    found = attention_study(model, tasks, rule, folder=tmp_path / rule.name)
    heads = np.array(found.results["heads"])
    own = np.array(found.results["parcels"]["attention"])
    np.testing.assert_allclose(own, heads[-1, 1] / heads[-1, 1].mean() * found.results["uniform"], rtol=1e-3)
    assert found.results["what"] == "CLS attention, last layer (2 of 2), head 2"


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"contrast": "split"}, None, ""),
        ({"contrast": "alone"}, DataError, "a group of 1"),
        ({"contrast": "score"}, ConfigError, "14 levels"),
        ({"contrast": "tsak"}, ConfigError, "nearest: task"),
        ({"networks": "yeo7"}, AtlasError, "network columns: network"),
        ({"choice": MapChoice("layer", 5)}, ConfigError, "the encoder has no block 5"),
        ({"choice": MapChoice("layer", 0, 9)}, ConfigError, "the encoder has no head 9"),
    ],
)
def test_what_cannot_be_studied_is_refused(model, tasks, settings, error, words, tmp_path):
    rule = AttentionRule(**QUICK, **settings)
    if error is None:
        assert attention_study(model, tasks, rule, folder=tmp_path / "x").results["contrast"]["kind"] == "two-sample"
        return
    with pytest.raises(error, match=words):
        attention_study(model, tasks, rule, folder=tmp_path / "x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: MapChoice.parse("last", None),
        lambda: MapChoice.parse("mean", 1),
        lambda: AttentionRule(levels=("a", "b")),
        lambda: AttentionRule(permutations=0),
    ],
)
def test_settings_that_contradict_each_other_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_parcels_of_a_patch_are_one_finding(make_model, tasks, tmp_path):
    """12 parcels in patches of 5: three tests, and the parcels of a patch have one t."""
    model = make_model(tasks, parcels_per_patch=5)
    rule = AttentionRule(contrast="task", levels=("movie", "rest"), **QUICK)
    found = attention_study(model, tasks, rule, folder=tmp_path / "attention" / rule.name)
    contrast = found.results["contrast"]
    assert contrast["num_tested"] == 3
    assert contrast["num_found"] <= 3
    row_P = model.network.tokenizer.rows_of_parcels().numpy()
    for values in (contrast["t"], contrast["q"], contrast["p_fwe"]):
        assert all(len(np.unique(np.array(values)[row_P == row])) == 1 for row in range(3))
    assert found.table()["patch"].tolist() == row_P.tolist()
