"""Tables of results that are measured in parts: rows that say where they come from, old ones kept beside new."""

import json
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch


def merged(file: Path, rows: Sequence[dict], key: str, order: Iterable[str]) -> list[dict]:
    """Rows that were measured now, and those of a file that were not; `key` names a row, `order` sorts the names."""
    before = json.loads(file.read_text())["rows"] if file.exists() else []
    found = {row[key]: row for row in [*before, *rows]}
    return [found[name] for name in order if name in found]


def provenance(rounds: int) -> dict[str, object]:
    """What a row was measured on, how often, and when."""
    return {
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "rounds": rounds,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
