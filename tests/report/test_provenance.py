"""provenance.json is free: known names get a title, nothing is lost."""

from brainlm.report.provenance import describe, find


def test_known_names_are_found_at_any_depth_and_the_rest_is_listed() -> None:
    content = {
        "command": ["brainlm", "pretrain"],
        "data": {"source": {"description": "pain", "terms": "open"}},
        "x": {"y": 3},
    }
    described = describe(content, {})
    assert dict(described.first) == {"Data": "pain", "Terms": "open", "Command": "brainlm pretrain"}
    assert described.others == (("x.y", "3"),)


def test_an_outer_name_counts_before_an_inner_one() -> None:
    assert find({"training": {"seed": 5}, "seed": 1}, "Seed") == 1


def test_what_is_not_recorded_is_taken_from_the_evaluation() -> None:
    assert ("Scaler", "robust") in describe({}, {"scaler": "robust"}).first


def test_exclusions_are_listed_or_at_least_counted() -> None:
    listed = describe({"data": {"exclusions": [{"source": "a.tsv", "reason": "short", "remedy": "pad"}, "b.tsv"]}}, {})
    assert [entry.source for entry in listed.exclusions] == ["a.tsv", "b.tsv"]
    assert listed.num_exclusions == 2
    assert describe({"data": {"num_exclusions": 3}}, {}).num_exclusions == 3


def test_an_empty_provenance_is_no_error() -> None:
    described = describe({}, {})
    assert (described.first, described.facts, described.others, described.num_exclusions) == ((), (), (), 0)


def test_the_split_is_told_in_words() -> None:
    rule = {
        "fractions": {"validation": 0.1, "test": 0.2},
        "held_out": {"site": ["YALE", "USM"]},
        "rule": "hash",
        "seed": 0,
    }
    shown = dict(describe({"data": {"split": rule | {"columns": {"group": "family", "stratify": None}}}}, {}).first)
    assert shown["Split"] == (
        "by subject: validation 10 %, test 20 %, site YALE, USM held out whole, group family (rule hash, seed 0)"
    )
