"""The matrix as a file: every cell with the run that it comes from, as cells of several runs stand side by side."""

import json
import platform
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.verify.check import CHECKS
from attnzoo.verify.matrix import Matrix

_FORMAT: Final = "attnzoo matrix, version 1"
_PACKAGES: Final = ("onnxruntime", "onnxscript", "torchao", "hypothesis")
_CELL: Final[dict[str, type | tuple[type, ...]]] = {
    "check": str,
    "status": str,
    "note": str,
    "seconds": (int, float),
    "run": int,
}


def as_json(matrix: Matrix, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Cells and totals, and the date, device and versions of every run that a cell comes from.

    Args:
        before: what `read` gave of an earlier file; its cells stay where this run has none in their place.
    """
    before = before or {"runs": [], "modules": {}}
    runs = [*before["runs"], _this_run(matrix)]
    rows = {name: {cell["check"]: cell for cell in row} for name, row in before["modules"].items()}
    for name, cells in matrix.rows.items():
        rows.setdefault(name, {}).update({cell.check: {**asdict(cell), "run": len(runs) - 1} for cell in cells})
    known = {
        name: [dict(rows[name][check]) for check in CHECKS if check in rows[name]]
        for name in registry.names()
        if name in rows
    }
    used = sorted({cell["run"] for row in known.values() for cell in row})
    for row in known.values():
        for cell in row:
            cell["run"] = used.index(cell["run"])
    return {
        "format": _FORMAT,
        "runs": [runs[number] for number in used],
        "checks": {name: {"group": check.group, "question": check.question} for name, check in CHECKS.items()},
        "modules": known,
        "totals": dict(Counter(cell["status"] for row in known.values() for cell in row)),
    }


def read(file: Path) -> dict[str, Any]:
    """What `as_json` gave and the file holds.

    Raises:
        AttnzooError: it is none, or damaged.
    """
    wrong = f"{file}: is no matrix of attnzoo verify, or a damaged one; name another file, or remove this one."
    try:
        page = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AttnzooError(wrong) from error
    if not isinstance(page, dict) or page.get("format") != _FORMAT or not _holds(page):
        raise AttnzooError(wrong)
    return page


def _holds(page: dict[str, Any]) -> bool:
    runs, modules = page.get("runs"), page.get("modules")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs) or not isinstance(modules, dict):
        return False
    return all(isinstance(row, list) and all(_is_cell(cell, len(runs)) for cell in row) for row in modules.values())


def _is_cell(cell: object, runs: int) -> bool:
    if not isinstance(cell, dict) or set(cell) != set(_CELL):
        return False
    typed = all(isinstance(cell[key], kind) and not isinstance(cell[key], bool) for key, kind in _CELL.items())
    return typed and cell["status"] in ("pass", "fail", "not applicable") and 0 <= cell["run"] < runs


def _this_run(matrix: Matrix) -> dict[str, str]:
    run = {
        "profile": matrix.profile,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for package in _PACKAGES:
        try:
            run[package] = version(package)
        except PackageNotFoundError:
            continue
    return run
