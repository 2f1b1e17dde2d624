"""Finished trials on disk: one JSON file each, `trials/SLUG.json`, whole or absent; one writer a folder."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from attnzoo.errors import AttnzooError
from attnzoo.lab.files import DAMAGED, refuse_other, sweep_drafts, write_atomically
from attnzoo.lab.layout import checkpoint_file, trial_file
from attnzoo.lab.trial import Outcome, Trial, Variant, outcome_from


@dataclass(frozen=True)
class Record:
    """A finished trial, the settings that made it, and what it was trained on."""

    outcome: Outcome
    settings: Mapping[str, Any]
    environment: Mapping[str, str]


class Store:
    """The trials of one folder, all made with the same settings. No other process writes there meanwhile.

        with Store(out, settings) as store:
            store.add(outcome, environment)

    Args:
        out: the folder of the study; made if it is missing.
        settings: flat, of JSON's own types.

    Raises:
        AttnzooError: the folder cannot be made, another process holds it, a file in it is damaged, or was made
            with other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.out = out
        self._lock = FileLock(out / ".lock")
        self._holder = out / ".holder"
        try:
            (out / "trials").mkdir(parents=True, exist_ok=True)
            self._hold()
        except OSError as error:
            raise AttnzooError(f"{out}: expected a folder to write to ({error}); choose another out.") from error
        try:
            write_atomically(self._holder, f"process {os.getpid()} on {platform.node()}")
            sweep_drafts(out)
            self.records = {record.outcome.trial: record for record in _all(out)}
            for trial, record in self.records.items():
                refuse_other(trial_file(out, trial), record.settings, settings, "folder")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write to the folder; the death of this one does so, too."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()

    def find(self, trial: Trial) -> Record | None:
        """The finished trial, or None."""
        return self.records.get(trial)

    def sorted(self, first: Sequence[Variant]) -> list[Record]:
        """All finished trials: of the variants given, in their order, then of the others; each by its seeds."""
        variants = dict.fromkeys([*first, *(trial.variant for trial in self.records)])
        by_seed = sorted(self.records.values(), key=lambda record: record.outcome.trial.seed)
        return [record for variant in variants for record in by_seed if record.outcome.trial.variant == variant]

    def add(self, outcome: Outcome, environment: Mapping[str, str]) -> Record:
        """Write a finished trial, then drop its checkpoint; a crash in the middle leaves no half file.

        Raises:
            AttnzooError: the file cannot be written.
        """
        record = Record(outcome, self.settings, environment)
        write_atomically(trial_file(self.out, outcome.trial), json.dumps(asdict(record), indent=1, allow_nan=False))
        checkpoint_file(self.out, outcome.trial).unlink(missing_ok=True)
        self.records[outcome.trial] = record
        return record

    def _hold(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            holder = self._holder.read_text(encoding="utf-8") if self._holder.exists() else "another process"
            raise AttnzooError(
                f"{self.out}: {holder} is writing to this folder; wait until it ends, or choose another --out."
            ) from error


def read_all(folder: Path) -> tuple[Mapping[str, Any], list[Record]]:
    """The settings and the finished trials of a study's folder, in the order of their files' names.

    Raises:
        AttnzooError: there is no finished trial, one is damaged, or two were made with different settings.
    """
    records = _all(folder)
    if not records:
        raise AttnzooError(f"{folder}: expected a study, found no trials/*.json; give the --out of attnzoo compare.")
    settings = records[0].settings
    for record in records:
        refuse_other(trial_file(folder, record.outcome.trial), record.settings, settings, "folder")
    return settings, records


def epochs_of(variant: Variant, settings: Mapping[str, Any]) -> int:
    """How many epochs a variant trains: all of the recipe's, or its part where a trained network comes first."""
    before = int(settings.get("trained_epochs") or 0)
    return {"scratch": int(settings["epochs"]), "base": before, "trained": int(settings["epochs"]) - before}[
        variant.start
    ]


def _all(out: Path) -> list[Record]:
    return [_read(file) for file in sorted((out / "trials").glob("*.json"))]


def _read(file: Path) -> Record:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        outcome = outcome_from(raw["outcome"])
        record = Record(outcome, dict(raw["settings"]), {str(k): str(v) for k, v in raw["environment"].items()})
        if len(outcome.epochs) != epochs_of(outcome.trial.variant, record.settings):
            raise ValueError(f"{len(outcome.epochs)} epochs are not what its settings say")
        if file.stem != outcome.trial.slug():
            raise ValueError(f"its name does not say {outcome.trial}")
        return record
    except DAMAGED as error:
        raise AttnzooError(
            f"{file}: expected a finished trial, but it is damaged ({type(error).__name__}: {error}); "
            "delete it and run again."
        ) from error
