"""The table of a page, whose rows the script beside it sorts and filters."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from attnzoo.lab import words
from attnzoo.lab.columns import TOP1, Column, columns, lost, verdict
from attnzoo.lab.report import emphasis
from attnzoo.lab.report.emphasis import Mark
from attnzoo.lab.study import Row, Study, opposite
from attnzoo.lab.trial import Variant

_MANY: Final = 24  # rows from which on a table is made denser
_CLASSES: Final = {"better": "up", "worse": "down", "no evidence": "none"}


def table(studies: Mapping[str, Study]) -> str:
    """One body of rows a study, so that sorting never ranks one study's numbers among another's."""
    rows = [row for study in studies.values() for row in study.rows]
    shown = columns(rows)
    heads = "".join(
        f'<th scope="col" title="{escape(column.meaning)}" aria-sort="{_first_sort(column)}"><button type="button">'
        f"{escape(column.heading)}</button></th>"
        for column in shown
    )
    meanings = "".join(f"<dt>{escape(c.heading)}</dt><dd>{escape(c.meaning)}</dd>" for c in shown)
    bodies = "".join(_body(name, study, shown, len(studies) > 1) for name, study in studies.items())
    dense = len(rows) > _MANY
    controls = any(row.variant.matches for row in rows)
    box = f'<label><input id="controls" type="checkbox"{"" if dense else " checked"}> widened controls</label>'
    about = [
        "A heading sorts by its column" + (", within each study." if len(studies) > 1 else "."),
        "Differences in grey are no evidence." if dense else "",
    ]
    return f"""<h3>Results</h3>
<p class="muted">{" ".join(about)}</p>
<div class="filter"><label for="filter">Filter by name</label><input id="filter" type="search" autocomplete="off">
{box if controls else ""}<output class="muted" for="filter">{words.plural(len(rows), "variant")}</output></div>
<div class="card table{" many" if dense else ""}" tabindex="0" role="region" aria-label="Results"><table>
<thead><tr><th scope="col" aria-sort="none"><button type="button">variant</button></th>{heads}</tr></thead>
{bodies}</table></div>
<details><summary>What the columns mean</summary><dl>{meanings}</dl></details>"""


def _first_sort(column: Column) -> str:
    return "descending" if column.heading == TOP1 else "none"


def _body(name: str, study: Study, shown: Sequence[Column], named: bool) -> str:
    marks, labels = emphasis.marks(study), {row.variant: row.label for row in study.rows}
    rows = sorted(study.rows, key=lambda row: -row.top1.mean)
    head = f'<tr class="study"><th colspan="{len(shown) + 1}" scope="rowgroup">{escape(name)}</th></tr>'
    lines = "".join(_line(row, marks.get(row.variant), shown, labels, name) for row in rows)
    lines += "".join(_lost(label, number, shown, name) for label, number in study.lost.items())
    return f"<tbody>{head if named else ''}{lines}</tbody>"


def _line(row: Row, mark: Mark | None, shown: Sequence[Column], labels: Mapping[Variant, str], study: str) -> str:
    before = glyph(mark) if mark else "<i></i>"
    kind = ' class="plain"' if row.variant.plain else ' class="control"' if row.variant.matches else ""
    cells = "".join(_cell(row, column, labels) for column in shown)
    return (
        f'<tr{kind} data-name="{escape(row.label)}" data-study="{escape(study)}">'
        f'<th scope="row">{before}{escape(row.label)}</th>{cells}</tr>'
    )


def _lost(label: str, number: int, shown: Sequence[Column], study: str) -> str:
    cells = "".join(f"<td>{cell}</td>" for cell in lost(number, shown))
    named = f'data-name="{escape(label)}" data-study="{escape(study)}"'
    return f'<tr {named}><th scope="row"><i></i>{escape(label)}</th>{cells}</tr>'


def _cell(row: Row, column: Column, labels: Mapping[Variant, str]) -> str:
    number = column.number(row)
    if number is None:
        return "<td></td>"
    if not column.kind:
        return f'<td data-n="{number!r}">{_muted(column.text(row))}</td>'
    found = row.differences[column.kind]
    other = opposite(row.variant, column.kind, row.controls) or row.variant
    title = escape(f"against {labels.get(other, other)}, over {words.plural(found.seeds, 'pair')} of trials")
    points, said = _muted(f"{found.interval:+.2f}"), escape(verdict(row, column.kind))
    text = f'<span class="{_CLASSES[found.verdict]}">{points}<small>{said}</small></span>'
    return f'<td data-n="{number!r}" title="{title}">{text}</td>'


def _muted(text: str) -> str:
    """Text whose half width or bracket stands back."""
    first, space, rest = text.partition(" ")
    if rest[:1] not in {"±", "("}:
        return escape(text)
    return f'{escape(first)}{space}<span class="half">{escape(rest)}</span>'


def glyph(mark: Mark) -> str:
    """The mark, as it stands beside a name."""
    return f'<i aria-hidden="true"><svg viewBox="0 0 10 10"><path fill="{mark.colour}" d="{mark.path}"/></svg></i>'
