"""The tutorial from tables to a report, through the command line alone, and what each verb refuses."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from brainlm.data.store import Store
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.folder import FILES

TUTORIAL = ("import", "inspect", "pretrain", "evaluate", "embed", "report")


@pytest.mark.parametrize("verb", TUTORIAL)
def test_every_step_of_the_tutorial_succeeds_and_says_so(study, verb):
    spoken = study.spoken[verb]
    assert (spoken.status, spoken.err) == (0, "")
    assert str(study.folder) in spoken.out.replace("\n", "")


@pytest.mark.parametrize(("verb", "following"), list(zip(TUTORIAL[:-1], ["inspect", *TUTORIAL[2:]], strict=True)))
def test_every_step_ends_with_the_next_command(study, verb, following):
    said = study.spoken[verb].out
    assert f"brainlm {following} {study.run if following in ('evaluate', 'embed', 'report') else study.store}" in said


def test_the_store_holds_every_subject_in_one_split(study):
    store = Store.open(study.store)
    table = store.metadata
    assert len(store) == table["subject"].nunique() == 16
    assert set(table["split"]) == {"train", "validation", "test"}
    assert set(table["tr"]) == {2.0}
    assert pd.api.types.is_numeric_dtype(table["age"])
    assert "16 recordings of 16 subjects" in study.spoken["import"].out


def test_inspecting_shows_splits_sites_and_phenotypes(study):
    said = study.spoken["inspect"].out
    for word in ("validation", "north", "age", "10 parcels", "time points"):
        assert word in said


def test_the_run_is_a_checkpoint_with_all_that_belongs_to_a_run(study):
    for name in (*FILES, "config.yaml", "last", "checkpoints/last.ckpt", "logs"):
        assert (study.run / name).exists(), name
    for folder in (study.run, study.run / "last"):
        assert np.isfinite(BrainLM.from_pretrained(folder).embed(Store.open(study.store)[0]).cls).all()


def test_words_override_the_file_and_the_file_overrides_the_preset(study):
    settings = yaml.safe_load((study.run / "config.yaml").read_text())
    assert settings["training"]["epochs"] == 2  # word over file (5)
    assert settings["model"]["encoder_depth"] == 1  # word over file (2)
    assert settings["model"]["encoder_width"] == 16  # file over preset (96)
    assert settings["model"]["decoder_depth"] == 1  # the preset's
    assert settings["training"]["mask"] == "random:0.5+future:1"
    assert BrainLM.from_pretrained(study.run).config.encoder_depth == 1


def test_the_provenance_says_what_was_done_on_which_data(study):
    provenance = json.loads((study.run / "provenance.json").read_text())
    store = Store.open(study.store)
    assert provenance["preset"] == "tiny"
    assert provenance["data"]["fingerprint"] == store.fingerprint
    assert provenance["data"]["training_subjects"] == sorted(store.select(split="train").metadata["subject"])
    assert "val_r2" in provenance["metrics"]


def test_another_store_is_evaluated_beside_it_and_not_into_the_run_folder(study, speak, make_tables, tmp_path):
    make_tables(tmp_path / "in", num_subjects=12)
    parcels, other = study.store / "parcels.tsv", tmp_path / "other.store"
    assert speak("import", tmp_path / "in", other, "--parcels", parcels, "--tr", 2).status == 0
    before = (study.run / "evaluation.json").read_bytes()
    spoken = speak("evaluate", study.run, other, "--num_bootstrap", 2, "--allow_seen")
    assert spoken.status == 0, spoken.err
    assert (study.run / "evaluation.json").read_bytes() == before
    assert (tmp_path / f"other.{study.run.name}" / "evaluation.json").is_file()


def test_the_evaluation_compares_the_model_with_baselines_on_unseen_subjects(study):
    results = json.loads((study.run / "evaluation.json").read_text())
    test = Store.open(study.store).select(split="test")
    assert results["format_version"] == 1
    assert results["store"]["num_subjects"] == len(test)
    assert results["settings"]["num_bootstrap"] == 20
    labels = [condition["label"] for condition in results["conditions"]]
    assert labels == [
        *("random 20 %", "random 50 %", "random 75 %", "random 90 %"),
        *("parcel 20 %", "parcel 50 %", "parcel 75 %", "parcel 90 %"),
        *("future 1 patch", "future 2 patches"),
    ]
    for condition in results["conditions"]:
        assert [method["name"] for method in condition["methods"] if method["is_model"]] == ["BrainLM"]
        assert len(condition["methods"]) > 3
        for method in condition["methods"]:
            assert method["r2_low"] <= method["r2"] <= method["r2_high"]
            assert len(method["r2_per_parcel"]) == 10
            assert set(method["r2_per_subject"]) == set(test.metadata["subject"])
    assert (study.run / "examples.npz").is_file()


def test_the_embeddings_have_a_row_a_recording(study):
    table = pd.read_parquet(study.run / "embeddings.parquet")
    store = Store.open(study.store)
    assert table["subject"].tolist() == store.metadata["subject"].tolist()
    expected = BrainLM.from_pretrained(study.run).embed(store[5])
    np.testing.assert_allclose(table["cls"].iloc[5], expected.cls, atol=1e-5)
    with np.load(study.run / "attention.npz") as arrays:
        assert arrays["cls_P"].shape == (10,)


def test_the_report_is_one_page_that_needs_no_internet(study):
    page = (study.run / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    for outside in ('src="http', 'href="http', "@import", "url(http"):
        assert outside not in page.split("</head>")[0]
    assert "random 75 %" in page
    assert "BrainLM" in page


def test_one_bad_table_among_good_ones_is_listed_and_the_rest_is_done(speak, make_tables, tmp_path):
    make_tables(tmp_path, num_subjects=4, num_timepoints=(30, 30))
    (tmp_path / "tables" / "sub-0099_timeseries.tsv").write_bytes(b"\x00\x01binary junk\xff")
    (tmp_path / "tables" / "sub-0098_timeseries.tsv").write_text("")
    words = ("import", tmp_path / "tables", tmp_path / "s.store", "--parcels", tmp_path / "parcels.tsv", "--tr", 2)
    spoken = speak(*words)
    assert spoken.status == 1
    assert "2 left out:" in spoken.out
    for name in ("sub-0098_timeseries.tsv", "sub-0099_timeseries.tsv"):
        assert name in spoken.out
    assert "remedy:" in spoken.out
    assert len(Store.open(tmp_path / "s.store")) == 4


def test_importing_without_saying_which_parcels_is_refused(speak, study, tmp_path):
    spoken = speak("import", study.folder / "tables", tmp_path / "s.store")
    assert spoken.status == 2
    assert "--atlas NAME_OR_PATH or --parcels parcels.tsv" in spoken.err
    assert not (tmp_path / "s.store").exists()


def test_a_store_that_is_there_is_replaced_only_when_asked(speak, make_tables, tmp_path):
    make_tables(tmp_path, num_subjects=2, num_timepoints=(30, 30))
    words = ("import", tmp_path / "tables", tmp_path / "s.store", "--parcels", tmp_path / "parcels.tsv", "--tr", 2)
    assert speak(*words).status == 0
    refused = speak(*words)
    assert refused.status == 2
    assert "exists" in refused.err
    assert "--overwrite" in refused.err
    assert speak(*words, "--overwrite").status == 0


def test_the_same_command_goes_on_with_a_finished_run_without_changing_it(speak, study, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(study.run, run)
    before = (run / "model.safetensors").read_bytes()
    words = ("pretrain", study.store, "--out", run, "--config", study.config)
    same = (*words, "--training.epochs", 2, "--model.encoder_depth=1")
    spoken = speak(*same)
    assert spoken.status == 0
    assert f"going on with {run}" in spoken.out
    assert (run / "model.safetensors").read_bytes() == before
    other = speak(*words, "--training.epochs", 3, "--model.encoder_depth=1")
    assert other.status == 2
    assert "holds a run with other settings" in other.err
    assert "-  epochs: 2\n+  epochs: 3" in other.err
    anew = speak(*words, "--training.epochs", 1, "--model.encoder_depth=1", "--overwrite")
    assert anew.status == 0
    assert f"pretraining {run}" in anew.out
    assert not (run / "evaluation.json").exists()


def test_a_folder_that_is_no_run_is_not_trained_into(speak, study, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for words in ((), ("--overwrite",)):
        spoken = speak("pretrain", study.store, "--out", tmp_path, "--config", study.config, *words)
        assert spoken.status == 2
        assert "is not a run folder" in spoken.err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("verb", ["evaluate", "embed"])
def test_results_that_are_there_are_not_computed_again_unasked(speak, study, verb):
    file = {"evaluate": "evaluation.json", "embed": "embeddings.parquet"}[verb]
    before = (study.run / file).read_bytes()
    spoken = speak(verb, study.run, study.store)
    assert spoken.status == 2
    assert file in spoken.err
    assert "--overwrite" in spoken.err
    assert spoken.out == ""  # refused before anything was done
    assert (study.run / file).read_bytes() == before


def test_results_can_go_elsewhere(speak, study, tmp_path):
    chosen = ("--select", "site=north,south", "--num_bootstrap", 10, "--max_windows_per_recording", 1)
    assert speak("evaluate", study.run, study.store, "--out", tmp_path / "e" / "few.json", *chosen).status == 0
    facts = json.loads((tmp_path / "e" / "few.json").read_text())["store"]
    table = Store.open(study.store).select(split="test", site=["north", "south"]).metadata
    assert facts["num_windows"] == facts["num_recordings"] == len(table)
    assert speak("embed", study.run, study.store, "--out", tmp_path / "f", "--split", "test").status == 0
    assert len(pd.read_parquet(tmp_path / "f" / "embeddings.parquet")) == (
        len(Store.open(study.store).select(split="test"))
    )


def test_subjects_seen_in_training_are_refused_unless_allowed(speak, study, tmp_path):
    few = ("--num_bootstrap", 5, "--max_windows_per_recording", 1)
    words = ("evaluate", study.run, study.store, "--split", "all", "--out", tmp_path / "all.json", *few)
    refused = speak(*words)
    assert refused.status == 2
    assert "trained on subjects it would be judged on" in refused.err
    assert speak(*words, "--allow_seen").status == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--select", "site"), "cannot read the selection 'site'"),
        (("--select", "sight=north"), "no column sight"),
        (("--select", "site=nroth"), "north"),
        (("--split", "tset"), "tset"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(speak, study, tmp_path, words, complaint):
    spoken = speak("evaluate", study.run, study.store, "--out", tmp_path / "e.json", *words)
    assert spoken.status == 2
    assert complaint in spoken.err


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("embed", ("--out", "parcels.tsv/e")),
        ("evaluate", ("--out", "parcels.tsv/e.json", "--num_bootstrap", 5, "--max_windows_per_recording", 1)),
    ],
)
def test_a_place_that_cannot_be_written_is_named(speak, study, monkeypatch, verb, words):
    monkeypatch.chdir(study.folder)
    spoken = speak(verb, study.run, study.store, *words)
    assert spoken.status == 2
    assert "cannot write parcels.tsv/e" in spoken.err
    assert "a part of the path is a file" in spoken.err


@pytest.mark.parametrize("verb", ["inspect", "pretrain", "evaluate", "embed"])
def test_a_store_that_is_none_is_named(speak, study, tmp_path, verb):
    before = (study.run,) if verb in ("evaluate", "embed") else ()
    after = ("--out", tmp_path / "out") if verb != "inspect" else ()
    spoken = speak(verb, *before, tmp_path / "nowhere.store", *after)
    assert spoken.status == 2
    assert "nowhere.store is not a store" in spoken.err


@pytest.mark.parametrize("verb", ["evaluate", "embed"])
def test_a_model_of_other_parcels_is_refused(speak, make_tables, study, tmp_path, verb):
    make_tables(tmp_path, num_subjects=3, num_timepoints=(40, 40))
    parcels = pd.read_csv(tmp_path / "parcels.tsv", sep="\t").iloc[:9]
    parcels.to_csv(tmp_path / "parcels.tsv", sep="\t", index=False)
    for path in (tmp_path / "tables").iterdir():
        pd.read_csv(path, sep="\t", header=None).iloc[:, :9].to_csv(path, sep="\t", header=False, index=False)
    words = ("import", tmp_path / "tables", tmp_path / "s.store", "--parcels", tmp_path / "parcels.tsv", "--tr", 2)
    assert speak(*words).status == 0
    spoken = speak(verb, study.run, tmp_path / "s.store", "--out", tmp_path / "out", "--split", "all")
    assert spoken.status == 2
    assert "does not fit the model" in spoken.err
    assert "10 parcels" in spoken.err


def test_a_damaged_model_is_named(speak, study, tmp_path):
    shutil.copytree(study.run, tmp_path / "run")
    weights = tmp_path / "run" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    spoken = speak("embed", tmp_path / "run", study.store, "--out", tmp_path / "out")
    assert spoken.status == 2
    assert f"{weights} is damaged" in spoken.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--model.num_timepoints", 400), "no recording has a window of 400 time points"),
        (("--model.num_timepoints", 45), "not a whole number of patches"),
        (("--model.parcel_order", "network:yeo7"), "cannot be ordered by 'network:yeo7'"),
        (("--training.batch_size", 500), "an epoch has fewer windows than one step"),
        (("--training.mask", "randon:0.5"), "cannot read the mask 'randon:0.5'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_a_remedy(speak, study, tmp_path, words, complaint):
    spoken = speak("pretrain", study.store, "--out", tmp_path / "run", "--config", study.config, *words)
    assert spoken.status == 2
    assert complaint in spoken.err
    assert "remedy:" in spoken.err


def test_a_command_that_was_refused_for_its_mask_can_be_corrected(speak, study, tmp_path):
    words = ("pretrain", study.store, "--out", tmp_path / "run", "--config", study.config, "--training.epochs", 1)
    assert speak(*words, "--training.mask", "randon:0.5").status == 2
    assert speak(*words, "--training.mask", "random:0.5").status == 0
