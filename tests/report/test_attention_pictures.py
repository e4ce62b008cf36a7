"""Maps as files, and brains that can be turned: complete, the same every time, and cut off from the network."""

import base64
import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_run import make_atlas, make_parcels

from brainlm.data.parcels import Parcels
from brainlm.errors import AtlasError
from brainlm.report.attention_pictures import write_surface, write_view
from brainlm.report.packed_views import pack

PARCELS = make_parcels(30, np.random.default_rng(1))
VALUES = np.linspace(0.5, 1.6, 30)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("atlas") / "atlas.nii.gz"
    make_atlas(PARCELS, path)
    return path


def test_markers_are_drawn_where_there_is_no_label_image(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[3] = np.nan
    assert write_surface(tmp_path / "maps" / "surface.png", PARCELS, None, values, label="attention", centre=1.0)
    with Image.open(tmp_path / "maps" / "surface.png") as picture:
        assert picture.size[0] > 1000
    assert write_view(tmp_path / "view.html", PARCELS, None, values, label="attention")
    assert "connectome" in (tmp_path / "view.html").read_text(encoding="utf-8")


def test_nothing_is_written_where_nothing_says_where_parcels_lie(tmp_path: Path) -> None:
    for write in (write_surface, write_view):
        assert not write(tmp_path / "file", Parcels.unnamed(4), None, np.ones(4), label="x")
        assert not write(tmp_path / "file", PARCELS, None, np.full(30, np.nan), label="x")
    assert not list(tmp_path.iterdir())


def test_a_view_asks_nothing_of_the_network(tmp_path: Path, atlas: Path) -> None:
    for place, image in enumerate((None, atlas)):
        path = tmp_path / f"{place}.html"
        assert write_view(path, PARCELS, image, VALUES, label="a <b> & c", centre=1.0)
        text = path.read_text(encoding="utf-8")
        assert "default-src 'none'" in text[: text.index("<script")]
        page = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
        assert not re.findall(r"<(?:link|iframe|base|object|embed)\b", page)
        assert not re.findall(r"""(?:src|href|action)=(?!["']data:)""", page)
        assert "a &lt;b&gt; &amp; c" in text


def test_the_same_values_give_the_same_view_and_others_another(tmp_path: Path) -> None:
    for name, values in (("a", VALUES), ("b", VALUES), ("c", VALUES[::-1].copy())):
        write_view(tmp_path / name, PARCELS, None, values, label="x")
    texts = [(tmp_path / name).read_text(encoding="utf-8") for name in "abc"]
    assert texts[0] == texts[1] != texts[2]


def test_the_surface_is_painted_where_there_is_a_label_image(tmp_path: Path, atlas: Path) -> None:
    assert write_surface(tmp_path / "a.png", PARCELS, atlas, VALUES, label="t", centre=1.0)
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    is_green = (pixels[..., 1] > pixels[..., 0] + 20) & (pixels[..., 1] > pixels[..., 2] + 20)
    is_purple = (pixels[..., 2] > pixels[..., 1] + 20) & (pixels[..., 0] > pixels[..., 1] + 10)
    assert is_green.mean() > 0.02
    assert is_purple.mean() > 0.02


def test_a_label_image_that_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "atlas.nii.gz").write_bytes(b"not an image")
    with pytest.raises(AtlasError) as caught:
        write_view(tmp_path / "view.html", PARCELS, tmp_path / "atlas.nii.gz", VALUES, label="x")
    assert str(tmp_path / "atlas.nii.gz") in (caught.value.found or "")


def unpacked(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


def test_packed_views_are_whole_again_and_what_they_share_is_held_once() -> None:
    library = "".join(str(number) for number in range(5000))
    documents = [f"<a>{library}", f"<b>{library}1", f"<b>{library}2é"]
    packed = pack(documents)
    assert len(packed.shared) == 2
    whole = [
        unpacked(packed.shared[kind]) + unpacked(rest) for kind, rest in zip(packed.kind_of, packed.rests, strict=True)
    ]
    assert whole == documents
    assert pack(documents) == packed
    assert pack([]).rests == ()
