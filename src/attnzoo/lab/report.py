"""A study in files: results.json for programs, results.csv for spreadsheets, report.html for people."""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from attnzoo.lab.store import write_atomically
from attnzoo.lab.study import Row, Study


class Files(NamedTuple):
    """What was written."""

    json: Path
    csv: Path
    html: Path


def write(study: Study, out: str | Path) -> Files:
    """Write the three files into `out`, replacing earlier ones.

    Raises:
        AttnzooError: a file cannot be written.
    """
    from attnzoo.lab import page  # with matplotlib, which nothing else needs

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder / "results.json", folder / "results.csv", folder / "report.html")
    write_atomically(files.json, json.dumps(as_json(study), indent=1, allow_nan=False) + "\n")
    write_atomically(files.csv, as_csv(study))
    write_atomically(files.html, page.render(study))
    return files


def as_json(study: Study) -> dict[str, Any]:
    """Everything that is known of a study, of JSON's own types; see `summary` for the units of a row."""
    return {
        "date": study.date,
        "environment": dict(study.environment),
        "settings": dict(study.settings),
        "seeds": study.seeds,
        "runs": len(study.outcomes),
        "summary": [summary(row, study.seeds) for row in study.rows],
        "trials": [
            {**asdict(outcome), "environment": dict(made_on)}
            for outcome, made_on in zip(study.outcomes, study.made_on, strict=True)
        ],
    }


def as_csv(study: Study) -> str:
    """The summary, one line a variant under a line of names; an empty cell where there is no number."""
    text = io.StringIO()
    rows = [summary(row, study.seeds) for row in study.rows]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary(row: Row, seeds: int) -> dict[str, Any]:
    """One row, flat: top-1 in percent, its difference to plain in points, half widths of 95% intervals."""
    return {
        "variant": row.variant,
        "seeds": seeds,
        "top1_percent": row.top1.mean,
        "top1_half_width": row.top1.half_width,
        "difference_points": row.difference.mean if row.difference else None,
        "difference_half_width": row.difference.half_width if row.difference else None,
        "parameters": row.cost.parameters,
        "macs": row.cost.macs,
        "activation_bytes": row.cost.activation_bytes,
        "latency_ms": row.latency.milliseconds,
        "latency_ratio": row.latency.ratio,
        "train_seconds": row.train_seconds,
    }
