"""The report of a study: one HTML file that needs nothing else, in light and dark."""

from html import escape
from typing import Final

from attnzoo.lab import charts, words
from attnzoo.lab.study import Row, Study
from attnzoo.lab.train import PLAIN

_CSS: Final = """
:root { --page: #fbfbfa; --card: #fff; --ink: #1d2126; --muted: #667079; --grid: #e3e6e8; --up: #1b7f4b;
  --down: #b8323a; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --page: #15181b; --card: #1c2024; --ink: #e7eaec;
  --muted: #98a2ab; --grid: #31373c; --up: #5cc98f; --down: #f0797f; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1120px; margin: auto; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.1rem; margin: 2.4rem 0 .2rem; }
p { margin: .2rem 0 .6rem; max-width: 96ch; }
.muted { color: var(--muted); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: 1.2rem 0 0; }
dt { color: var(--muted); } dd { margin: 0; }
.note { border-left: 3px solid #d9a02b; padding: .1rem 0 .1rem .9rem; margin: 1.4rem 0 0; }
.card { background: var(--card); border: 1px solid var(--grid); border-radius: 10px; padding: .8rem;
  overflow-x: auto; }
.row { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--least)), 1fr)); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { color: var(--muted); font-weight: 500; font-size: .86rem; text-align: right; vertical-align: bottom; }
th, td { padding: .42rem .7rem; border-bottom: 1px solid var(--grid); }
td { text-align: right; } th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; }
tr.plain { background: color-mix(in srgb, var(--grid) 45%, transparent); }
.half { color: var(--muted); }
.up { color: var(--up); font-weight: 650; } .down { color: var(--down); font-weight: 650; }
i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em; }
.plain i { border-radius: 1px; }
.key { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: 0 0 .5rem; font-size: .9rem; }
svg { display: block; width: 100%; height: auto; }
.wide svg { min-width: 640px; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif !important;
  paint-order: stroke; stroke: var(--card); stroke-width: 2.5px; stroke-linejoin: round; }
"""


def render(study: Study) -> str:
    """The whole page."""
    title = f"{study.settings['backbone']} on {study.settings['data']}: {len(study.rows) - 1} modules against plain"
    against = [
        charts.against(study, "parameters", "parameters, thousands", lambda row: row.cost.parameters / 1e3),
        charts.against(study, "macs", "multiply-adds, millions", lambda row: row.cost.macs / 1e6),
        charts.against(study, "latency", "forward latency, ms", lambda row: row.latency.milliseconds),
    ]
    training = [
        charts.curves(study, "top1", "top-1 on the test images, %", lambda epoch: epoch.top1),
        charts.curves(study, "loss", "training loss", lambda epoch: epoch.train_loss, logarithmic=True),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_CSS}</style>
</head>
<body><main>
<h1>{escape(title)}</h1>
<p class="muted">{escape(_runs(study))}</p>
{_facts(study)}
<div class="note">{"".join(f"<p>{escape(line)}</p>" for line in words.caveats(study))}</div>
<h2>Results</h2>
<p class="muted">Top-1 after the last epoch, mean ± 95% interval. Differences are paired by seed; those whose interval
excludes 0 are coloured. Latency: one forward pass at batch 1 (on a CPU in one thread), median, all variants in turns;
in brackets its ratio to plain. Training: one trial, its epochs times the median epoch.</p>
<div class="card">{_table(study)}</div>
<h2>Difference to plain</h2>
<p class="muted">Mean and 95% interval; rings are single seeds.</p>
<div class="card wide">{charts.differences(study)}</div>
<h2>Accuracy against cost</h2>
<p class="muted">Means with 95% intervals, rings for single seeds, dashes at plain's mean. Points that would
cover one another stand side by side; intervals far wider than the spread of the seeds are cut off by the frame.</p>
{_row(against, "300px")}
<h2>Training</h2>
<p class="muted">Mean over seeds, in a band from the least to the greatest.</p>
{_key(study)}
{_row(training, "420px")}
</main></body>
</html>
"""


def _runs(study: Study) -> str:
    return (
        f"{len(study.rows)} variants × {words.plural(study.seeds, 'seed')} = {len(study.outcomes)} trainings from "
        "scratch. Variants of one seed share backbone weights, batch order and augmentation."
    )


def _facts(study: Study) -> str:
    made = {tuple(environment.values()) for environment in study.made_on}
    on = ", ".join(f"{name} {value}" for name, value in study.environment.items() if name != "device")
    facts = {
        "Images": words.images(study),
        "Attention": f"after each {study.settings['at']} of {study.settings['backbone']}",
        "Training": words.recipe(study),
        "Measured on": f"{study.environment['device']}; {on}",
        "Finished": study.date,
    }
    if made != {tuple(study.environment.values())}:
        facts["Note"] = "Some trials were trained in another environment; results.json says which."
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"


def _table(study: Study) -> str:
    heads = ("variant", "top-1 %", "to plain", "parameters", "MACs", "latency ms", "training")
    lines = "".join(_line(row, charts.colours(study)[row.variant]) for row in study.rows)
    return (
        f"<table><thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead><tbody>{lines}</tbody></table>"
    )


def _line(row: Row, colour: str) -> str:
    cells = [
        f'<i style="background:{colour}"></i>{escape(row.variant)}',
        _with_half(f"{row.top1:.2f}"),
        _difference(row),
        f"{row.cost.parameters:,}",
        escape(words.count(row.cost.macs)),
        f'{row.latency.milliseconds:.2f} <span class="half">(×{row.latency.ratio:.2f})</span>',
        escape(words.duration(row.train_seconds)),
    ]
    kind = ' class="plain"' if row.variant == PLAIN else ""
    return f"<tr{kind}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _difference(row: Row) -> str:
    if row.difference is None:
        return '<span class="half">baseline</span>'
    text = _with_half(f"{row.difference:+.2f}")
    if not row.difference.excludes_zero:
        return text
    return f'<span class="{"up" if row.difference.mean > 0 else "down"}">{text}</span>'


def _with_half(text: str) -> str:
    mean, half = text.split(" ", 1)
    return f'{mean} <span class="half">{half}</span>'


def _key(study: Study) -> str:
    colours = charts.colours(study)
    names = (
        f'<span{" class=plain" if name == PLAIN else ""}><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in colours.items()
    )
    return f'<div class="key">{"".join(names)}</div>'


def _row(cards: list[str], least: str) -> str:
    return (
        f'<div class="row" style="--least:{least}">' + "".join(f'<div class="card">{c}</div>' for c in cards) + "</div>"
    )
