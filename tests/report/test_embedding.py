"""PCA and shares of variance against slow references and known structure."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from brainlm.report.embedding import choose_column, group_share, project, shares
from brainlm.report.run_folder import Embeddings


def test_the_projection_is_that_of_scikit_learn_up_to_sign(rng: np.random.Generator) -> None:
    cls = rng.normal(size=(40, 6)) * np.arange(1, 7)
    found, reference = project(cls), PCA(2).fit(cls)
    np.testing.assert_allclose(np.abs(found.points), np.abs(reference.transform(cls)), atol=1e-9)
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_)


def test_the_projection_does_not_depend_on_the_order_of_recordings(rng: np.random.Generator) -> None:
    cls, order = rng.normal(size=(20, 5)), rng.permutation(20)
    np.testing.assert_allclose(project(cls[order]).points, project(cls).points[order], atol=1e-9)


@pytest.mark.parametrize("shape", [(5, 1), (3, 8)])
def test_few_dimensions_or_equal_vectors_are_no_error(shape: tuple[int, int]) -> None:
    found = project(np.ones(shape))
    assert found.points.shape == (shape[0], 2)
    assert found.explained == (0.0, 0.0)


def test_the_share_of_groups_is_eta_squared(rng: np.random.Generator) -> None:
    cls = rng.normal(size=(30, 4))
    groups = pd.Series(rng.integers(0, 3, 30).astype(str))
    within = sum(((cls[groups == g] - cls[groups == g].mean(axis=0)) ** 2).sum() for g in groups.unique())
    total = ((cls - cls.mean(axis=0)) ** 2).sum()
    assert group_share(cls, groups) == pytest.approx(1 - within / total)


def test_chance_is_the_mean_share_of_shuffled_recordings(rng: np.random.Generator) -> None:
    cls, labels = rng.normal(size=(24, 3)) ** 3, pd.Series(["a", "b", "c", "d"] * 6)
    (share,) = shares(Embeddings(pd.DataFrame({"group": labels}), cls, 0), None)
    shuffled = [group_share(cls, pd.Series(rng.permutation(labels))) for _ in range(500)]
    assert share.chance == pytest.approx(np.mean(shuffled), abs=0.01)


def test_chance_of_a_column_constant_in_subjects_shuffles_whole_subjects(rng: np.random.Generator) -> None:
    subject = np.repeat(np.arange(12), 3)
    cls = rng.normal(size=(12, 4))[subject] * 3 + rng.normal(size=(36, 4))
    sex = np.array(list("FM" * 6))
    metadata = pd.DataFrame(
        {"subject": subject.astype(str), "sex": sex[subject], "age": (20.0 + np.arange(12))[subject]}
    )
    found = {share.column: share for share in shares(Embeddings(metadata, cls, 0), "sex")}
    shuffled = [group_share(cls, pd.Series(rng.permutation(sex)[subject])) for _ in range(500)]
    assert found["sex"].chance == pytest.approx(np.mean(shuffled), abs=0.02)
    assert found["sex"].chance > 1 / 35 + 0.02
    assert found["age"].num_levels is None


def test_a_column_that_decides_everything_has_all_the_variance() -> None:
    cls = np.repeat([[0.0, 1.0], [2.0, 5.0]], 5, axis=0)
    metadata = pd.DataFrame({"task": ["rest"] * 5 + ["pain"] * 5})
    (share,) = shares(Embeddings(metadata, cls, 0), "task")
    assert share.share == pytest.approx(1)


def test_constant_unique_and_empty_columns_have_no_share(rng: np.random.Generator) -> None:
    metadata = pd.DataFrame({"same": "a", "unique": [str(i) for i in range(6)], "empty": [None] * 6})
    assert shares(Embeddings(metadata, rng.normal(size=(6, 2)), 0), None) == ()


def test_the_first_phenotype_with_few_levels_colours_before_site() -> None:
    metadata = pd.DataFrame({"site": list("AABB"), "age": [1.5, 2.5, 3.5, 4.5], "dx": list("abab")})
    metadata["age"] = np.linspace(20, 30, 4)
    assert choose_column(metadata.assign(age=[f"{i}" for i in range(4)]), None) == "age"
    assert choose_column(metadata[["site", "dx"]], None) == "dx"
    assert choose_column(metadata[["site"]], None) == "site"
    assert choose_column(metadata[["site"]].assign(site="A"), None) is None
