"""What cannot be done is refused before anything is computed: before a scaling is fitted or a scan is looked for."""

import sys

import pytest


@pytest.fixture
def refused(speak, study, monkeypatch):
    """``refused("networks", "--labels", "x")``: what a verb says of the study, where computing is too late."""

    def refuse(verb, *words, store=None):
        def too_late(*_, **__):
            raise AssertionError("something was computed first")

        for module in ("attention_verb", "networks_verb", "forecast_verb", "result_verbs", "model_verbs"):
            monkeypatch.setattr(f"brainlm.cli.{module}.fit_if_needed", too_late)
        monkeypatch.setattr("brainlm.cli.phenotype_desk.fit_if_needed", too_late)
        monkeypatch.setattr("brainlm.cli.scan_verbs.find_scans", too_late)
        spoken = speak(verb, study.run, study.store if store is None else store, *words)
        assert spoken.status == 2, spoken.out + spoken.err
        return spoken.err

    return refuse


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("combatlearn", ("probe", "--target", "age", "--harmonise", "site")),
        ("peft", ("finetune", "--target", "age", "--train", "lora")),
        ("distributed", ("parcellate", "--atlas", "parcels", "--dask", "tcp://127.0.0.1:1")),
    ],
)
def test_a_missing_extra(refused, study, tmp_path, monkeypatch, package, words):
    monkeypatch.setitem(sys.modules, package, None)
    verb, *options = words
    if verb == "parcellate":
        options[1] = study.folder / "parcels.tsv"
    said = refused(verb, *options, store=tmp_path / "new.store" if verb == "parcellate" else None)
    assert package in said
    assert "pip install 'brainlm[" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("networks", "--labels", "network", "--split", "all", "--methods", "model", "--allow_seen"), "too small"),
        (("networks", "--labels", "yeo99", "--split", "all", "--methods", "model", "--allow_seen"), "yeo99"),
        (("attention", "--contrast", "mood"), "mood"),
        (("attention", "--networks", "yeo99"), "yeo99"),
    ],
)
def test_questions_that_the_store_cannot_answer(refused, words, said):
    assert said in refused(*words)


@pytest.mark.parametrize("verb", ["evaluate", "embed", "attention"])
def test_an_output_that_cannot_be_written(refused, tmp_path, verb):
    (tmp_path / "file").write_text("not a folder")
    out = tmp_path / "file" / "results" / "out.json"
    assert "a part of the path is a file" in refused(verb, "--out", out)


def test_results_that_are_there(refused):
    assert "--overwrite" in refused("evaluate")
    assert "--overwrite" in refused("embed")
