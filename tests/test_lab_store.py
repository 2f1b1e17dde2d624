"""Are a study's files whole or absent, never mixed up, and written by one process at a time?"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attnzoo import AttnzooError
from attnzoo.lab import files
from attnzoo.lab.building import build
from attnzoo.lab.checkpoint import Checkpoint
from attnzoo.lab.files import write_atomically
from attnzoo.lab.store import Store, read_all
from attnzoo.lab.trained import About, load_trained, save_trained
from attnzoo.lab.trial import Epoch, Outcome, Trial, Variant

SE = Trial(Variant("se", at="block"), 0)
SETTINGS = {"data": "digits", "epochs": 2, "learning_rate": 0.05}
OUTCOME = Outcome(SE, (Epoch(1.5, 60.0, 2.0), Epoch(0.5, 50.0, 1.0, top5=90.0, joules=3.5)))
WHERE = {"device": "CPU", "torch": "2.8"}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder with one finished trial."""
    with Store(tmp_path, SETTINGS) as store:
        store.add(OUTCOME, WHERE)
    return tmp_path / "trials" / f"{SE.slug()}.json"


def test_what_is_stored_is_found(tmp_path: Path, stored: Path) -> None:
    with Store(tmp_path, SETTINGS) as store:
        record = store.find(SE)
        assert record is not None
        assert (record.outcome, record.settings, record.environment) == (OUTCOME, SETTINGS, WHERE)
        assert store.find(replace(SE, seed=1)) is None
    settings, records = read_all(tmp_path)
    assert (settings, [r.outcome for r in records]) == (SETTINGS, [OUTCOME])


def test_a_widened_control_is_found(tmp_path: Path) -> None:
    wide = Variant(widths=((16, 17), (32, 34)), matches="parameters of se")
    outcome = replace(OUTCOME, trial=Trial(wide, 3))
    with Store(tmp_path, SETTINGS) as store:
        store.add(outcome, WHERE)
    assert read_all(tmp_path)[1][0].outcome == outcome


def test_a_trained_network_splits_the_epochs(tmp_path: Path) -> None:
    """5 epochs of which the base takes 2: 2 for the base, 3 after it."""
    with Store(tmp_path, SETTINGS | {"epochs": 5, "trained_epochs": 2}) as store:
        for start, count in (("base", 2), ("trained", 3), ("scratch", 5)):
            store.add(Outcome(Trial(Variant(start=start), 0), OUTCOME.epochs[:1] * count), WHERE)
    assert len(read_all(tmp_path)[1]) == 3


def test_the_checkpoint_goes_when_the_trial_is_stored(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / f"{SE.slug()}.pt"
    Checkpoint(checkpoint, {}).save({"epochs": []})
    with Store(tmp_path, SETTINGS) as store:
        assert checkpoint.exists()
        store.add(OUTCOME, WHERE)
        assert not checkpoint.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"module": "se"', '"module": "eca"'),
        lambda text: text.replace('"seed": 0', '"seed": 1'),
        lambda text: text.replace('"seed": 0', '"seed": Infinity'),
        lambda text: text.replace('"start": "scratch"', '"start": "nowhere"'),
        lambda text: re.sub(r'"top1": [\d.]+', '"top1": NaN', text),
        lambda text: re.sub(r'"top1": [\d.]+', '"top1": "good"', text),
        lambda text: re.sub(r'"top1": [\d.]+', '"top2": 1', text),
        lambda text: json.dumps(json.loads(text) | {"settings": {"epochs": 3}}),
        lambda text: json.dumps(json.loads(text) | {"environment": None}),
        lambda text: "\udcff",
    ],
)
def test_a_damaged_trial_is_named(tmp_path: Path, stored: Path, damage: Callable[[str], str]) -> None:
    stored.write_text(damage(stored.read_text()), errors="surrogateescape")
    for reading in (lambda: Store(tmp_path, SETTINGS), lambda: read_all(tmp_path)):
        with pytest.raises(AttnzooError, match=r"seed0\.json: expected a finished trial.*delete it and run again"):
            reading()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"epochs": 3}, "made with epochs=2, now epochs=3"),
        ({"momentum": 0.9}, "made with momentum=None, now momentum=0.9"),
        ({"data": "other"}, "made with data='digits', now data='other'"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, stored: Path, changed: dict[str, Any], complaint: str) -> None:
    before = stored.read_bytes()
    with pytest.raises(AttnzooError, match=f"{complaint}.*another --out"):
        Store(tmp_path, SETTINGS | changed)
    assert stored.read_bytes() == before
    with Store(tmp_path, SETTINGS):  # the refused one holds no lock
        pass


def test_no_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AttnzooError, match=r"found no trials/\*\.json"):
        read_all(tmp_path)
    with pytest.raises(AttnzooError, match="expected a folder to write to"):
        Store(tmp_path / "file", SETTINGS)


HOLD = """
import sys, time
from pathlib import Path
from attnzoo.lab.store import Store
store = Store(Path(sys.argv[1]), {})
print("held", flush=True)
time.sleep(60)
"""


def test_two_writers_are_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(AttnzooError, match=rf"process {first.pid} on .* is writing to this folder; wait"):
            Store(tmp_path, {})
        first.send_signal(signal.SIGKILL)
        first.wait()
        with Store(tmp_path, {}), pytest.raises(AttnzooError, match=f"process {os.getpid()} on .* is writing"):
            Store(tmp_path, {})
    with Store(tmp_path, {}):
        pass


def test_what_a_killed_process_half_wrote_goes(tmp_path: Path, stored: Path) -> None:
    draft = stored.with_name(f".{stored.name}.1{files.DRAFT}")
    draft.write_text("half")
    with Store(tmp_path, SETTINGS):
        assert not draft.exists()
        assert stored.exists()


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "results.json", tmp_path / ("long" * 60)):
        with pytest.raises(AttnzooError, match=r"cannot be written \(.*choose another out"):
            write_atomically(place, "new")


def test_a_store_that_cannot_be_opened_holds_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as within:
        within.setattr(os, "replace", full)
        with pytest.raises(AttnzooError, match="No space left") as caught:
            Store(tmp_path, SETTINGS)
    with Store(tmp_path, SETTINGS):
        pass
    assert caught.value  # which kept the first store alive


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    file = tmp_path / "results.json"
    write_atomically(file, "old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(AttnzooError, match=r"results\.json: cannot be written \(.*No space left.*free the disk"):
        write_atomically(file, "new")
    with pytest.raises(AttnzooError, match=r"c\.pt: cannot be written \(.*No space left"):
        Checkpoint(tmp_path / "c.pt", {}).save({})
    with pytest.raises(AttnzooError, match=r"m\.safetensors: cannot be written \(.*No space left"):
        save_trained(tmp_path / "m.safetensors", torch.nn.Linear(1, 1), SE, ABOUT)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


MADE = {"trial": str(SE), "epochs": 2}
STATE = {"model": {"w": torch.arange(1000.0)}, "epochs": [{"top1": 1.5}], "average": None}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    made = Checkpoint(tmp_path / "c.pt", MADE)
    made.save(STATE)
    return made


def test_a_checkpoint_is_read_back(checkpoint: Checkpoint) -> None:
    state = checkpoint.load()
    assert state is not None
    assert torch.equal(state["model"]["w"], torch.arange(1000.0))
    assert (state["epochs"], state["average"]) == ([{"top1": 1.5}], None)
    assert Checkpoint(checkpoint.path.with_name("none.pt"), MADE).load() is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: b"",
        lambda raw: raw[:2000] + bytes([raw[2000] ^ 1]) + raw[2001:],
        lambda raw: b"\x80\x04" + raw,
        lambda raw: raw[:25] + bytes(40) + raw[65:],
    ],
)
def test_a_damaged_checkpoint_is_set_aside(checkpoint: Checkpoint, damage: Callable[[bytes], bytes]) -> None:
    raw = damage(checkpoint.path.read_bytes())
    checkpoint.path.write_bytes(raw)
    with pytest.warns(UserWarning, match=r"c\.pt: the checkpoint is damaged, .*starts again.*c\.pt\.damaged"):
        assert checkpoint.load() is None
    assert not checkpoint.path.exists()
    assert checkpoint.path.with_name("c.pt.damaged").read_bytes() == raw


def test_a_checkpoint_of_something_else_is_refused(checkpoint: Checkpoint) -> None:
    before = checkpoint.path.read_bytes()
    with pytest.raises(AttnzooError, match=r"c\.pt: made with epochs=2, now epochs=3\. Choose another --out"):
        Checkpoint(checkpoint.path, MADE | {"epochs": 3}).load()
    assert checkpoint.path.read_bytes() == before


ABOUT = About("digits", (1, 8, 8), 10, tuple("0123456789"), (77.5,), (95.25,))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    model = build(SE, (1, 8, 8), 10)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    path = tmp_path / "models" / "m.safetensors"
    save_trained(path, model, SE, ABOUT)
    torch.save(model.state_dict(), tmp_path / "expected.pt")
    return path


def test_a_trained_network_is_read_back(model_file: Path) -> None:
    read = load_trained(model_file)
    expected: dict[str, Tensor] = torch.load(model_file.parents[1] / "expected.pt", weights_only=True)
    assert (read.trial, read.about, read.model.training) == (SE, ABOUT, False)
    assert all(torch.equal(value, expected[key]) for key, value in read.model.state_dict().items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:100],
        lambda raw: b"",
        lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:],
        lambda raw: raw.replace(b"attnzoo.lab", b"attnzoo.bal"),
        lambda raw: raw.replace(b'\\"format\\": 1', b'\\"format\\": 2'),
        lambda raw: raw.replace(b'\\"std\\": [95.25]', b'\\"std\\": [-5.25]'),
        lambda raw: raw.replace(b'\\"start\\": \\"scratch\\"', b'\\"start\\": \\"nowhere\\"'),
    ],
)
def test_a_damaged_network_is_named(model_file: Path, damage: Callable[[bytes], bytes]) -> None:
    raw = model_file.read_bytes()
    model_file.write_bytes(damage(raw))
    assert model_file.read_bytes() != raw
    with pytest.raises(AttnzooError, match=r"m\.safetensors: expected a network trained by the laboratory"):
        load_trained(model_file)


def test_an_unknown_module_in_a_network_is_named(model_file: Path) -> None:
    raw = model_file.read_bytes()
    model_file.write_bytes(raw.replace(b'\\"module\\": \\"se\\"', b'\\"module\\": \\"sx\\"'))
    with pytest.raises(AttnzooError, match="unknown module 'sx'"):
        load_trained(model_file)
    with pytest.raises(AttnzooError, match="expected a network trained by the laboratory"):
        load_trained(model_file.with_name("none.safetensors"))
