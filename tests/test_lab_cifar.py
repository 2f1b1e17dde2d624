"""Are CIFAR-10 and CIFAR-100 read exactly, in each form they come in, and nothing but the published files?"""

import hashlib
import os
import pickle
import pickletools
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

from attnzoo import AttnzooError
from attnzoo.lab.data import Data, load


class Published:
    """Small files laid out as the authors' are, with their checksums entered where torchvision lists them."""

    def __init__(self, name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from torchvision import datasets

        self.known = getattr(datasets, name.upper())
        self.classes = {"cifar10": 10, "cifar100": 100}[name]
        key = {"cifar10": "labels", "cifar100": "fine_labels"}[name]
        self.folder = place / self.known.base_folder
        self.folder.mkdir(parents=True)
        draws = np.random.default_rng(0)
        self.pixels: dict[str, np.ndarray] = {}
        self.labels: dict[str, list[int]] = {}
        for attribute in ("train_list", "test_list"):
            listed = []
            for file, _ in getattr(self.known, attribute):
                self.pixels[file] = draws.integers(0, 256, (30, 3072), dtype=np.uint8)
                self.labels[file] = draws.integers(0, self.classes, 30).tolist()
                content = {key.encode(): self.labels[file], b"data": self.pixels[file], b"coarse_labels": [0] * 30}
                listed.append([file, self.write(file, content)])
            monkeypatch.setattr(self.known, attribute, listed)
        meta = self.known.meta
        self.names = [f"class_{number}" for number in range(self.classes)]
        checksum = self.write(meta["filename"], {meta["key"].encode(): [name.encode() for name in self.names]})
        monkeypatch.setattr(self.known, "meta", meta | {"md5": checksum})

    def write(self, file: str, content: Any) -> str:
        """Pickle as Python 2 did, protocol 2 with byte strings; return the checksum."""
        made = pickle.dumps(content, protocol=3)
        old = bytearray(made)
        old[1] = 2
        for code, _, at in pickletools.genops(made):
            if at is not None and code.name in ("BINBYTES", "SHORT_BINBYTES"):
                old[at] = {"BINBYTES": ord("T"), "SHORT_BINBYTES": ord("U")}[code.name]
        done = bytes(old).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        (self.folder / file).write_bytes(done)
        return hashlib.md5(done, usedforsecurity=False).hexdigest()

    def check(self, data: Data) -> None:
        for split, listed in ((data.train, self.known.train_list), (data.test, self.known.test_list)):
            pixels = np.concatenate([self.pixels[file] for file, _ in listed])
            assert np.array_equal(split.images, pixels.reshape(-1, 3, 32, 32))
            assert split.labels.tolist() == [label for file, _ in listed for label in self.labels[file]]
        assert (data.classes, data.shape, data.mirror) == (self.classes, (3, 32, 32), True)
        assert data.class_names == tuple(self.names)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    published = Published(name, tmp_path, monkeypatch)
    for place in (published.folder, tmp_path):
        data = load(f"{name}:{place}")
        assert data.name == name
        published.check(data)
    assert len(load(f"{name}:{tmp_path}", limit_train=7, limit_test=3).train.labels) == 7
    file = published.folder / published.known.test_list[0][0]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(AttnzooError, match=r"expected the published file \(MD5 .*\), but it is missing or another"):
        load(f"{name}:{tmp_path}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address under which the test's folder is served."""
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_downloaded_once(tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    published = Published(name, tmp_path / "made", monkeypatch)
    archive = tmp_path / published.known.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(published.folder, published.known.base_folder)
    checksum = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(published.known, "url", f"{served}/{archive.name}")
    with pytest.raises(AttnzooError, match=rf"{name}: cannot be downloaded from .*then give {name}:DIR"):
        load(name, root=tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []
    monkeypatch.setattr(published.known, "tgz_md5", checksum)
    published.check(load(name, root=tmp_path / "kept"))
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [published.known.base_folder]
    archive.unlink()
    monkeypatch.setenv("ATTNZOO_DATA", str(tmp_path / "kept"))
    published.check(load(name))


def test_no_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(
        AttnzooError, match=r"cannot be downloaded from .*refused.*Fetch and unpack that file elsewhere"
    ):
        load("cifar10", root=tmp_path)


def test_a_pickle_builds_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a file with the right checksum cannot call what it names."""
    published = Published("cifar10", tmp_path, monkeypatch)

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    monkeypatch.setitem(published.known.meta, "md5", published.write("batches.meta", {b"label_names": Evil()}))
    with pytest.raises(AttnzooError, match="mkdir is no part of the published files"):
        load(f"cifar10:{tmp_path}")
    assert not (tmp_path / "made").exists()


def binary(place: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The binary version with 20 images a file; all pixels and labels in the order of the files."""
    files = {
        "cifar10": [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"],
        "cifar100": ["train.bin", "test.bin"],
    }[name]
    classes, draws = {"cifar10": 10, "cifar100": 100}[name], np.random.default_rng(0)
    pixels = draws.integers(0, 256, (len(files), 20, 3072), dtype=np.uint8)
    labels = draws.integers(0, classes, (len(files), 20, 1), dtype=np.uint8)
    for file, content, own in zip(files, pixels, labels, strict=True):
        before = [own] if name == "cifar10" else [own // 5, own]
        (place / file).write_bytes(np.concatenate([*before, content], axis=1).tobytes())
    listed = {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt"}[name]
    (place / listed).write_text("\n".join(f"class_{number}" for number in range(classes)) + "\n\n")
    return pixels.reshape(-1, 3, 32, 32), labels.flatten()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_in_binary(tmp_path: Path, name: str) -> None:
    pixels, labels = binary(tmp_path, name)
    data = load(f"{name}:{tmp_path}")
    assert np.array_equal(torch.cat([data.train.images, data.test.images]), pixels)
    assert torch.cat([data.train.labels, data.test.labels]).tolist() == labels.tolist()
    assert (len(data.test.labels), data.class_names[-1]) == (20, f"class_{data.classes - 1}")
    file = next(tmp_path.glob("test*.bin"))
    whole = file.read_bytes()
    for content, complaint in (
        (whole[:-1], "expected images of 3,07[34] bytes each"),
        (b"", "got 0 bytes"),
        (b"\xff" * len(whole), "expected classes from 0 to 99?, got 255"),
    ):
        file.write_bytes(content)
        with pytest.raises(AttnzooError, match=complaint):
            load(f"{name}:{tmp_path}")
    file.unlink()
    with pytest.raises(AttnzooError, match=r"test.*\.bin: cannot be read"):
        load(f"{name}:{tmp_path}")


def test_no_cifar_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AttnzooError, match=r"expected the unpacked cifar10, found neither batches.meta nor"):
        load(f"cifar10:{tmp_path}")
