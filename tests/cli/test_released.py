"""The published weights on the command line: one command from a download to vectors, checked conversion, terms."""

import dataclasses
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from published_folder import IMAGE, SEQUENCE, weights_of, write_published

from brainlm.atomic import locked
from brainlm.cli.released import results_folder
from brainlm.data.atlas import Atlas
from brainlm.data.parcels import Parcels
from brainlm.data.resampling import resampled
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_population, synthetic_recordings
from brainlm.files import CHECKSUM, sealed
from brainlm.inference import download
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.folder import FILES, read_scaler
from brainlm.inference.identity import weights_sha256

FIXTURES = ("old_13M_tiny", "vitmae_111M_tiny", "vitmae_650M_tiny")
SPLITS = ("train", "train", "train", "train", "validation", "validation", "test", "test")


def write_store(path: Path, parcels: Parcels, *, atlas: str, num_timepoints, tr=0.735, splits=SPLITS) -> Store:
    """``tr`` (s) of all recordings, or a list with that of each."""
    population = synthetic_population(num_parcels=len(parcels), num_networks=3)
    trs = tr if isinstance(tr, list) else [tr] * len(splits)
    drawn = synthetic_recordings(population, num_subjects=len(splits), num_timepoints=num_timepoints, tr=trs[0])
    with StoreWriter(path, parcels, atlas=atlas) as writer:
        for recording, split, own_tr in zip(drawn, splits, trs, strict=True):
            writer.add(dataclasses.replace(recording, atlas=atlas, phenotypes={}, tr=own_tr), split=split)
    return Store.open(path)


@pytest.fixture
def atlas(shared, monkeypatch) -> Path:
    monkeypatch.setenv("BRAINLM_ATLAS_DIR", str(shared / "atlas"))
    return shared / "atlas"


@pytest.fixture
def study(atlas, tmp_path) -> Path:
    """A folder with a published checkpoint and a store of A424, as after a download and an import."""
    assert atlas.is_dir()
    write_published(tmp_path / "vitmae_111M", IMAGE)
    write_store(tmp_path / "study.store", Atlas.load("A424").parcels, atlas="A424", num_timepoints=(200, 230))
    return tmp_path


@pytest.fixture
def small(tmp_path) -> Path:
    """The same with six parcels, for which no atlas is needed; the 13M's layout."""
    population = synthetic_population(num_parcels=6, num_networks=3)
    population.parcels.write(tmp_path / "parcels.tsv")
    write_published(tmp_path / "mini_13M", SEQUENCE)
    write_store(tmp_path / "mini.store", population.parcels, atlas="mini", num_timepoints=(90, 130))
    return tmp_path


@pytest.fixture
def converted(small, speak) -> Path:
    spoken = speak("convert", small / "mini_13M", small / "ours", "--parcels", small / "parcels.tsv")
    assert (spoken.status, spoken.err) == (0, "")
    return small / "ours"


@pytest.fixture
def unfittable(monkeypatch):
    """Fitting a scaler, long work on a large store, fails the test."""

    def fit_scaler(*_, **__):
        raise AssertionError("fitted")

    monkeypatch.setattr(BrainLM, "fit_scaler", fit_scaler)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- embed


def test_one_command_turns_a_store_into_vectors_with_published_weights(study, speak, caplog):
    before = content_of(study / "vitmae_111M")
    with caplog.at_level(logging.WARNING):
        spoken = speak("embed", study / "vitmae_111M", study / "study.store")
    assert (spoken.status, spoken.err) == (0, "")
    assert any("fitted on 4 recordings only" in message for message in caplog.messages)
    written = study / "study.vitmae_111M"
    assert {path.name for path in written.iterdir()} == {
        *("embeddings.parquet", "attention.npz", "scaler.safetensors", "provenance.json")
    }
    assert content_of(study / "vitmae_111M") == before
    for words in (
        "CC BY-NC-ND 4.0",
        "vandijklab/brainlm",
        "atlas: A424",
        "GPL-3.0",
        "scaling fitted on the store's 4 training recordings",
        "never published",
        "8 recordings, 16 dimensions",
        str(written / "embeddings.parquet"),
        str(written / "scaler.safetensors"),
    ):
        assert words in spoken.out.replace("\n", "")

    store = Store.open(study / "study.store")
    model = BrainLM.from_pretrained(study / "vitmae_111M").fit_scaler(store.select(split="train"))
    table = pd.read_parquet(written / "embeddings.parquet")
    assert len(table) == 8
    for index in (0, 7):
        np.testing.assert_allclose(table["cls"].iloc[index], model.embed(store[index]).cls, atol=1e-5)
    fitted_on = json.loads((written / "provenance.json").read_text())["scaler_fitted_on"]
    assert fitted_on["store"] == "study.store"
    assert (fitted_on["split"], fitted_on["num_recordings"]) == ("train", 4)
    assert fitted_on["fingerprint"] == store.select(split="train").fingerprint


def test_results_are_not_replaced_unasked_and_are_the_same_again(study, speak):
    words = ("embed", study / "vitmae_111M", study / "study.store")
    assert speak(*words).status == 0
    first = content_of(study / "study.vitmae_111M")
    again = speak(*words)
    assert again.status == 2
    assert "embeddings.parquet exists" in again.err
    assert "--overwrite" in again.err
    assert again.out == ""  # refused before anything is read or computed
    assert content_of(study / "study.vitmae_111M") == first
    assert speak(*words, "--overwrite").status == 0
    assert content_of(study / "study.vitmae_111M") == first


def test_results_go_where_they_are_wanted(study, speak):
    spoken = speak(
        "embed", study / "vitmae_111M", study / "study.store", "--out", study / "there" / "deep", "--split", "test"
    )
    assert spoken.status == 0
    assert len(pd.read_parquet(study / "there" / "deep" / "embeddings.parquet")) == 2
    assert "4 training recordings" in spoken.out  # whatever is embedded
    assert not (study / "study.vitmae_111M").exists()


def test_a_store_without_a_training_split_is_scaled_by_all_its_recordings(converted, small, speak):
    parcels = Parcels.read(small / "parcels.tsv")
    write_store(small / "bare.store", parcels, atlas="mini", num_timepoints=60, splits=("test", "test"))
    spoken = speak("embed", converted, small / "bare.store")
    assert spoken.status == 0
    assert "the store's 2 recordings; it has no training split" in spoken.out
    assert json.loads((small / "bare.ours" / "provenance.json").read_text())["scaler_fitted_on"]["split"] == "all"


def test_slow_recordings_are_refused_until_resampling_is_asked_for(converted, small, speak):
    parcels = Parcels.read(small / "parcels.tsv")
    write_store(small / "slow.store", parcels, atlas="mini", num_timepoints=60, tr=2.0, splits=("train", "train"))
    refused = speak("embed", converted, small / "slow.store")
    assert refused.status == 2
    assert "0.735 s, give or take 15 %" in refused.err
    assert "--resample" in refused.err
    assert not (small / "slow.ours").exists()
    assert speak("embed", converted, small / "slow.store", "--resample").status == 0
    assert len(pd.read_parquet(small / "slow.ours" / "embeddings.parquet")) == 2


@pytest.mark.usefixtures("unfittable")
@pytest.mark.parametrize("slow", [("train", "test"), ("test",), ("train",)])
def test_a_wrong_repetition_time_is_refused_before_the_scaling_is_fitted(converted, small, speak, slow):
    parcels = Parcels.read(small / "parcels.tsv")
    trs = [2.0 if split in slow else 0.735 for split in SPLITS]
    write_store(small / "slow.store", parcels, atlas="mini", num_timepoints=60, tr=trs)
    refused = speak("embed", converted, small / "slow.store", "--split", "test")
    assert refused.status == 2
    assert "slow.store has another repetition time" in refused.err
    assert "scaling fitted" not in refused.out
    write_store(small / "fine.store", parcels, atlas="mini", num_timepoints=60)
    # Where nothing is refused, it goes on to the fitting, which fails here.
    assert speak("embed", converted, small / "fine.store", "--split", "test").status == 3


def test_with_resampling_the_scaling_is_fitted_on_what_the_model_sees(converted, small, speak):
    parcels = Parcels.read(small / "parcels.tsv")
    trs = [2.0, 0.735] * 4
    store = write_store(small / "slow.store", parcels, atlas="mini", num_timepoints=60, tr=trs)
    assert speak("embed", converted, small / "slow.store", "--resample").status == 0
    found = read_scaler(small / "slow.ours")
    training = [store[index] for index in range(4)]
    used = [resampled(recording, 0.735) for recording in training]
    np.testing.assert_array_equal(found.iqr_P, Scaler.fit_recordings([one.bold for one in used]).iqr_P)
    assert not np.array_equal(found.iqr_P, Scaler.fit_recordings([one.bold for one in training]).iqr_P)
    assert json.loads((small / "slow.ours" / "provenance.json").read_text())["scaler_fitted_on"]["resample"] is True


def test_a_store_of_other_parcels_is_refused(study, small, speak):
    for verb in ("embed", "evaluate"):
        refused = speak(verb, study / "vitmae_111M", small / "mini.store")
        assert refused.status == 2
        assert "424 parcels (A424)" in refused.err
        assert "6 parcels" in refused.err
        assert "scaling fitted" not in refused.out


def test_a_scaler_that_was_fitted_once_is_used_for_other_studies(converted, small, speak):
    model = BrainLM.from_pretrained(converted)
    model.fit_scaler(Store.open(small / "mini.store")).save_pretrained(small / "fitted")
    before = content_of(small / "fitted")
    spoken = speak("embed", small / "fitted", small / "mini.store")
    assert spoken.status == 0
    assert "scaling fitted" not in spoken.out
    assert "CC BY-NC-ND 4.0" in spoken.out
    assert {path.name for path in (small / "mini.fitted").iterdir()} == {"embeddings.parquet", "attention.npz"}
    assert content_of(small / "fitted") == before
    table = pd.read_parquet(small / "mini.fitted" / "embeddings.parquet")
    np.testing.assert_allclose(table["cls"].iloc[2], model.embed(Store.open(small / "mini.store")[2]).cls, atol=1e-5)


# ---- terms


@pytest.fixture
def fetched(small, converted, monkeypatch):
    """Stands in for the Hub: what is asked of it, and what the user had been told by then."""
    told = []

    def fetch(named):
        told.append((str(named), sys.stdout.getvalue()))
        return converted if named.folder == "ours" else small / "mini_13M"

    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.chdir(small)
    return told


TERMS = ("CC BY-NC-ND 4.0", "atlas: A424")


@pytest.mark.parametrize("verb", ["embed", "evaluate", "convert"])
def test_terms_are_said_before_anything_is_downloaded_and_once(small, speak, fetched, verb):
    if verb == "convert":
        words = ("vandijklab/brainlm", small / "again", "--subfolder", "old_13M", "--parcels", small / "parcels.tsv")
    else:
        words = ("vandijklab/brainlm/ours", small / "mini.store", *(["--num_bootstrap", 2] * (verb == "evaluate")))
    spoken = speak(verb, *words)
    assert spoken.status == 0
    (asked,) = fetched
    assert asked[0] == ("vandijklab/brainlm/old_13M" if verb == "convert" else "vandijklab/brainlm/ours")
    for words in TERMS:
        assert asked[1].count(words) == 1
        assert spoken.out.count(words) == 1


def test_terms_of_other_models_on_the_hub_are_said_once_they_are_known(small, speak, fetched):
    assert speak("embed", "lab/copy/ours", small / "mini.store").status == 0
    ((_, before),) = fetched
    assert "CC BY-NC-ND 4.0" not in before
    spoken = speak("embed", "lab/copy/ours", small / "mini.store", "--overwrite")
    assert spoken.out.count("CC BY-NC-ND 4.0") == 1  # those of published weights that someone copied


@pytest.mark.parametrize("verb", ["embed", "evaluate"])
def test_nothing_is_downloaded_for_a_store_that_is_not_there(small, speak, fetched, verb):
    spoken = speak(verb, "vandijklab/brainlm/old_13M", small / "nowhere.store")
    assert spoken.status == 2
    assert not fetched
    assert "CC BY-NC-ND 4.0" not in spoken.out


# ---- where results go


@pytest.mark.parametrize(
    ("model", "store", "expected"),
    [
        ("old_13M", "study.store", "study.old_13M"),
        ("weights/old_13M", "data/study.store", "data/study.old_13M"),
        ("weights/old_13M/", "data/study.store/", "data/study.old_13M"),
        ("vandijklab/brainlm/old_13M", "study.store", "study.old_13M"),
        ("lab/model", "study.store", "study.model"),
        ("old_13M", "study", "study.old_13M"),
        ("old_13M", "study.v2", "study.v2.old_13M"),
        ("old_13M", "study.v2.store", "study.v2.old_13M"),
        ("a.b", "study.store", "study.a.b"),
    ],
)
def test_results_stand_beside_the_store_under_both_names(model, store, expected):
    assert results_folder(model, Path(store)) == Path(expected)


def test_results_of_the_store_one_is_in_stand_beside_it(tmp_path, monkeypatch):
    (tmp_path / "study.store" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "study.store")
    assert results_folder("old_13M", Path()) == tmp_path / "study.old_13M"
    monkeypatch.chdir(tmp_path / "study.store" / "inside")
    assert results_folder("old_13M", Path("..")) == tmp_path / "study.old_13M"


# ---- convert


@pytest.mark.parametrize("name", FIXTURES)
def test_a_conversion_is_checked_against_the_authors_outputs(atlas, shared, speak, tmp_path, name):
    assert atlas.is_dir()
    official = shared / "fixtures" / "official" / name
    spoken = speak("convert", official, tmp_path / "ours", "--check", official / "expected.npz")
    assert (spoken.status, spoken.err) == (0, "")
    for words in ("prediction", "mask", "loss", "embed_no_mask", "cls_attention_last", "all within 0.0001"):
        assert words in spoken.out
    assert f"next: brainlm embed {tmp_path / 'ours'} STORE" in spoken.out
    assert "CC BY-NC-ND 4.0" in spoken.out
    assert "statistics were never published" in spoken.out
    assert set(FILES) <= {path.name for path in (tmp_path / "ours").iterdir()}
    model = BrainLM.from_pretrained(tmp_path / "ours")
    assert f"{model.network.num_parameters:,} parameters, {len(model.parcels)} parcels" in spoken.out
    assert not model.scaler.fitted
    again = speak("convert", official, tmp_path / "ours", "--check", official / "expected.npz")
    assert again.status == 2
    assert "--overwrite" in again.err
    assert speak("convert", official, tmp_path / "ours", "--overwrite").status == (2 if "13M" in name else 0)


@pytest.mark.parametrize("name", FIXTURES)
def test_a_weight_that_differs_shows_and_the_folder_stays_readable(atlas, shared, speak, tmp_path, name):
    assert atlas.is_dir()
    folder = tmp_path / name
    shutil.copytree(shared / "fixtures" / "official" / name, folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights["decoder.decoder_embed.weight"][3, 4] += 1e-2
    torch.save(weights, folder / "pytorch_model.bin")
    spoken = speak("convert", folder, tmp_path / "ours", "--check", folder / "expected.npz")
    assert spoken.status == 1
    last = next(line for line in spoken.out.splitlines() if "apart" in line)
    assert last.startswith("more than 0.0001 apart: prediction")
    assert "embed_no_mask" not in last  # the encoder is as it was
    assert len(BrainLM.from_pretrained(tmp_path / "ours").parcels) in (48, 424)


def test_outputs_of_another_layout_are_refused_before_anything_is_written(atlas, shared, speak, tmp_path):
    assert atlas.is_dir()
    fixtures = shared / "fixtures" / "official"
    for one, other in zip(FIXTURES, (*FIXTURES[1:], FIXTURES[0]), strict=True):
        spoken = speak("convert", fixtures / one, tmp_path / "ours", "--check", fixtures / other / "expected.npz")
        assert spoken.status == 2
        assert "made from another input" in spoken.err
        assert not (tmp_path / "ours").exists()


def expected_of(small: Path) -> Path:
    parcels = Parcels.read(small / "parcels.tsv")
    signal = np.zeros((1, 6, 40), np.float32)
    np.savez(small / "expected.npz", signal=signal, xyz=parcels.coordinates, embed_no_mask=np.ones((1, 25, 16)))
    return small / "expected.npz"


def test_outputs_of_other_coordinates_are_refused(small, speak):
    parcels = Parcels.read(small / "parcels.tsv")
    Parcels(parcels.table.assign(y=parcels.table["y"] + 1)).write(small / "moved.tsv")
    words = ("convert", small / "mini_13M", small / "ours", "--check", expected_of(small))
    spoken = speak(*words, "--parcels", small / "moved.tsv")
    assert spoken.status == 2
    assert "made from another input: xyz" in spoken.err
    assert "parcel 1 of the model at" in spoken.err
    assert speak(*words, "--parcels", small / "parcels.tsv", "--overwrite").status == 1  # ones are no embedding


def test_outputs_that_cannot_be_read_are_refused_before_anything_is_written(small, speak):
    path = expected_of(small)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-10], b"no zip at all"):
        path.write_bytes(content)
        spoken = speak("convert", small / "mini_13M", small / "ours", "--check", path)
        assert spoken.status == 2
        assert f"{path} cannot be read" in spoken.err
    assert "cannot be read" in speak("convert", small / "mini_13M", small / "o", "--check", small / "nowhere.npz").err
    assert not (small / "ours").exists()


def test_weights_of_other_parcels_need_their_table(small, speak):
    spoken = speak("convert", small / "mini_13M", small / "ours")
    assert spoken.status == 2
    assert "a table of 6 parcels" in spoken.err
    assert "--parcels" in spoken.err
    missing = speak("convert", small / "mini_13M", small / "ours", "--parcels", small / "nowhere.tsv")
    assert missing.status == 2
    assert "no parcels table" in missing.err


def test_a_published_folder_is_never_overwritten_by_its_conversion(small, speak):
    before = content_of(small / "mini_13M")
    words = ("convert", small / "mini_13M", small / "mini_13M", "--parcels", small / "parcels.tsv", "--overwrite")
    spoken = speak(*words)
    assert spoken.status == 2
    assert "is the published checkpoint itself" in spoken.err
    assert content_of(small / "mini_13M") == before


KILLED_CONVERSION = """
import os, signal, sys
from brainlm.cli.main import main
from brainlm.inference import folder
folder.write_network = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


def test_a_conversion_killed_while_it_replaces_another_loses_nothing_and_can_be_run_again(converted, small, speak):
    before = content_of(converted)
    table = pd.read_csv(small / "parcels.tsv", sep="\t")
    table.assign(name=[f"new {name}" for name in table["name"]]).to_csv(small / "renamed.tsv", sep="\t", index=False)
    words = ("convert", small / "mini_13M", converted, "--parcels", small / "renamed.tsv", "--overwrite")
    done = subprocess.run([sys.executable, "-c", KILLED_CONVERSION, *map(str, words)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert content_of(converted) == before
    assert speak(*words).status == 0
    assert "new " in (converted / "parcels.tsv").read_text()
    assert not list(small.glob(".*.writing"))


def test_a_file_is_no_place_for_a_folder(small, speak):
    (small / "file").write_text("precious")
    spoken = speak("convert", small / "mini_13M", small / "file", "--overwrite")
    assert spoken.status == 2
    assert "is a file" in spoken.err
    assert (small / "file").read_text() == "precious"


def test_what_is_no_published_checkpoint_is_told(converted, small, speak):
    for folder, found in ((converted, "model.safetensors"), (small / "mini.store", "manifest.json")):
        spoken = speak("convert", folder, small / "again")
        assert spoken.status == 2
        assert "is no published checkpoint" in spoken.err
        assert found in spoken.err
        assert "old_13M, vitmae_111M, vitmae_650M" in spoken.err
    assert speak("convert", small / "nowhere", small / "again").status == 2


def test_a_subfolder_is_converted(small, speak):
    words = (small / "ours", "--parcels", small / "parcels.tsv")
    assert speak("convert", small, *words, "--subfolder", "mini_13M").status == 0
    several = speak("convert", small, *words, "--overwrite", "--subfolder", "mini")
    assert several.status == 2
    assert "mini_13M" in several.err


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("verb", ["embed", "evaluate", "convert"])
def test_a_pickle_that_would_run_something_is_refused_by_every_verb(small, speak, verb):
    torch.save(weights_of(SEQUENCE) | {"vit.layernorm.bias": Touch(small / "t")}, small / "mini_13M/pytorch_model.bin")
    (small / "mini_13M" / "config.json").write_text(json.dumps(SEQUENCE))
    words = (small / "ours", "--parcels", small / "parcels.tsv") if verb == "convert" else (small / "mini.store",)
    spoken = speak(verb, small / "mini_13M", *words)
    assert spoken.status == 2
    assert not (small / "t").exists()
    if verb == "convert":  # the others lack the parcels, and do not come so far
        assert "could run any program on this computer" in spoken.err
        assert not (small / "ours").exists()


# ---- evaluate


def test_published_weights_are_evaluated_beside_the_baselines(converted, small, speak, caplog):
    before = content_of(converted)
    with caplog.at_level(logging.WARNING):
        spoken = speak("evaluate", converted, small / "mini.store", "--num_bootstrap", 10)
    assert spoken.status == 0
    said = spoken.out.replace("\n", "")
    assert "CC BY-NC-ND 4.0" in said
    assert "scaling fitted on the store's 4 training recordings" in said
    results = json.loads((small / "mini.ours" / "evaluation.json").read_text())
    assert results["store"]["num_recordings"] == 2
    assert {"random 75 %", "future 1 patch"} <= {condition["label"] for condition in results["conditions"]}
    for condition in results["conditions"]:
        assert all(np.isfinite(method["r2"]) for method in condition["methods"] if method["is_model"])
    assert content_of(converted) == before
    assert any("does not say whom it was trained on" in record.getMessage() for record in caplog.records)
    assert not any("repetition time" in record.getMessage() for record in caplog.records)
    judged = BrainLM.from_pretrained(converted).fit_scaler(Store.open(small / "mini.store").select(split="train"))
    assert results["model"]["weights_sha256"] == weights_sha256(judged)
    again = speak("evaluate", converted, small / "mini.store")
    assert again.status == 2
    assert "--overwrite" in again.err


@pytest.mark.usefixtures("unfittable")
def test_what_cannot_be_evaluated_is_refused_before_the_scaling_is_fitted(converted, small, speak):
    record = json.loads((converted / "provenance.json").read_text())
    del record[CHECKSUM]
    store = Store.open(small / "mini.store")
    record["data"]["training_subjects"] = store.metadata["subject"].tolist()
    (converted / "provenance.json").write_text(json.dumps(sealed(record)))
    seen = speak("evaluate", converted, small / "mini.store")
    assert seen.status == 2
    assert "trained on subjects it would be judged on" in seen.err
    for words in (("--select", "site"), ("--select", "nothing=1")):
        assert speak("evaluate", converted, small / "mini.store", *words).status == 2


def test_an_evaluation_on_slow_recordings_is_warned_of(converted, small, speak, caplog):
    parcels = Parcels.read(small / "parcels.tsv")
    write_store(small / "slow.store", parcels, atlas="mini", num_timepoints=60, tr=2.0)
    with caplog.at_level(logging.WARNING):
        assert speak("evaluate", converted, small / "slow.store", "--num_bootstrap", 5).status == 0
    assert any("repetition time of 2 s, and the model was trained on 0.735 s" in r.getMessage() for r in caplog.records)


# ---- help


def test_the_help_says_what_the_weights_are_and_where_results_go(speak):
    assert "convert" in speak("--help").out
    convert = " ".join(speak("convert", "--help").out.split())
    for words in ("old_13M, vitmae_111M, vitmae_650M", "vandijklab/brainlm", "A424", "authors' outputs"):
        assert words in convert
    embed = " ".join(speak("embed", "--help").out.split())
    for words in ("published folder", "vandijklab/brainlm/old_13M", "study.old_13M for study.store", "repetition time"):
        assert words in embed


def test_embeddings_of_another_store_than_the_runs_own_stand_beside_that_store(tmp_path):
    import json

    from brainlm.data.synthetic import synthetic_store

    own, other = (
        synthetic_store(tmp_path / f"{name}.store", num_subjects=16, num_parcels=10, num_timepoints=40, seed=seed)
        for seed, name in enumerate(("own", "other"))
    )
    run = tmp_path / "run"
    run.mkdir()
    (run / "provenance.json").write_text(json.dumps({"data": {"fingerprint": own.fingerprint}}))
    assert results_folder(run, own.path, of=own) == run
    assert results_folder(run, other.path, of=other) == tmp_path / "other.run"
    assert results_folder(run, other.path) == run


def test_a_second_embed_into_the_same_folder_is_refused_while_the_first_runs(converted, small, speak):
    with locked(small / "mini.ours", of="embeddings.parquet"):
        refused = speak("embed", converted, small / "mini.store")
    assert refused.status == 2
    assert "another process is writing" in refused.err
    assert not (small / "mini.ours").exists()
