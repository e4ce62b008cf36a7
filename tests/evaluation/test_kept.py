"""What was computed is not computed again, unless it depends on something else or its file is damaged."""

import numpy as np

from brainlm.evaluation.kept import kept_arrays, key_of


def test_arrays_are_computed_once_for_each_key(tmp_path, caplog):
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.arange(3.0)}

    for key in (key_of("x", 1), key_of("x", 1), key_of("x", 2)):
        np.testing.assert_array_equal(kept_arrays(tmp_path / "maps", "thing", key, compute)["a"], [0, 1, 2])
    assert len(calls) == 2
    path = tmp_path / "maps" / f"thing-{key_of('x', 1)}.npz"
    path.write_bytes(path.read_bytes()[:50])
    assert kept_arrays(tmp_path / "maps", "thing", key_of("x", 1), compute)["a"][2] == 2
    assert len(calls) == 3
    assert "damaged" in caplog.text
