"""Throws damaged and made-up files at every reader: nothing but AttnzooError may come out.

python benchmarks/fuzz.py SECONDS [READER ...]    (so long for each; hypothesis cuts what fails down to its least form)
"""

import copy
import functools
import json
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import attnzoo
from attnzoo.errors import AttnzooError
from attnzoo.lab import data, recipes
from attnzoo.lab.checkpoint import Checkpoint
from attnzoo.lab.controls import Control, Controls
from attnzoo.lab.data.images import decode
from attnzoo.lab.measure.site import Site
from attnzoo.lab.report import record
from attnzoo.lab.spelling import parse, spelled
from attnzoo.lab.store import read_all
from attnzoo.lab.trained import About, load_trained, save_trained
from attnzoo.lab.trial import Epoch, Outcome, Trial, Variant
from attnzoo.verify import Matrix, as_json, verify
from attnzoo.verify import read as read_matrix

Draw = Callable[[st.SearchStrategy[Any]], Any]
MEMORY = 12 * 2**30  # a file that makes a reader ask for more fails it
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "repeat", "word", "end"]),
        st.integers(0, 2**20),
        st.integers(1, 40),
        st.binary(min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=8,
)


def damaged(content: bytes, draw: Draw) -> bytes:
    """The bytes with some set, cut out, repeated or replaced."""
    result = bytearray(content)
    for kind, place, length, new in draw(EDITS):
        at = place % max(1, len(result))
        if kind == "set":
            result[at : at + len(new)] = new
        elif kind == "cut":
            del result[at : at + length]
        elif kind == "repeat":
            result[at:at] = result[at : at + length]
        elif kind == "word":
            result[at : at + 4] = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"]))
        else:
            del result[at:]
    return bytes(result)


def changed(page: Any, draw: Draw) -> Any:
    """A page of JSON with some values exchanged, dropped or added."""
    page = copy.deepcopy(page)
    for _ in range(draw(st.integers(1, 3))):
        at = page
        while isinstance(at, dict | list) and at:
            key = draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
            if not isinstance(at[key], dict | list) or not at[key] or draw(st.booleans()):
                break
            at = at[key]
        if not isinstance(at, dict | list) or not at:
            break
        if draw(st.booleans()):
            at[key] = draw(JSON)
        elif isinstance(at, dict) and draw(st.booleans()):
            at[draw(st.text(max_size=8))] = draw(JSON)
        else:
            del at[key]
    return page


def text(page: Any, draw: Draw) -> bytes:
    """A page of JSON changed as a page, or as bytes."""
    return json.dumps(changed(page, draw)).encode() if draw(st.booleans()) else damaged(json.dumps(page).encode(), draw)


@functools.cache
def picture(kind: str, side: int = 16) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def images(draw: Draw, _: Path) -> None:
    """Image files of every format."""
    decode(damaged(picture(draw(st.sampled_from(FORMATS))), draw), "fuzz")


def parquet(draw: Draw, folder: Path) -> None:
    """Damaged Parquet files."""
    for split in ("train", "test"):
        table = pa.table({"img": [{"bytes": picture("PNG", 4), "path": None}] * 4, "label": [0, 1, 0, 1]})
        pq.write_table(table, folder / f"{split}-0.parquet")
    file = folder / "train-0.parquet"
    file.write_bytes(damaged(file.read_bytes(), draw))
    data.load(f"parquet:{folder}", skip_broken=draw(st.booleans()))


def tables(draw: Draw, folder: Path) -> None:
    """Whole Parquet files whose columns are of any type."""
    rows = draw(st.integers(0, 5))
    kinds = [pa.int64(), pa.uint64(), pa.int8(), pa.float64(), pa.string(), pa.bool_(), pa.null(), pa.date32()]
    numbers = st.none() | st.integers(0, 2) | st.integers(-(2**63), 2**64 - 1)
    cells = st.none() | st.just(picture("PNG", 4)) | st.just(picture("GIF", 4)) | st.binary(max_size=20)
    contents = draw(st.lists(cells, min_size=rows, max_size=rows))
    columns = {
        "struct": lambda: pa.array([{"bytes": c} for c in contents], pa.struct([("bytes", pa.binary())])),
        "holes": lambda: pa.array(
            [{"bytes": c} if c else None for c in contents], pa.struct([("bytes", pa.large_binary())])
        ),
        "bytes": lambda: pa.array(contents, pa.binary()),
        "words": lambda: pa.array([{"bytes": "x"} for _ in contents]),
        "lists": lambda: pa.array([[c] for c in contents]),
    }
    for split in ("train", "test"):
        image = columns[draw(st.sampled_from(list(columns)))]()
        values = draw(st.lists(numbers, min_size=rows, max_size=rows))
        try:
            label = pa.array(values, draw(st.sampled_from(kinds)))
            label = label.dictionary_encode() if draw(st.booleans()) else label
            table = pa.table({draw(st.sampled_from(["img", "image", "x"])): image, "label": label})
        except (pa.ArrowException, OverflowError, TypeError):
            return
        info = {"info": {"features": {"label": {"names": draw(JSON)}}}}
        metadata = {"huggingface": draw(st.sampled_from([json.dumps(info), json.dumps(draw(JSON)), "{", "[" * 99_999]))}
        try:
            pq.write_table(table.replace_schema_metadata(metadata), folder / f"{split}-0.parquet")
        except pa.ArrowException:
            return
    data.load(f"parquet:{folder}", skip_broken=draw(st.booleans()))


def folders(draw: Draw, folder: Path) -> None:
    """Image folders of any names, with files of any kind and links to anywhere."""
    names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
    names = names.filter(lambda name: name not in (".", ".."))
    words = st.sampled_from(["train", "test", "val", "cat", "dog"]) | names
    if draw(st.booleans()):
        for path in ("train/cat/1", "train/dog/2", "test/cat/1", "test/dog/2"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(picture("PNG", 4))
    for _ in range(draw(st.integers(1, 12))):
        path = folder.joinpath(*draw(st.lists(words, min_size=1, max_size=4)))
        kind = draw(st.sampled_from(["image", "image", "damaged", "folder", "link", "other"]))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif kind == "link":
                path.symlink_to(folder.joinpath(*draw(st.lists(words, max_size=3))))
            else:
                content = picture(draw(st.sampled_from(FORMATS)), 4)
                path.write_bytes(
                    {"image": content, "other": b"words"}.get(kind) or damaged(content, draw),
                )
        except OSError:
            continue  # a file stands where a folder should, a link leads nowhere
    data.load(
        f"folder:{folder}",
        skip_broken=draw(st.booleans()),
        image_size=draw(st.none() | st.integers(1, 9)),
        limit_train=draw(st.none() | st.integers(1, 3)),
    )


def cifar(draw: Draw, folder: Path) -> None:
    """Damaged files of CIFAR in binary, and files under the names of the Python version."""
    name = draw(st.sampled_from(["cifar10", "cifar100"]))
    one = data.cifar.SETS[name]
    for file in (*one.train, *one.test):
        record = bytes(one.label_bytes) + bytes(3072)
        (folder / file).write_bytes(record * 2 if draw(st.integers(0, 3)) else damaged(record * 2, draw))
    listed = "\n".join(f"class_{number}" for number in range(one.classes)).encode()
    (folder / one.names).write_bytes(damaged(listed, draw) if draw(st.booleans()) else listed)
    if draw(st.booleans()):
        (folder / "batches.meta").write_bytes(draw(st.binary(max_size=40)))
    data.load(f"{name}:{folder}", limit_train=draw(st.none() | st.integers(1, 3)))


def trial() -> Trial:
    return Trial(Variant(backbone="resnet20"), 0)


def trials(draw: Draw, folder: Path) -> None:
    """Finished trials."""
    outcome = Outcome(trial(), (Epoch(1.0, 50.0, 1.0),))
    page = {"outcome": asdict(outcome), "settings": {"epochs": 1, "data": "digits"}, "environment": {"device": "cpu"}}
    (folder / "trials").mkdir()
    (folder / "trials" / f"{trial().slug()}.json").write_bytes(text(page, draw))
    read_all(folder)


@functools.cache
def results() -> Mapping[str, Any]:
    """The results of a small comparison."""
    from attnzoo.lab.recipe import Recipe
    from attnzoo.lab.sweep import compare

    with tempfile.TemporaryDirectory() as out:
        study = compare(["eca"], out=out, recipe=Recipe(epochs=1), seeds=2, limit_train=64, limit_test=20)
    return json.loads(json.dumps(record.as_json(study)))


def studies(draw: Draw, folder: Path) -> None:
    """Results of comparisons."""
    (folder / record.NAME).write_bytes(text(results(), draw))
    record.read(folder)


def controls(draw: Draw, folder: Path) -> None:
    """Controls of a comparison."""
    module, wider = Variant("eca", at="block"), Variant(widths=((16, 17),), matches="parameters of eca")
    page = {"settings": {"epochs": 1}, "controls": [asdict(Control(module, "parameters", wider, 1.0))]}
    (folder / "controls.json").write_bytes(text(page, draw))
    list(Controls(folder / "controls.json", Site((1, 8, 8), 10, torch.device("cpu"), 1), {"epochs": 1}))


def spellings(draw: Draw, _: Path) -> None:
    """Modules with arguments."""
    whole = b"se(a=1, b=[(2, None), 'x'], c={'d': -3.5})"
    try:
        written = damaged(whole, draw).decode()
    except UnicodeDecodeError:
        return
    if parse(spelled(written)) != parse(written):
        raise ValueError(f"{written} is spelled {spelled(written)}")


def recipe_files(draw: Draw, folder: Path) -> None:
    """Recipes in TOML."""
    (folder / "r.toml").write_bytes(damaged(recipes.text(recipes.recipe("fast")).encode(), draw))
    recipes.load(folder / "r.toml")


@functools.cache
def network() -> bytes:
    """The file of a trained network."""
    from attnzoo.lab.building import build

    about = About("digits", (1, 8, 8), 10, tuple("0123456789"), (1.0,), (2.0,))
    with tempfile.TemporaryDirectory() as folder:
        save_trained(Path(folder) / "m", build(trial(), about.shape, about.classes), trial(), about)
        return (Path(folder) / "m").read_bytes()


def networks(draw: Draw, folder: Path) -> None:
    """Trained networks, damaged anywhere or described wrongly."""
    file = folder / "m.safetensors"
    file.write_bytes(network())
    if draw(st.booleans()):
        file.write_bytes(in_header(network(), draw))
    else:
        with safe_open(file, framework="pt") as whole:
            pages = whole.metadata()
            state = {key: whole.get_tensor(key) for key in whole.keys()}  # noqa: SIM118
        save_file(
            state, file, {key: text(json.loads(page), draw).decode("utf-8", "ignore") for key, page in pages.items()}
        )
    load_trained(file)


def in_header(whole: bytes, draw: Draw) -> bytes:
    """A safetensors file damaged in its header, its length told right, or anywhere."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = damaged(whole[8:end], draw)
    return damaged(whole, draw) if draw(st.booleans()) else len(header).to_bytes(8, "little") + header + whole[end:]


def checkpoints(draw: Draw, folder: Path) -> None:
    """Checkpoints of trials."""
    checkpoint = Checkpoint(folder / "c.pt", {"seed": 0})
    checkpoint.save({"weights": torch.ones(3), "epochs": [1, 2.5]})
    checkpoint.path.write_bytes(damaged(checkpoint.path.read_bytes(), draw))
    checkpoint.load()


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())


@functools.cache
def saved() -> bytes:
    """The file of a model with a replacement and an insertion."""
    model = plain()
    with tempfile.TemporaryDirectory() as folder:
        attnzoo.replace(model, "odconv", "0")
        attnzoo.insert(model, "se", "1", reduction=2, example_input=torch.ones(1, 8, 4, 4))
        attnzoo.save(model, Path(folder) / "m")
        return (Path(folder) / "m").read_bytes()


def models(draw: Draw, folder: Path) -> None:
    """Models with what was plugged into them."""
    (folder / "m.safetensors").write_bytes(in_header(saved(), draw))
    attnzoo.load(plain(), folder / "m.safetensors")


@functools.cache
def matrix() -> dict[str, Any]:
    """The matrix of a module, with two checks."""
    return as_json(verify("eca", only=("vectors", "copies")))


def matrices(draw: Draw, folder: Path) -> None:
    """Results of the deployment matrix."""
    (folder / "m.json").write_bytes(text(matrix(), draw))
    as_json(Matrix({}, "quick"), read_matrix(folder / "m.json"))


READERS = (
    images,
    parquet,
    tables,
    folders,
    cifar,
    trials,
    studies,
    controls,
    spellings,
    recipe_files,
    networks,
    checkpoints,
    models,
    matrices,
)


def fuzz(reader: Callable[[Draw, Path], None], seconds: float) -> int:
    """Try a reader so long; print what it did, and each failure; return their number."""
    count: Counter[str] = Counter()

    def once(given_data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                reader(given_data.draw, Path(folder))
                count["read"] += 1
            except AttnzooError:
                count["refused"] += 1

    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        options = settings(max_examples=200, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        try:
            seed(number)(options(given(st.data())(once)))()
        except Exception:
            count["failures"] += 1
            traceback.print_exc()
    told = ", ".join(f"{count[kind]:,} {kind}" for kind in ("read", "refused", "failures"))
    print(f"{reader.__name__} ({(reader.__doc__ or '').rstrip('.')}): {told}", flush=True)
    return count["failures"]


def main() -> int:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seconds, wanted = float(sys.argv[1]), sys.argv[2:]
    chosen = [reader for reader in READERS if not wanted or reader.__name__ in wanted]
    return int(sum(fuzz(reader, seconds) for reader in chosen) > 0)


if __name__ == "__main__":
    sys.exit(main())
