"""Does the laboratory read images and labels exactly, and say clearly what is wrong with a file?"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from attnzoo import AttnzooError
from attnzoo.lab.data import balanced, load


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def noise(seed: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(file: Path, images: Sequence[bytes | None], labels: Sequence[Any], column: str = "img") -> None:
    cells = [{"bytes": content, "path": None} for content in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({column: pa.array(cells, kind), "label": labels}), file, row_group_size=2)


def folder(tmp_path: Path) -> Path:
    """Six training images in two files, classes 0 0 0 | 1 1 2, and two test images."""
    write(tmp_path / "train-00000-of-00002.parquet", [png(noise(i)) for i in range(3)], [0, 0, 0])
    write(tmp_path / "train-00001-of-00002.parquet", [png(noise(i)) for i in range(3, 6)], [1, 1, 2])
    write(tmp_path / "test-00000-of-00001.parquet", [png(noise(i)) for i in (6, 7)], [2, 1])
    return tmp_path


def test_digits() -> None:
    from sklearn.datasets import load_digits

    data = load("digits")
    assert (data.name, data.classes, data.shape, data.mirror) == ("digits", 10, (1, 8, 8), False)
    assert (data.train.images.dtype, data.train.labels.dtype) == (torch.uint8, torch.int64)
    shares = data.test.labels.bincount() / (data.train.labels.bincount() + data.test.labels.bincount())
    assert (shares - 500 / 1797).abs().max() < 0.005
    raw = torch.from_numpy(load_digits().data)
    ours = torch.cat([data.train.images, data.test.images]).flatten(1)
    levels = (ours.double() * 16 / 255).round()
    assert len(levels) == 1797
    assert torch.equal(levels.unique(dim=0), raw.unique(dim=0))
    assert set(ours.unique().tolist()) == {round(level * 255 / 16) for level in range(17)}


def test_balanced_takes_each_class_in_turn() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert balanced(labels, 3).tolist() == [0, 3, 5]
    assert balanced(labels, 4).tolist() == [0, 1, 3, 5]
    assert balanced(labels, None).tolist() == balanced(labels, 99).tolist() == [0, 1, 2, 3, 4, 5]


def test_limits() -> None:
    data = load("digits", limit_train=25, limit_test=10)
    assert sorted(data.train.labels.bincount().tolist()) == [2] * 5 + [3] * 5
    assert data.test.labels.bincount().tolist() == [1] * 10
    assert data.fingerprint() == load("digits", limit_train=25, limit_test=10).fingerprint()
    assert data.fingerprint() != load("digits", limit_train=26, limit_test=10).fingerprint()


def test_parquet(tmp_path: Path) -> None:
    data = load(f"parquet:{folder(tmp_path)}")
    assert (data.name, data.classes, data.shape, data.mirror) == (tmp_path.name, 3, (3, 4, 6), True)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 2]
    for row, image in enumerate([*data.train.images, *data.test.images]):
        assert np.array_equal(image.permute(1, 2, 0), noise(row))
    limited = load(f"parquet:{tmp_path}", limit_train=4, limit_test=1)
    assert torch.equal(limited.train.images, data.train.images[[0, 1, 3, 5]])
    assert limited.train.labels.tolist() == [0, 0, 1, 2]
    assert limited.test.labels.tolist() == [2]


def test_parquet_other_names_and_grey_images(tmp_path: Path) -> None:
    grey = noise(0)[..., 0]
    for split in ("train", "validation"):
        write(tmp_path / f"{split}-0.parquet", [png(grey)], [0], column="image")
    data = load(f"parquet:{tmp_path}")
    assert np.array_equal(data.test.images[0], np.stack([grey] * 3))


def jpeg_cut_short() -> bytes:
    buffer = BytesIO()
    Image.fromarray(noise(0, 64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()[:-700]


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        ([png(noise(0)), b"no image"], [0, 0], r"train-0\.parquet, row 1: expected an image"),
        ([png(noise(0)), jpeg_cut_short()], [0, 0], r"row 1: expected an image.*truncated"),
        ([png(noise(0)), None], [0, 0], r"row 1: expected a struct with the image file's 'bytes'"),
        ([png(noise(0)), png(noise(1, 4, 7))], [0, 0], r"row 1: expected 6 x 4 pixels.*got 7 x 4"),
        ([png(np.zeros((4097, 4097), np.uint8))], [0], r"row 0: expected at most 16,777,216 pixels, got 4097 x 4097"),
        ([png(noise(0))], ["cat"], r"expected whole numbers in 'label', got string"),
        ([png(noise(0))] * 2, [0, -1], r"row 1: expected a label of 0 or more, got -1"),
        ([png(noise(0))] * 2, [0, None], r"row 1: expected a label of 0 or more, got None"),
        ([png(noise(0))] * 2, [0, 7], r"without gaps, got 7 among 2"),
        ([], pa.array([], pa.int64()), r"expected labelled images, got no rows"),
    ],
)
def test_bad_rows(tmp_path: Path, images: list[bytes], labels: Any, complaint: str) -> None:
    write(tmp_path / "train-0.parquet", images, labels)
    write(tmp_path / "test-0.parquet", [png(noise(0))], [0])
    with pytest.raises(AttnzooError, match=complaint):
        load(f"parquet:{tmp_path}")


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(AttnzooError, match=r"expected train-\*\.parquet in .*, found none"):
        load(f"parquet:{tmp_path}")
    folder(tmp_path)
    write(tmp_path / "test-0.parquet", [png(noise(0))], [3])
    with pytest.raises(AttnzooError, match="the test labels reach 3, the training labels only 2"):
        load(f"parquet:{tmp_path}")
    write(tmp_path / "test-0.parquet", [png(noise(0))], [0], column="picture")
    with pytest.raises(AttnzooError, match="expected a column 'img' or 'image', found picture, label"):
        load(f"parquet:{tmp_path}")
    (tmp_path / "test-0.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(AttnzooError, match=r"test-0\.parquet: expected a Parquet file"):
        load(f"parquet:{tmp_path}")


def test_bad_arguments() -> None:
    with pytest.raises(AttnzooError, match="'mnist' is unknown; use 'digits', or 'parquet:DIR'"):
        load("mnist")
    with pytest.raises(AttnzooError, match="limit_train=0 is not an integer of at least 1"):
        load("digits", limit_train=0)
    with pytest.raises(AttnzooError, match="limit_test=-1"):
        load("digits", limit_test=-1)
