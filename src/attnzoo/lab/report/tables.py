"""The tables of studies as text: CSV for programs, Markdown for pages, LaTeX (booktabs) for papers."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from attnzoo.lab import words
from attnzoo.lab.columns import Column, columns, lost
from attnzoo.lab.study import CONTROLS, KINDS, Row, Study

_PAGE: Final = 40  # rows from which on a LaTeX table must break
_LATEX: Final = {
    "\\": r"\textbackslash{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line's end it would begin an option
    "*": "{*}",
    '"': "''",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "⁶": r"$^{6}$",
}


def summary(row: Row) -> dict[str, Any]:
    """One row, flat.

    Top-1 and top-5 in percent, differences in points, half widths of 95% intervals, times in ms but for training.
    """
    found: dict[str, Any] = {
        "variant": row.label,
        "module": row.variant.module,
        "backbone": row.variant.backbone,
        "at": row.variant.at,
        "start": row.variant.start,
        "matches": row.variant.matches,
        "seeds": len(row.seeds),
        "failed_seeds": len(row.failed),
        "top1_percent": row.top1.mean,
        "top1_half_width": row.top1.half_width,
        "top5_percent": row.top5.mean if row.top5 else None,
        "top5_half_width": row.top5.half_width if row.top5 else None,
    }
    for kind in KINDS:
        one = row.differences.get(kind)
        found |= {
            f"to_{kind}_points": one.interval.mean if one else None,
            f"to_{kind}_half_width": one.interval.half_width if one else None,
            f"to_{kind}_p": one.p if one else None,
            f"to_{kind}_p_holm": one.corrected if one else None,
            f"to_{kind}_verdict": one.verdict if one else None,
        }
    found |= {f"to_{kind}_reached": row.reached.get(kind) for kind in CONTROLS}
    cost = asdict(row.measured.cost)
    found |= {name: cost[name] for name in ("parameters", "macs", "activation_bytes")}
    for name in ("forward", "batch", "step"):
        latency = getattr(row.measured, name)
        found |= {
            f"{name}_ms": latency.milliseconds if latency else None,
            f"{name}_ms_lower_quartile": latency.quartiles[0] if latency else None,
            f"{name}_ms_upper_quartile": latency.quartiles[1] if latency else None,
            f"{name}_ratio": latency.ratio if latency else None,
            f"{name}_images_per_second": latency.images_per_second if latency else None,
        }
    found |= {"peak_used": row.measured.used}
    return found | {"joules_per_epoch": row.joules, "train_seconds": row.train_seconds}


def as_csv(studies: Mapping[str, Study]) -> str:
    """One line a variant under a line of names; an empty cell where there is no number."""
    text = io.StringIO()
    lines = [{"study": name, **summary(row)} for name, study in studies.items() for row in study.rows]
    lines += [
        {**dict.fromkeys(lines[0]), "study": name, "variant": label, "seeds": 0, "failed_seeds": number}
        for name, study in studies.items()
        for label, number in study.lost.items()
    ]
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _no_formula(value) for key, value in line.items()} for line in lines)
    return text.getvalue()


def as_markdown(studies: Mapping[str, Study]) -> str:
    """A table a study, under its name, above what the tests say and what to know before believing them."""
    parts = []
    for name, study in studies.items():
        shown = columns(study.rows)
        lines = [["variant", *(column.heading for column in shown)], ["---"] + ["---:"] * len(shown)]
        lines += [[row.label, *(column.text(row) for column in shown)] for row in study.rows]
        lines += [[label, *lost(number, shown)] for label, number in study.lost.items()]
        table = "\n".join("| " + " | ".join(_markdown(cell) for cell in line) + " |" for line in lines)
        said = "\n".join(f"- {_markdown(line)}" for line in [*words.findings(study), *words.caveats(study)])
        about = f"{words.runs(study)}. {words.recipe(study)}. {study.environment.get('device', '')}, {study.date}."
        meanings = _markdown(" ".join(f"{column.heading}: {column.meaning}" for column in shown))
        parts.append(f"## {_markdown(name)}\n\n{_markdown(about)}\n\n{table}\n\n{said}\n\n{meanings}\n")
    return "\n".join(parts)


def as_latex(studies: Mapping[str, Study]) -> str:
    r"""A booktabs table to \input, a block of rows a study; a longtable where one page will not hold it."""
    rows = [row for study in studies.values() for row in study.rows]
    shown = [column for column in columns(rows) if column.rank < 3]
    longer = len(rows) > _PAGE
    needs = r"\usepackage{booktabs,longtable}" if longer else r"\usepackage{booktabs}"
    head = " & ".join(["Variant", *(_latex(column.heading) for column in shown)]) + r" \\"
    blocks = [_latex_block(name, study, shown, len(studies) > 1) for name, study in studies.items()]
    begin, end = (r"\begin{longtable}", r"\end{longtable}") if longer else (r"\begin{tabular}", r"\end{tabular}")
    lines = [
        f"% Needs {needs}",
        f"{begin}{{@{{}}l{'r' * len(shown)}@{{}}}}",
        r"\toprule",
        head,
        r"\midrule",
        *([r"\endhead"] if longer else []),
        "\n\\midrule\n".join(blocks),
        r"\bottomrule",
        end,
    ]
    comments = [f"% {_latex(column.heading)}: {_latex(column.meaning)}" for column in shown]
    comments += [
        f"% {_latex(name)}: {_latex(line)}"
        for name, study in studies.items()
        for line in [words.runs(study), *words.caveats(study)]
    ]
    return "\n".join([*lines, *comments]) + "\n"


def _latex_block(name: str, study: Study, shown: list[Column], named: bool) -> str:
    title = [rf"\multicolumn{{{len(shown) + 1}}}{{@{{}}l}}{{\emph{{{_latex(name)}}}}} \\"] if named else []
    lines = [[row.label, *(column.text(row) for column in shown)] for row in study.rows]
    lines += [[label, *lost(number, shown)] for label, number in study.lost.items()]
    return "\n".join(title + [_latex_row(line) for line in lines])


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    """Text that LaTeX prints as it is, on one line; a hyphen before a number becomes a minus."""
    one_line = " ".join(text.split())
    escaped = "".join(_LATEX.get(sign, sign) for sign in one_line)
    return re.sub(r"^-(?=\d)", "$-$", escaped)


def _markdown(text: str) -> str:
    """Text that neither ends a cell nor starts markup."""
    return re.sub(r"([\\|*_`<>\[\]#])", r"\\\1", " ".join(text.split()))


def _no_formula(value: Any) -> Any:
    """A spreadsheet runs a text that begins like a formula; an apostrophe keeps it a text."""
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+\-@\t\r]", value) else value
