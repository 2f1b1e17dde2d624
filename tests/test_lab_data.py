"""Does the laboratory read images and labels exactly, and say clearly what is wrong with a file?"""

import json
import os
from collections.abc import Mapping, Sequence
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
from attnzoo.lab.data import Data, Split, balanced, images, load, reading


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def noise(seed: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(
    file: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    column: str = "img",
    label: str = "label",
    names: Sequence[Any] | None = None,
) -> None:
    cells = [{"bytes": content, "path": None} for content in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({column: pa.array(cells, kind), label: labels})
    if names is not None:
        info = {"info": {"features": {label: {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, file, row_group_size=2)


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
    assert data.class_names == tuple("0123456789")


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


def test_the_fingerprint_tells_pixels_labels_and_splits_apart() -> None:
    def made(pixel: int = 0, train: int = 0, test: int = 1) -> str:
        splits = [
            Split(torch.full((2, 1, 2, 2), pixel, dtype=torch.uint8), torch.tensor([0, k])) for k in (train, test)
        ]
        return Data("x", 2, *splits, mirror=True).fingerprint()

    assert made() == made()
    assert len({made(), made(pixel=1), made(train=1), made(train=1, test=0), made(test=0)}) == 5


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
    assert (data.class_names, data.skipped) == (None, ())


def test_parquet_names_its_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / f"{split}-0.parquet", [png(noise(0))] * 2, [1, 0], label="fine_label", names=["cat", "dog"])
    data = load(f"parquet:{tmp_path}")
    assert (data.class_names, data.classes, data.train.labels.tolist()) == (("cat", "dog"), 2, [1, 0])
    write(tmp_path / "train-0.parquet", [png(noise(0))] * 2, [1, 0], names=["cat"])
    with pytest.raises(AttnzooError, match="name 1 classes, but the training labels run from 0 to 1"):
        load(f"parquet:{tmp_path}")
    write(tmp_path / "train-0.parquet", [png(noise(0))] * 2, [1, 0], names=[7, None])
    assert load(f"parquet:{tmp_path}").class_names is None


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
        (
            [png(noise(0)), png(noise(1, 4, 7))],
            [0, 0],
            r"expected 6 x 4 pixels.*1 of 3 differ; give image_size=N.*\s.*row 1: 7 x 4",
        ),
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
    pq.write_table(pa.table({"img": ["a.png"], "label": [0]}), tmp_path / "test-0.parquet")
    with pytest.raises(AttnzooError, match=r"expected a struct with the image file's 'bytes' in 'img', got string"):
        load(f"parquet:{tmp_path}")
    (tmp_path / "test-0.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(AttnzooError, match=r"test-0\.parquet: expected a Parquet file"):
        load(f"parquet:{tmp_path}")


def test_all_broken_rows_are_named_or_skipped(tmp_path: Path) -> None:
    contents = [png(noise(i)) if i % 2 else b"broken" for i in range(30)]
    write(tmp_path / "train-0.parquet", contents, [0, 0, 1, 1, 2, 2] * 5)
    write(tmp_path / "test-0.parquet", [jpeg_cut_short(), png(noise(0))], [0, 0])
    with pytest.raises(AttnzooError, match=r"16 of 32 images cannot be used;") as caught:
        load(f"parquet:{tmp_path}")
    lines = str(caught.value).splitlines()
    rows = [f"train-0.parquet, row {row}:" for row in range(0, 30, 2)] + ["test-0.parquet, row 0:"]
    assert all(row in line for row, line in zip(rows, lines[1:], strict=True))
    data = load(f"parquet:{tmp_path}", skip_broken=True)
    assert [f"  {sentence}" for sentence in data.skipped] == lines[1:]
    assert data.train.labels.tolist() == [0, 1, 2] * 5
    assert all(np.array_equal(image.permute(1, 2, 0), noise(2 * i + 1)) for i, image in enumerate(data.train.images))
    assert data.to("cpu").skipped == data.skipped
    assert len(data.test.labels) == 1


def test_a_class_of_broken_images_is_not_skipped(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [png(noise(0)), b"", b""], [0, 1, 1])
    write(tmp_path / "test-0.parquet", [png(noise(0))], [0])
    with pytest.raises(
        AttnzooError, match=r"all images of class 1 in a split are broken;.*\s.*row 1: expected an image"
    ):
        load(f"parquet:{tmp_path}", skip_broken=True)


def test_memory_is_bounded(tmp_path: Path) -> None:
    folder(tmp_path)
    with pytest.raises(AttnzooError, match=r"8 images of 6 x 4 take 0\.0 GB of memory, more than max_gigabytes=5e-07"):
        load(f"parquet:{tmp_path}", max_gigabytes=5e-7)
    assert len(load(f"parquet:{tmp_path}", max_gigabytes=6e-7).train.labels) == 6


def tree(place: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def pets(place: Path, **more: bytes) -> Path:
    """Two classes with two and three training images and one test image each."""
    names = ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "train/dog/a/2.png", "train/dog/a/3.png"]
    names += ["val/cat/1.png", "val/dog/1.png"]
    return tree(place / "pets", {name: png(noise(i)) for i, name in enumerate(names)} | more)


def test_folder(tmp_path: Path) -> None:
    place = pets(tmp_path, **{"train/.DS_Store": b"x", "train/cat/.hidden.png": b"x"})
    data = load(f"folder:{place}")
    assert (data.name, data.classes, data.class_names) == ("pets", 2, ("cat", "dog"))
    assert (data.shape, data.mirror) == ((3, 4, 6), True)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    for row, image in enumerate([*data.train.images, *data.test.images]):
        assert np.array_equal(image.permute(1, 2, 0), noise(row))
    limited = load(f"folder:{place}", limit_train=2)
    assert torch.equal(limited.train.images, data.train.images[[0, 2]])


def test_images_of_many_sizes_are_fitted(tmp_path: Path) -> None:
    """The largest centred square of each, resized with antialiasing."""
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = 200  # the centre
    fine = np.tile(np.array([[[0] * 3, [255] * 3]], np.uint8), (64, 32, 1))  # lines that plain picking would keep
    place = pets(tmp_path, **{"train/cat/1.png": png(wide), "train/cat/2.png": png(fine)})
    with pytest.raises(
        AttnzooError, match=r"expected 20 x 8 pixels like the first image, but 6 of 7 differ;.*\s.*64 x 64"
    ):
        load(f"folder:{place}")
    data = load(f"folder:{place}", image_size=4)
    assert data.shape == (3, 4, 4)
    halved = np.array(Image.fromarray(wide).resize((10, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(data.train.images[0].permute(1, 2, 0), halved[:, 3:7])
    assert data.train.images[0, 0, 0].tolist() == [175, 200, 200, 175]
    assert 120 < data.train.images[1].min() <= data.train.images[1].max() < 135
    box = images.crop_box(30, 20, 2, 4)
    assert box == (0, 10, 20, 20)


def test_many_large_files_are_decoded_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As threads do it."""
    monkeypatch.setattr(reading, "_WORTH_A_THREAD", 1)
    files = {f"{split}/a/{i:03}.png": png(noise(i)) for split in ("train", "test") for i in range(100)}
    data = load(f"folder:{tree(tmp_path, files)}")
    assert all(np.array_equal(image.permute(1, 2, 0), noise(i)) for i, image in enumerate(data.train.images))


def test_damaged_exif_is_passed_over(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """The pixels are sound, and Pillow's warning would name no file."""
    buffer = BytesIO()
    Image.fromarray(noise(0)).save(buffer, "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0")
    place = pets(tmp_path, **{"train/cat/1.png": buffer.getvalue()})
    assert np.array_equal(load(f"folder:{place}").train.images[0].permute(1, 2, 0), noise(0))
    assert not recwarn


def test_folders_that_are_not_as_described(tmp_path: Path) -> None:
    def complains(message: str) -> None:
        with pytest.raises(AttnzooError, match=message):
            load(f"folder:{tmp_path}")

    complains("expected a folder train/ with a folder for each class, found none")
    (tmp_path / "train").mkdir()
    complains("expected a folder test/ or val/ or validation/")
    tree(tmp_path, {"test/cat/1.png": png(noise(0))})
    complains("train: expected a folder for each class, found none")
    tree(tmp_path, {"train/dog/1.png": png(noise(0))})
    complains("test: expected the classes of train, got also cat")
    (tmp_path / "train/cat").mkdir()
    complains("train/cat: expected images, found none")
    tree(tmp_path, {"train/cat/1.png": png(noise(0)), "train/2.png": png(noise(0))})
    complains(r"train: expected a folder for each class, got also 2\.png")
    (tmp_path / "train/2.png").unlink()
    load(f"folder:{tmp_path}")
    (tmp_path / "train/cat/back").symlink_to(tmp_path / "train", target_is_directory=True)
    complains(r"train/cat/back/cat/back: this link leads back|train/cat/back.*: this link leads back")


def test_files_that_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = pets(tmp_path, **{"train/cat/notes.txt": b"two cats"})
    os.mkfifo(place / "train/dog/pipe.png")
    (place / "train/dog/self.png").symlink_to(place / "train/dog/self.png")
    (place / "train/dog/gone.png").symlink_to(place / "nowhere.png")
    tree(place, {"train/dog/large.png": b"x" * 5000})
    monkeypatch.setattr(reading, "MAX_BYTES", 4000)
    with pytest.raises(AttnzooError, match="5 of 12 images cannot be used") as caught:
        load(f"folder:{place}")
    for complaint in (
        r"notes.txt: expected an image, one of JPEG, PNG,",
        r"gone.png: expected an image file, but it cannot be read",
        r"large.png: expected at most 4,000 bytes",
        r"pipe.png: expected an image file, got something else",
        r"self.png: expected an image file, but it cannot be read",
    ):
        assert complaint in str(caught.value)
    data = load(f"folder:{place}", skip_broken=True)
    assert (len(data.skipped), len(data.train.labels)) == (5, 5)


def test_bad_arguments() -> None:
    for spec in ("mnist", "parquet:", "folder", "digits:here"):
        with pytest.raises(AttnzooError, match=f"'{spec}' is unknown; use 'digits', 'cifar10'.* or 'folder:DIR'"):
            load(spec)
    for wrong in ({"limit_train": 0}, {"limit_test": -1}, {"image_size": 0}, {"max_gigabytes": 0.0}):
        with pytest.raises(AttnzooError, match=next(iter(wrong))):
            load("digits", **wrong)
    with pytest.raises(AttnzooError, match="digits has images of one size already; leave out image_size"):
        load("digits", image_size=32)
