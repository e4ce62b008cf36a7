"""What is hidden: exact counts, the same whatever the company, and as random as it should be."""

import pytest
import torch

from brainlm.errors import ConfigError
from brainlm.model.masks import Mask, choose, draw, hide, num_hidden, parse_masks

RANDOM, PARCEL, FUTURE = Mask("random", 0.75), Mask("parcel", 0.5), Mask("future", 2)
MIXTURE = (Mask("random", 0.2), Mask("random", 0.75, weight=2.0), Mask("future", 1), Mask("parcel", 0.3))
ROWS, COLUMNS = 6, 5


def seeds(count: int, *, first: int = 0) -> torch.Tensor:
    return torch.arange(first, first + count, dtype=torch.int64)


def everything(num_windows: int, rows: int = ROWS, columns: int = COLUMNS) -> torch.Tensor:
    return torch.ones(num_windows, rows, columns, dtype=torch.bool)


def some_absent(num_windows: int) -> torch.Tensor:
    """Rows without signal and padded ends; at least three columns and two rows are there."""
    present = everything(num_windows)
    generator = torch.Generator().manual_seed(0)
    for window in present:
        num_rows, num_columns = (int(torch.randint(0, most, (), generator=generator)) for most in (ROWS - 1, 3))
        window[torch.randperm(ROWS, generator=generator)[:num_rows]] = False
        window[:, COLUMNS - num_columns :] = False
    return present


@pytest.mark.parametrize("kind", ["random", "parcel"])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.75, 0.9, 0.99])
@pytest.mark.parametrize(("rows", "columns"), [(6, 5), (7, 3), (1, 10), (53, 10)])
def test_the_number_that_is_said_to_be_hidden_is_hidden(kind: str, share: float, rows: int, columns: int):
    mask = Mask(kind, share)
    hidden = hide((mask,), seeds(20), everything(20, rows, columns))
    assert set(hidden.sum(dim=(1, 2)).tolist()) == {num_hidden((mask,), rows, columns)}


def test_no_grid_and_no_share_makes_the_number_differ_from_the_mask():
    shares = [number / 100 for number in range(1, 100)]
    for rows, columns in [(53, 10), (53, 5), (3, 7), (122, 9), (424, 10), (25, 2)]:
        for share in shares:
            mask = (Mask("random", share),)
            assert int(hide(mask, seeds(1), everything(1, rows, columns)).sum()) == num_hidden(mask, rows, columns), (
                rows,
                columns,
                share,
            )


def test_the_number_that_is_said_to_be_hidden_of_the_future_is_hidden():
    hidden = hide((FUTURE,), seeds(4), everything(4))
    assert set(hidden.sum(dim=(1, 2)).tolist()) == {num_hidden((FUTURE,), ROWS, COLUMNS)} == {2 * ROWS}


def test_of_a_mixture_no_number_is_said():
    assert num_hidden(MIXTURE, ROWS, COLUMNS) is None


def test_a_share_is_taken_of_what_is_present():
    present = some_absent(50)
    counts = hide((RANDOM,), seeds(50), present).sum(dim=(1, 2)).tolist()
    assert counts == [round(0.75 * number) for number in present.sum(dim=(1, 2)).tolist()]
    rows = hide((PARCEL,), seeds(50), present).any(dim=2).sum(dim=1).tolist()
    assert rows == [round(0.5 * number) for number in present.any(dim=2).sum(dim=1).tolist()]


@pytest.mark.parametrize("masks", [(RANDOM,), (PARCEL,), (FUTURE,), MIXTURE])
def test_absent_patches_are_never_hidden(masks: tuple[Mask, ...]):
    present = some_absent(200)
    hidden = hide(masks, seeds(200), present)
    assert not (hidden & ~present).any()
    assert hidden.any(dim=(1, 2)).all()


@pytest.mark.parametrize("masks", [(RANDOM,), (PARCEL,), (FUTURE,), MIXTURE])
def test_a_mask_is_a_function_of_its_seed_and_not_of_batch_mates(masks: tuple[Mask, ...]):
    present = some_absent(30)
    together = hide(masks, seeds(30), present)
    alone = torch.cat([hide(masks, seeds(1, first=number), present[number : number + 1]) for number in range(30)])
    assert torch.equal(together, alone)
    backwards = hide(masks, seeds(30).flip(0), present.flip(0))
    assert torch.equal(together, backwards.flip(0))


def test_two_seeds_give_two_masks():
    hidden = hide((RANDOM,), seeds(50), everything(50))
    assert len(hidden.flatten(1).unique(dim=0)) == 50


def test_a_parcel_is_hidden_whole_or_not_at_all():
    present = some_absent(50)
    hidden = hide((PARCEL,), seeds(50), present)
    for window, there in zip(hidden, present, strict=True):
        for row, exists in zip(window, there, strict=True):
            assert torch.equal(row, exists) or not row.any()


def test_the_future_is_the_last_columns_that_hold_data():
    present = some_absent(30)
    hidden = hide((FUTURE,), seeds(30), present)
    for window, there in zip(hidden, present, strict=True):
        last = max(column for column in range(COLUMNS) if there[:, column].any())
        for column in range(COLUMNS):
            expected = there[:, column] if last - 2 < column <= last else torch.zeros(ROWS, dtype=torch.bool)
            assert torch.equal(window[:, column], expected)


def test_a_future_that_leaves_nothing_to_see_is_refused():
    with pytest.raises(ConfigError, match=r"of 5 patches leaves nothing to see(.|\n)*fewer than the window"):
        hide((Mask("future", 5),), seeds(2), everything(2))


def test_every_patch_is_hidden_equally_often_and_independently_of_its_neighbours():
    num_windows = 4000
    hidden = hide((Mask("random", 0.5),), seeds(num_windows), everything(num_windows)).flatten(1).double()
    deviation = (0.25 / num_windows) ** 0.5
    assert (hidden.mean(dim=0) - 0.5).abs().max() < 5 * deviation
    together = (hidden.T @ hidden) / num_windows  # for drawing 15 of 30 without replacement: 1/2 x 14/29
    apart = together[~torch.eye(30, dtype=torch.bool)]
    assert (apart - 0.5 * 14 / 29).abs().max() < 5 * deviation
    by_seed = (hidden[1:] * hidden[:-1]).mean(dim=0)  # neighbouring seeds
    assert (by_seed - 0.25).abs().max() < 5 * deviation


def test_a_mixture_follows_its_weights_and_each_window_has_one_of_its_masks():
    num_windows = 4000
    present = everything(num_windows)
    hidden = hide(MIXTURE, seeds(num_windows), present)
    parts = torch.stack([hide((mask,), seeds(num_windows), present) for mask in MIXTURE])
    same = (parts == hidden).all(dim=(2, 3))  # mask x window
    assert (same.sum(dim=0) == 1).all()
    shares = same.double().mean(dim=1)
    for share, mask in zip(shares.tolist(), MIXTURE, strict=True):
        expected = mask.weight / 5
        assert abs(share - expected) < 5 * (expected * (1 - expected) / num_windows) ** 0.5


def test_draws_are_splitmix64():
    def reference(seed: int, number: int) -> int:
        word = 2**64 - 1
        state = (seed + number * 0x9E3779B97F4A7C15) & word
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & word
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & word
        state ^= state >> 31
        return state - 2**64 if state >= 2**63 else state

    values = [0, 1, -1, 2**63 - 1, -(2**63), 123456789]
    found = draw(torch.tensor(values, dtype=torch.int64), 7)
    assert found.tolist() == [[reference(seed, number) for number in range(1, 8)] for seed in values]


def test_a_chosen_subset_has_its_share_and_is_drawn_apart_from_the_mask():
    hidden_BN = hide((RANDOM,), seeds(200), some_absent(200)).flatten(1)
    chosen_BN = choose(0.25, seeds(200), hidden_BN)
    assert not (chosen_BN & ~hidden_BN).any()
    assert chosen_BN.sum(dim=1).tolist() == [round(0.25 * number) for number in hidden_BN.sum(dim=1).tolist()]
    alone = torch.cat([choose(0.25, seeds(1, first=n), hidden_BN[n : n + 1]) for n in range(200)])
    assert torch.equal(chosen_BN, alone)


def test_what_is_chosen_does_not_depend_on_what_was_hidden_elsewhere():
    num_windows = 1000
    whole = everything(num_windows)
    hidden_BN = hide((Mask("random", 0.5),), seeds(num_windows), whole).flatten(1)
    chosen_BN = choose(0.5, seeds(num_windows), whole.flatten(1))
    assert abs(float((hidden_BN & chosen_BN).double().mean()) - 0.25) < 0.01


def test_which_mask_of_a_mixture_a_window_gets_does_not_depend_on_what_it_hides():
    num_windows = 8000
    hidden = hide((Mask("random", 0.2), Mask("random", 0.6)), seeds(num_windows), everything(num_windows)).flatten(1)
    for share in (0.2, 0.6):
        of_mask = hidden[hidden.sum(dim=1) == round(30 * share)].double()
        deviation = (share * (1 - share) / len(of_mask)) ** 0.5
        assert (of_mask.mean(dim=0) - share).abs().max() < 5 * deviation


def test_masks_are_read_from_text():
    assert parse_masks("random:0.75") == (RANDOM,)
    assert parse_masks("future:2") == (FUTURE,)
    assert parse_masks("random:0.2 + random:0.75@2 + future:1+parcel:.3") == MIXTURE


@pytest.mark.parametrize(
    "text",
    ["", "random", "randon:0.5", "random:", "random:half", "0.75", "random:0.5+", "random:0.5@often", "random:0.5@1@2"],
)
def test_text_that_is_no_mask_is_an_error_that_shows_how_to_write_one(text: str):
    with pytest.raises(ConfigError, match=r"cannot read the mask(.|\n)*kind:amount(.|\n)*random:0\.75"):
        parse_masks(text)


@pytest.mark.parametrize(
    "text",
    [
        "random:0",
        "random:1",
        "random:-0.5",
        "parcel:75",
        "future:0",
        "future:0.5",
        "future:1.5",
        "future:inf",
        "random:nan",
        "random:0.5@0",
        "random:0.5@-1",
        "random:0.5@nan",
        "random:0.5@inf",
    ],
)
def test_amounts_and_weights_that_make_no_sense_are_refused(text: str):
    with pytest.raises(ConfigError, match=r"cannot be made(.|\n)*a share between 0 and 1(.|\n)*future:1"):
        parse_masks(text)


def test_masks_are_called_what_tables_call_them():
    labels = [Mask(*parts).label for parts in (("random", 0.75), ("parcel", 0.2), ("future", 1), ("future", 2.0))]
    assert labels == ["random 75 %", "parcel 20 %", "future 1 patch", "future 2 patches"]
