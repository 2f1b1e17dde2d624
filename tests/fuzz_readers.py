"""Throws damaged files at every reader for some minutes: nothing but AttnzooError may come out.

Run by hand: python tests/fuzz_readers.py SECONDS. Not a test of the suite.
"""

import functools
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn

import attnzoo
from attnzoo.errors import AttnzooError
from attnzoo.lab import parquet
from attnzoo.lab.images import decode
from attnzoo.lab.store import Store

KINDS = {"JPEG": {}, "PNG": {}, "WEBP": {}, "BMP": {}, "GIF": {}, "TIFF": {}}


def damage(content: bytes, dice: random.Random) -> bytes:
    """Flip, cut, repeat or replace some bytes."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        if not data:
            return b""
        at = dice.randrange(len(data))
        kind = dice.randrange(5)
        if kind == 0:
            data[at] = dice.randrange(256)
        elif kind == 1:
            del data[at : at + dice.randint(1, 40)]
        elif kind == 2:
            data[at:at] = data[at : at + dice.randint(1, 40)]
        elif kind == 3:
            data[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        else:
            del data[at:]
    return bytes(data)


def images(dice: random.Random) -> Callable[[], None]:
    """The image reader, on damaged files of every format."""
    pixels = np.array(dice.choices(range(256), k=16 * 16 * 3), dtype=np.uint8).reshape(16, 16, 3)
    file = BytesIO()
    Image.fromarray(pixels).save(file, dice.choice(list(KINDS)))
    content = damage(file.getvalue(), dice)
    return lambda: decode(content, "fuzz")


def tables(dice: random.Random) -> Callable[[], None]:
    """The Parquet reader, on damaged files."""
    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    cells = [{"bytes": file.getvalue(), "path": None}] * 4
    folder = Path(tempfile.mkdtemp())
    path = folder / "train-0.parquet"
    pq.write_table(pa.table({"img": cells, "label": [0, 1, 0, 1]}), path)
    path.write_bytes(damage(path.read_bytes(), dice))

    def read() -> None:
        rows = parquet.labels([path])
        if 0 < len(rows) < 10**6:
            parquet.images([path], rows.new_tensor(range(len(rows))))

    return read


def trials(dice: random.Random) -> Callable[[], None]:
    """The reader of finished trials, on damaged JSON."""
    epoch = {"train_loss": 1.0, "top1": 50.0, "seconds": 1.0}
    record = {
        "outcome": {"variant": "plain", "seed": 0, "epochs": [epoch]},
        "settings": {"epochs": 1},
        "environment": {"device": "cpu"},
    }
    out = Path(tempfile.mkdtemp())
    (out / "trials").mkdir()
    (out / "trials" / "plain-seed0.json").write_bytes(damage(json.dumps(record).encode(), dice))
    return lambda: Store(out, {"epochs": 1})


def plain() -> nn.Module:
    """A model before anything is done to it."""
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())


@functools.cache
def saved() -> bytes:
    """The file of a model with a replacement and an insertion."""
    model, path = plain(), Path(tempfile.mkdtemp()) / "m.safetensors"
    attnzoo.replace(model, "odconv", "0")
    attnzoo.insert(model, "se", "1", reduction=2, example_input=torch.ones(1, 8, 4, 4))
    attnzoo.save(model, path)
    return path.read_bytes()


def checkpoints(dice: random.Random) -> Callable[[], None]:
    """The reader of saved models, on files whose header, or anything, is damaged."""
    whole = saved()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = damage(whole[8:end], dice)
    path = Path(tempfile.mkdtemp()) / "m.safetensors"
    changed = len(header).to_bytes(8, "little") + header + whole[end:]
    path.write_bytes(changed if dice.randrange(4) else damage(whole, dice))
    return lambda: attnzoo.load(plain(), path)


def main() -> int:
    """Fuzz each reader for the given seconds."""
    seconds, failures = float(sys.argv[1]), 0
    for make in (images, tables, trials, checkpoints):
        start, runs, refused, seed = time.monotonic(), 0, 0, 0
        while time.monotonic() - start < seconds:
            seed += 1
            read = make(random.Random(seed))
            runs += 1
            try:
                read()
            except AttnzooError:
                refused += 1
            except Exception as error:
                failures += 1
                print(f"{make.__name__} seed {seed}: {type(error).__name__}: {error}")
        print(f"{make.__name__}: {runs} damaged files, {refused} refused, {failures} failures so far")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
