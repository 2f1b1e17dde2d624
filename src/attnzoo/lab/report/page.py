"""Studies as one HTML file that needs nothing else: a table to sort and filter, and charts, in light and dark."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from attnzoo.lab import words
from attnzoo.lab.environment import AT_ONCE
from attnzoo.lab.report import emphasis, scatter, training
from attnzoo.lab.report.differences import compared, differences
from attnzoo.lab.report.html_table import glyph, table
from attnzoo.lab.study import Study

_NOTES: Final = 6  # that are shown at once


def render(studies: Mapping[str, Study], notes: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        studies: by names that tell them apart.
        notes: what a reader must know of all of them.
    """
    [name, *others] = studies
    title = f"{1 + len(others)} studies of attention modules" if others else name
    parts = [_head(study) for study in studies.values()]
    figures = [_figures(study, number) for number, study in enumerate(studies.values())]
    if others:
        headed = zip(studies, parts, figures, strict=True)
        below = "".join(f"<section><h2>{escape(name)}</h2>{part}{shown}</section>" for name, part, shown in headed)
        body = _list("note", notes) + table(studies) + below
    else:
        body = parts[0] + _list("note", notes) + table(studies) + figures[0]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_beside("page.css")}</style>
</head>
<body><main>
<h1>{escape(title)}</h1>
{body}
</main>
<script>{_beside("page.js")}</script>
</body>
</html>
"""


def _beside(name: str) -> str:
    return files("attnzoo.lab.report").joinpath(name).read_text(encoding="utf-8")


def _head(study: Study) -> str:
    """What was done, what was found, and how far to trust it."""
    return (
        f'<p class="muted">{escape(words.runs(study))}. Variants of one seed share backbone weights, batch order and '
        f"augmentation.</p>{_facts(study)}"
        f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in words.findings(study))}</ul>"
        + _list("note", words.caveats(study))
    )


def _list(kind: str, lines: Sequence[str]) -> str:
    told = [f"<p>{escape(line)}</p>" for line in lines]
    if len(told) > _NOTES:
        more = f"<summary>{len(told) - _NOTES} more notes</summary>{''.join(told[_NOTES:])}"
        told = [*told[:_NOTES], f"<details>{more}</details>"]
    return f'<div class="{kind}">{"".join(told)}</div>' if told else ""


def _facts(study: Study) -> str:
    made = {tuple(text for name, text in one.items() if name != AT_ONCE) for one in study.made_on}
    on = ", ".join(f"{name} {value}" for name, value in study.environment.items() if name != "device")
    facts = {
        "Images": words.images(study),
        "Training": words.recipe(study),
        "Measured on": f"{study.environment.get('device', study.settings['device'])}; {on}",
        "Finished": study.date,
    }
    if made != {tuple(study.environment.values())}:
        facts["Note"] = "Some trials were trained in another environment; the JSON file says which."
    return (
        "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"
        f"<details><summary>All settings</summary><p>{escape(words.all_settings(study))}</p></details>"
    )


def _figures(study: Study, number: int) -> str:
    costs = [
        scatter.against(study, f"latency{number}", "latency at batch 1, ms", emphasis.latency),
        scatter.against(study, f"parameters{number}", "parameters, millions", emphasis.parameters),
        scatter.against(study, f"memory{number}", "activation memory, MB an image", emphasis.memory),
    ]
    trained = [
        training.curves(study, f"top1-{number}", "top-1 on the test images, %", lambda epoch: epoch.top1),
        training.curves(study, f"loss{number}", "training loss", lambda epoch: epoch.train_loss, loss=True),
    ]
    rest = "Others are grey: plain ones widened to the same parameters +, to the same latency ×, all else dots. "
    return f"""{_differences(study, number)}
<h3>Accuracy against cost</h3>
{_key(study)}
<p class="muted">Means, with 95% intervals and rings for single seeds where there is colour; the dotted stairs are the
Pareto front. {rest if _has_rest(study) else ""}Intervals far wider than the spread of the seeds are cut off by the
frame; what lies far from all else is an arrow at it, with its number. Rest the pointer on a mark for its numbers.</p>
{_row(costs, scatter.crowded(study), "300px")}
<h3>Training</h3>
<p class="muted">Mean over seeds; where there is colour, in a band from the least to the greatest. The first epochs may
lie below the frame of top-1.</p>
{_row(trained, False, "420px")}
{_seeds(study, number)}"""


def _differences(study: Study, number: int) -> str:
    rows = compared(study)
    if not rows:
        return ""
    without = (
        " Widened controls stand in the table."
        if any(row.variant.matches for row in study.rows) and not any(row.variant.matches for row in rows)
        else ""
    )
    return f"""<h3>Differences</h3>
<p class="muted">Means, 95% intervals, and a ring for each pair of seeds; in colour where the corrected test says better
or worse; what lies far from all else is an arrow at the frame, with its number.{without}</p>
<div class="card wide">{differences(study, f"differences{number}")}</div>"""


def _seeds(study: Study, number: int) -> str:
    if study.seeds < 2 or not any(row.differences for row in study.rows):
        return ""
    return f"""<h3>Seeds</h3>
<p class="muted">A mark is one trial: to the right how far plain came with its seed, upward how far it came. Above the
dashes it did better. Marks that rise to the right share the luck of their seed.</p>
<div class="card narrow">{training.seeds(study, f"seeds{number}")}</div>"""


def _has_rest(study: Study) -> bool:
    return len(emphasis.marks(study)) < len(study.rows)


def _key(study: Study) -> str:
    marks = emphasis.marks(study)
    marked = [row for row in study.rows if row.variant in marks]
    names = (f"<span>{glyph(marks[row.variant])}{escape(row.label)}</span>" for row in marked)
    return f'<div class="key">{"".join(names)}</div>'


def _row(cards: Sequence[str], crowded: bool, least: str) -> str:
    """Charts side by side, as many as find `least` room; crowded ones each on a line of its own."""
    kind, least = ("card wide", "100%") if crowded else ("card", least)
    shown = "".join(f'<div class="{kind}">{card}</div>' for card in cards)
    return f'<div class="row" style="--least:{least}">{shown}</div>'
