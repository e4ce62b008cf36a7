"""What is published names nobody, and still lets leaks be found."""

import json

import pytest

from brainlm.inference.disclosure import public_evaluation, public_provenance, seen_in_training

PRIVATE = {
    "program": "brainlm 0.1.0",
    "command": "brainlm pretrain /srv/ana/secret/a.store --out=/data/lab/run --training.mask random:0.75+future:2",
    "device": "cpu (x86_64)",
    "data": {
        "store": "a.store",
        "fingerprint": "ab12",
        "source": {
            "description": "our study",
            "terms": "ask us",
            "url": "https://x.org/a",
            "notes": "no scan of sub-ANA7",
        },
        "split": {
            "fractions": {"test": 0.2},
            "columns": {"group": "family", "stratify": None},
            "held_out": {"site": ["YALE"], "subject": ["sub-ANA7", "sub-BEN8"], "family": ["KLEIN"]},
        },
        "training_subjects": ["sub-CHI9", "DAN1"],
        "exclusions": [{"source": "/data/sub-ANA7_bold.tsv", "reason": "too short", "remedy": ""}],
    },
    "notes": ["kept", "/srv/ana/notes.txt"],
}
NAMES = ("ANA7", "BEN8", "CHI9", "DAN1", "KLEIN", "/srv", "ana/", "/data", "secret")


def test_no_name_and_no_folder_is_published():
    text = json.dumps(public_provenance(PRIVATE))
    assert [name for name in NAMES if name in text] == []


def test_what_names_nobody_is_kept():
    public = public_provenance(PRIVATE)
    assert public["command"] == "brainlm pretrain a.store --out=run --training.mask random:0.75+future:2"
    assert public["device"] == PRIVATE["device"]
    assert public["notes"] == ["kept", "notes.txt"]
    data = public["data"]
    assert data["source"] == {"description": "our study", "terms": "ask us", "url": "https://x.org/a"}
    assert data["split"]["held_out"] == {"site": ["YALE"], "subject": ["2 of them"], "family": ["1 of them"]}
    assert data["num_exclusions"] == 1
    assert len(data["training_subjects_sha256"]["hashes"]) == 2


def test_the_record_itself_stays_as_it_is():
    before = json.dumps(PRIVATE)
    public_provenance(PRIVATE)
    assert json.dumps(PRIVATE) == before


@pytest.mark.parametrize("record", [PRIVATE, public_provenance(PRIVATE), public_provenance(public_provenance(PRIVATE))])
def test_subjects_of_the_training_are_found_by_name_and_by_hash(record):
    assert seen_in_training(record, ["sub-ANA7", "sub-CHI9", "CHI9", "sub-DAN1"]) == ["CHI9", "sub-CHI9", "sub-DAN1"]
    assert seen_in_training(record, ["sub-ANA7"]) == []


def test_the_same_person_has_another_hash_in_another_data_set():
    other = PRIVATE | {"data": PRIVATE["data"] | {"fingerprint": "cd34"}}
    hashes = [set(public_provenance(p)["data"]["training_subjects_sha256"]["hashes"]) for p in (PRIVATE, other)]
    assert not hashes[0] & hashes[1]


def test_subjects_can_be_left_out_altogether():
    once = public_provenance(PRIVATE, subjects="omitted")
    again = public_provenance(public_provenance(PRIVATE), subjects="omitted")
    for record in (once, again):
        assert "training_subjects_sha256" not in record["data"]
        assert seen_in_training(record, ["sub-CHI9"]) is None


@pytest.mark.parametrize("record", [{}, {"data": {}}, {"data": {"atlas": "A424", "tr_s": [0.735]}}])
def test_records_that_say_little_are_published_as_they_are(record):
    assert public_provenance(record) == record
    assert seen_in_training(record, ["sub-01"]) is None


def test_an_unbalanced_quote_in_a_command_shows_no_folder():
    assert public_provenance({"command": "brainlm pretrain '/srv/ana/x"})["command"] == "brainlm"


def test_scores_of_single_people_are_not_published():
    evaluation = {
        "model": {"run": "/srv/ana/runs/a", "num_parameters": 3},
        "store": {"path": "/data/a.store", "num_subjects": 2},
        "conditions": [{"methods": [{"name": "Zero", "r2": 0.0, "r2_per_subject": {"sub-ANA7": 0.1}}]}],
    }
    public = public_evaluation(evaluation)
    assert public["model"] == {"run": "a", "num_parameters": 3}
    assert public["store"] == {"path": "a.store", "num_subjects": 2}
    assert public["conditions"] == [{"methods": [{"name": "Zero", "r2": 0.0}]}]
    assert public_evaluation(evaluation | {"model": {"run": "runs/ana/b"}})["model"]["run"] == "b"
