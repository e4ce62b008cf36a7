"""Inputs left out are told by reason: what differs from input to input does not hide that the reason is one."""

from brainlm.data.exclusions import group_reasons


def entry(source: str, reason: str, remedy: str = "mend it") -> dict[str, str]:
    return {"source": source, "reason": reason, "remedy": remedy}


def test_messages_that_differ_in_a_number_or_path_are_one_reason():
    found = group_reasons(
        [entry(f"a/sub-{n}.nii.gz", f"a/sub-{n}.nii.gz: mean displacement 0.{n} mm, above 0.5 mm") for n in (6, 7, 8)]
    )
    assert [group.num_inputs for group in found] == [3]
    assert found[0].reason == "…: mean displacement … mm, above 0.5 mm"
    assert found[0].remedy == "mend it"
    assert found[0].examples == "a/sub-6.nii.gz, a/sub-7.nii.gz, a/sub-8.nii.gz"


def test_the_commonest_reason_comes_first_and_a_single_one_keeps_its_words():
    entries = [entry("one.tsv", "one.tsv is 7 letters long")] + [entry(f"{n}.tsv", "no signal") for n in range(5)]
    found = group_reasons(entries)
    assert [(group.num_inputs, group.reason) for group in found] == [(5, "no signal"), (1, "one.tsv is 7 letters long")]
    assert found[0].examples == "0.tsv, 1.tsv, 2.tsv, and 2 more"


def test_brackets_and_colons_around_what_differs_stay():
    entries = [entry(f"/a/{n}.nii", f"/a/{n}.nii: ends early (found: {n} of 99, at {n})") for n in range(2)]
    assert group_reasons(entries)[0].reason == "…: ends early (found: … of 99, at …)"


def test_names_with_spaces_do_not_divide_a_reason():
    found = group_reasons(
        [entry(f"my {word}.nii", f"/x/my {word}.nii: too short") for word in ("scan", "old big scan")]
    )
    assert [group.num_inputs for group in found] == [2]


def test_remedies_of_different_length_show_the_first_and_entries_may_lack_one():
    found = group_reasons([entry("a", "no TR", "give --tr"), entry("b", "no TR", "give the TR with --tr")])
    assert found[0].remedy == "give --tr"
    assert group_reasons([{"source": "a", "reason": "b"}])[0].remedy == ""
    assert group_reasons([]) == ()
