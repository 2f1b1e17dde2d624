"""A study as results.json: written whole, and read back strictly, as the file may come from anywhere."""

import json
import math
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from attnzoo.errors import AttnzooError
from attnzoo.lab.cost import Cost
from attnzoo.lab.files import DAMAGED
from attnzoo.lab.measure.latency import Latency
from attnzoo.lab.report.tables import summary
from attnzoo.lab.study import CONTROLS, Measured, Study, summarise
from attnzoo.lab.trial import Variant, outcome_from, trial_from, variant_from

NAME: Final = "results.json"
_FORMAT: Final = "attnzoo study, version 1"
_COUNTS: Final = ("classes", "train_images", "test_images", "epochs", "batch_size")


def as_json(study: Study) -> dict[str, Any]:
    """Everything that is known of a study, of JSON's own types; see `tables.summary` for the units of a row."""
    return {
        "format": _FORMAT,
        "date": study.date,
        "environment": dict(study.environment),
        "settings": dict(study.settings),
        "notes": list(study.notes),
        "failed": [asdict(trial) for trial in study.failed],
        "summary": [summary(row) for row in study.rows],
        "variants": [
            {
                "variant": asdict(row.variant),
                "measured": asdict(row.measured),
                "controls": {kind: asdict(control) for kind, control in row.controls.items()},
                "reached": dict(row.reached),
            }
            for row in study.rows
        ],
        "trials": [
            {**asdict(outcome), "environment": dict(made_on)}
            for outcome, made_on in zip(study.outcomes, study.made_on, strict=True)
        ],
    }


def read(folder: Path) -> Study:
    """The study whose `results.json` lies in `folder`; its summary is computed anew.

    Raises:
        AttnzooError: there is none, or it is damaged or something else.
    """
    file = folder / NAME
    try:
        raw = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_float)
        return _study(raw)
    except FileNotFoundError as error:
        raise AttnzooError(
            f"{folder}: holds no {NAME}; give the --out of a comparison that ran to its end (run it again to continue)."
        ) from error
    except OSError as error:
        raise AttnzooError(
            f"{file}: cannot be read ({error.strerror}); make it readable, or give --skip-broken."
        ) from error
    except DAMAGED as error:
        reason = f"{type(error).__name__}: {error}"
        raise AttnzooError(
            f"{file}: expected the results of a comparison, but it is damaged or something else ({reason[:200]}); run "
            "that comparison again to write it anew, or give --skip-broken."
        ) from error


def _study(raw: Any) -> Study:
    _expect(isinstance(raw, dict) and raw.get("format") == _FORMAT, f"the format is not {_FORMAT!r}")
    _printable(raw)
    trials = [outcome_from(trial) for trial in raw["trials"]]
    variants = [variant_from(one["variant"]) for one in raw["variants"]]
    _expect(len({outcome.trial for outcome in trials}) == len(trials), "a trial stands there twice")
    _expect(len(set(variants)) == len(variants) > 0, "a variant stands there twice, or there is none")
    lengths = {(outcome.trial.variant, len(outcome.epochs)) for outcome in trials}
    _expect(len(lengths) == len({outcome.trial.variant for outcome in trials}), "seeds differ in their epochs")
    missing = set(variants) - {outcome.trial.variant for outcome in trials}
    _expect(not missing, f"no trial of {', '.join(map(str, missing))}")
    measured = {v: _measured(one["measured"]) for v, one in zip(variants, raw["variants"], strict=True)}
    controls = {v: _controls(one["controls"]) for v, one in zip(variants, raw["variants"], strict=True)}
    reached = {v: _reached(one.get("reached", {})) for v, one in zip(variants, raw["variants"], strict=True)}
    failed = tuple(trial_from(trial) for trial in raw["failed"])
    return Study(
        settings=_settings(raw["settings"]),
        environment=_texts(raw["environment"]),
        date=_text(raw["date"]),
        outcomes=tuple(trials),
        made_on=tuple(_texts(trial["environment"]) for trial in raw["trials"]),
        rows=summarise(trials, measured, controls, reached, failed),
        notes=tuple(_text(note) for note in raw["notes"]),
        failed=failed,
    )


def _settings(raw: Any) -> dict[str, Any]:
    settings = dict(raw)
    for name in ("data", "device"):
        _text(settings[name])
    for number in [*settings["shape"], *(settings[name] for name in _COUNTS)]:
        _expect(_whole(number) > 0, "a count is 0")
    _number(settings["learning_rate"])
    return settings


def _controls(raw: Any) -> dict[str, Variant]:
    _expect(set(raw) <= set(CONTROLS), f"unknown controls {sorted(raw)}")
    return {kind: variant_from(control) for kind, control in raw.items()}


def _reached(raw: Any) -> dict[str, float]:
    _expect(set(raw) <= set(CONTROLS), f"unknown controls {sorted(raw)}")
    return {kind: _number(share) for kind, share in raw.items()}


def _measured(raw: Any) -> Measured:
    cost = raw["cost"]
    passes = {name: None if raw[name] is None else _latency(raw[name]) for name in ("batch", "step")}
    counted = {name: _whole(cost[name]) for name in ("parameters", "macs", "activation_bytes")}
    peak = None if raw["peak"] is None else _number(raw["peak"])
    _expect(peak != 0, "a peak is 0")
    return Measured(Cost(**counted), _latency(raw["forward"]), **passes, peak=peak)


def _latency(raw: Any) -> Latency:
    low, high = map(_number, raw["quartiles"])
    found = Latency(_number(raw["milliseconds"]), (low, high), _number(raw["ratio"]), _whole(raw["batch"]))
    _expect(found.milliseconds > 0, "a latency is 0")
    return found


def _texts(raw: Any) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in raw.items()}


def _text(raw: Any) -> str:
    _expect(isinstance(raw, str), f"{raw!r:.40} is no text")
    return str(raw)


def _number(raw: Any) -> float:
    _expect(isinstance(raw, int | float) and not isinstance(raw, bool) and 0 <= raw < 1e18, f"{raw!r:.40} is no number")
    return float(raw)


def _whole(raw: Any) -> int:
    _expect(isinstance(raw, int) and _number(raw) == raw, f"{raw!r:.40} is no count")
    return int(raw)


def _float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _printable(raw: Any) -> None:
    """Nothing that is printed may move a terminal's cursor."""
    if isinstance(raw, str):
        strange = {"Cc", "Cs"} & {unicodedata.category(letter) for letter in raw}  # control characters, half letters
        _expect(not strange, f"{raw!r:.40} cannot be printed")
    elif isinstance(raw, dict):
        _printable(list(raw))
        _printable(list(raw.values()))
    elif isinstance(raw, list):
        for part in raw:
            _printable(part)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
