"""A verb that writes what another process is writing is refused before it computes; a dead one does not count."""

import json

import pytest

from brainlm import atomic
from brainlm.atomic import locked

WRITTEN = {
    "evaluate": ("evaluation.json", ("--overwrite",)),
    "embed": ("embeddings.parquet", ("--overwrite",)),
    "probe": ("phenotypes/age.5-fold/results.json", ("--target", "age", "--seen", "allow", "--permutations", 0)),
    "finetune": ("phenotypes/age.5-fold/results.json", ("--target", "age", "--seen", "allow")),
    "forecast": ("forecasts/20-20/results.json", ("--context", 20, "--horizon", 20, "--methods", "linear")),
    "attention": ("attention/all/results.json", ("--name", "all")),
    "networks": ("networks/network/results.json", ("--labels", "network", "--split", "all", "--allow_seen")),
}


@pytest.mark.parametrize("verb", WRITTEN)
def test_the_same_result_has_one_writer_at_a_time(speak, study, monkeypatch, verb):
    def too_late(*_, **__):
        raise AssertionError("something was computed first")

    for module in ("attention_verb", "networks_verb", "forecast_verb", "result_verbs", "model_verbs", "phenotype_desk"):
        monkeypatch.setattr(f"brainlm.cli.{module}.fit_if_needed", too_late)
    name, words = WRITTEN[verb]
    path = study.run / name
    with locked(path.parent, of=path.name):
        refused = speak(verb, study.run, study.store, *words)
    assert refused.status == 2, refused.out + refused.err
    assert f"another process is writing {path}" in refused.err


def test_a_lock_ends_with_its_verb_and_one_of_a_dead_process_is_taken(speak, study, tmp_path):
    out = tmp_path / "vectors"
    words = ("embed", study.run, study.store, "--out", out, "--split", "test")
    out.mkdir()
    lock = out / ".embeddings.parquet.lock"
    lock.write_text(json.dumps({"host": atomic.socket.gethostname(), "pid": 2**22 + 1, "started": "1"}))
    assert speak(*words).status == 0
    assert not lock.exists()
    assert speak(*words, "--overwrite").status == 0
    assert not lock.exists()
