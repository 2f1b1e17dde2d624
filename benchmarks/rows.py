"""Tables of results that are measured in parts: new rows in the places of old ones, the others kept."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path


def merged(file: Path, rows: Sequence[dict], key: str, order: Iterable[str]) -> list[dict]:
    """Rows that were measured now, and those of a file that were not; `key` names a row, `order` sorts the names."""
    before = json.loads(file.read_text())["rows"] if file.exists() else []
    found = {row[key]: row for row in [*before, *rows]}
    return [found[name] for name in order if name in found]
