"""Finished trials on disk: one JSON file each, `trials/VARIANT-seedK.json`, whole or absent."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attnzoo.errors import AttnzooError
from attnzoo.lab.train import Epoch, Outcome, Trial


@dataclass(frozen=True)
class Record:
    """A finished trial, the settings that made it, and what it was trained on."""

    outcome: Outcome
    settings: Mapping[str, Any]
    environment: Mapping[str, str]


class Store:
    """The trials of one folder, all made with the same settings.

    Args:
        out: the folder of the study; made if it is missing.
        settings: flat, of JSON's own types.

    Raises:
        AttnzooError: the folder cannot be made, a file in it is damaged, or was made with other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.folder = out / "trials"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AttnzooError(f"{out}: expected a folder to write to ({error}); choose another out.") from error
        self.records = {file.stem: _read(file) for file in sorted(self.folder.glob("*.json"))}
        for name, record in self.records.items():
            _same_settings(self.folder / f"{name}.json", record.settings, settings)

    def find(self, trial: Trial) -> Record | None:
        """The finished trial, or None."""
        return self.records.get(_stem(trial.variant, trial.seed))

    def add(self, outcome: Outcome, environment: Mapping[str, str]) -> Record:
        """Write a finished trial; a crash in the middle leaves no half file."""
        record = Record(outcome, self.settings, environment)
        name = _stem(outcome.variant, outcome.seed)
        write_atomically(self.folder / f"{name}.json", json.dumps(asdict(record), indent=1, allow_nan=False))
        self.records[name] = record
        return record


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by a file that holds `text`, or leave it as it was.

    Raises:
        AttnzooError: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise AttnzooError(f"{path}: cannot be written ({error}); free the disk or choose another out.") from error
    finally:
        draft.unlink(missing_ok=True)


def _stem(variant: str, seed: int) -> str:
    return f"{variant}-seed{seed}"


def _read(file: Path) -> Record:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        epochs = tuple(Epoch(**{name: float(value) for name, value in e.items()}) for e in raw["outcome"]["epochs"])
        outcome = Outcome(raw["outcome"]["variant"], raw["outcome"]["seed"], epochs)
        record = Record(outcome, dict(raw["settings"]), dict(raw["environment"]))
        numbers = [value for epoch in epochs for value in asdict(epoch).values()]
        whole = len(epochs) == record.settings["epochs"] and all(map(math.isfinite, numbers))
        if whole and file.stem == _stem(outcome.variant, outcome.seed):
            return record
        reason = "it does not hold what its name and settings say"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise AttnzooError(f"{file}: expected a finished trial, but it is damaged ({reason}); delete it and run again.")


def _same_settings(file: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in [*now, *there]:
        if there.get(name) != now.get(name):
            raise AttnzooError(
                f"{file}: made with {name}={there.get(name)!r}, now {name}={now.get(name)!r}. "
                "Choose another --out, or delete the folder."
            )
