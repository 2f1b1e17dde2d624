"""Studies in files: JSON and CSV for programs, Markdown and LaTeX for writers, HTML for readers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from attnzoo.errors import AttnzooError
from attnzoo.lab.files import write_atomically
from attnzoo.lab.report import record, tables
from attnzoo.lab.report.merging import merge
from attnzoo.lab.study import Study


class Files(NamedTuple):
    """What was written."""

    json: Path
    csv: Path
    markdown: Path
    latex: Path
    html: Path


class Leaderboard(NamedTuple):
    """Studies by name, what was left out of them, and the files that show them."""

    studies: Mapping[str, Study]
    notes: tuple[str, ...]
    files: Files


def write(study: Study, out: str | Path) -> Files:
    """Write a study's `report.html` and `results.json`, `.csv`, `.md`, `.tex` into `out`, replacing earlier ones.

    Raises:
        AttnzooError: a file cannot be written.
    """
    from attnzoo.lab import words

    return _write({words.title(study): study}, (), record.as_json(study), Path(out), "results", "report")


def leaderboard(folders: Sequence[str | Path], out: str | Path, *, skip_broken: bool = False) -> Leaderboard:
    """Merge finished studies into one `leaderboard.html`, `.json`, `.csv`, `.md`, `.tex` in `out`.

    Studies of the same settings and device become one with the seeds of all; others stay apart, and nothing is
    compared across them. What differs for the same trial is noted.

    Args:
        folders: the `out` of `compare`, any number.
        out: the folder for the files.
        skip_broken: leave out folders whose `results.json` is missing or damaged, and say so, instead of failing.

    Raises:
        AttnzooError: no folder is given or none can be read; one cannot, without `skip_broken`; a file cannot be
            written.
    """
    found, notes = {}, []
    for folder in dict.fromkeys(map(str, folders)):
        try:
            found[folder] = record.read(Path(folder))
        except AttnzooError as error:
            if not skip_broken:
                raise
            notes.append(f"left out: {error}")
    if not found:
        raise AttnzooError("report: no study to report; give folders that attnzoo compare wrote. " + " ".join(notes))
    studies = merge(found)
    everything = {"notes": notes, "studies": {name: record.as_json(study) for name, study in studies.items()}}
    files = _write(studies, tuple(notes), everything, Path(out), "leaderboard", "leaderboard")
    return Leaderboard(studies, tuple(notes), files)


def _write(
    studies: Mapping[str, Study], notes: tuple[str, ...], everything: dict[str, Any], out: Path, stem: str, page: str
) -> Files:
    from attnzoo.lab.report.page import render  # with matplotlib, which nothing else needs

    files = Files(
        json=out / f"{stem}.json",
        csv=out / f"{stem}.csv",
        markdown=out / f"{stem}.md",
        latex=out / f"{stem}.tex",
        html=out / f"{page}.html",
    )
    write_atomically(files.json, json.dumps(everything, indent=1, allow_nan=False) + "\n")
    write_atomically(files.csv, tables.as_csv(studies))
    write_atomically(files.markdown, tables.as_markdown(studies))
    write_atomically(files.latex, tables.as_latex(studies))
    write_atomically(files.html, render(studies, notes))
    return files
