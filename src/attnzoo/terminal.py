"""How cards and costs look on a terminal."""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from attnzoo import examples, registry
from attnzoo.lab.cost import Cost, cost
from attnzoo.registry import Card
from attnzoo.verify.check import CHECKS
from attnzoo.verify.matrix import Cell, Matrix

_NAME = 26
_SIGNS = {"pass": ("✓", "green"), "fail": ("✗", "bold red"), "not applicable": ("–", "dim")}


def modules_table(cards: Iterable[Card]) -> Table:
    """One row a module; titles are cut where the terminal is narrow."""
    header = ("name", "family", "contract", "plugs in", "published")
    rows = [(c.name, c.family, c.contract, "yes" if c.plug_in else "no", published(c), c.title) for c in cards]
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for i, column in enumerate(header):
        table.add_column(column, no_wrap=True, min_width=max(len(column), *(len(row[i]) for row in rows)))
    table.add_column("title", no_wrap=True)
    for row in rows:
        table.add_row(Text(row[0], style="bold"), *row[1:-1], Text(row[-1]))
    return table


def card_page(name: str) -> Group:
    """All there is to know about a module: card, usage, arguments, documentation, cost at 56 x 56, but of a loss."""
    card = registry.card(name)
    arguments, shapes = examples.arguments(name), examples.input_shapes(name)
    head = Text.assemble((card.name, "bold"), f"  {card.title}  ", (f"{card.family}, contract {card.contract}", "dim"))
    page: list[RenderableType] = [
        head,
        "",
        Text(card.summary),
        Text(card.summary_zh),
        "",
        Text(card.url, style="underline", no_wrap=True, overflow="ignore"),  # whole, so that it can be opened
        _facts(card),
        _section("Usage", *(Text(line) for line in usage(name).splitlines())),
        _section("Arguments", Text(_signature(name))),
        _section("Documentation", *_paragraphs(inspect.cleandoc(registry.docstring(name)))),
    ]
    if card.contract != "loss":
        measured = cost_table(cost(registry.create(name, **arguments), shapes))
        page.append(_section(f"Cost at {times(shapes)}, one example", measured))
    return Group(*page)


def cost_table(cost: Cost) -> Table:
    """A cost, one quantity a line."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("parameters", f"{cost.parameters:,}")
    table.add_row("multiply-adds", f"{cost.macs:,}")
    table.add_row("kept for backward", f"{cost.activation_bytes / 2**20:,.2f} MiB")
    if cost.latency_ms is not None:
        table.add_row("forward, batch 1", f"{cost.latency_ms:,.2f} ms")
    return table


def matrix_head() -> Group:
    """Which check stands at which place of a row."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for group, checks in _groups():
        table.add_row(group, ", ".join(checks))
    names = Text(" " * _NAME + "  ".join(f"{group:<{len(checks)}}" for group, checks in _groups()), style="bold")
    return Group(table, "", names)


def matrix_row(name: str, cells: tuple[Cell, ...]) -> Group:
    """One module: a sign per check, group by group, and a line per failure."""
    by_check = {cell.check: cell for cell in cells}
    row = Text(f"{name:<{_NAME}}")
    for group, checks in _groups():
        for check in checks:
            row.append(*_SIGNS[by_check[check].status] if check in by_check else (" ",))
        row.append(" " * (max(len(group) - len(checks), 0) + 2))
    row.rstrip()
    row.append(f" {sum(cell.seconds for cell in cells):5.0f}s", style="dim")
    failures = [Text(f"  {cell.check}: {cell.note}", style="red") for cell in cells if cell.status == "fail"]
    return Group(row, *failures)


def matrix_foot(matrix: Matrix) -> Group:
    """Totals, and the reasons of what is not applicable."""
    reasons = [
        Text(f"{sign} {name}: {cell.check}: {cell.note}", style="dim")
        for name, cells in matrix.rows.items()
        for cell in cells
        if cell.status == "not applicable"
        for sign in [_SIGNS[cell.status][0]]
    ]
    totals = ", ".join(f"{matrix.totals[status]} {status}" for status in _SIGNS)
    share = matrix.totals["not applicable"] / max(sum(matrix.totals.values()), 1)
    return Group("", *reasons, "", Text(f"{len(matrix.rows)} modules: {totals} ({share:.1%})", style="bold"))


def usage(name: str) -> str:
    """A snippet that runs, on maps of 56 x 56 at most."""
    size, shapes = (56, 56), examples.input_shapes(name)
    largest = max((side for shape in shapes if len(shape) == 3 for side in shape[1:]), default=0)
    if len(shapes) > 1 and largest > size[0]:  # the finer levels of a pyramid
        size = (size[0] ** 2 // largest, size[1] ** 2 // largest)
    given = "".join(f", {key}={value!r}" for key, value in examples.arguments(name, size=size).items())
    inputs = ", ".join(
        f"torch.randn({', '.join(map(str, shape))})" if below is None else f"torch.randint({below}, {shape})"
        for shape, below in examples.drawn(name, size=size)
    )
    lines = [
        "import attnzoo, torch",
        f"module = attnzoo.create({name!r}{given})",
        f"y = module({inputs})",
    ]
    card = registry.card(name)
    if card.plug_in and card.contract != "tokens":
        extra = "".join(f", {key}={value!r}" for key, value in card.example.items())
        lines.append(f"attnzoo.insert(model, {name!r}, at='layer*.*.bn3'{extra})  # or into any backbone")
    return "\n".join(lines)


def published(card: Card) -> str:
    """Venue and year."""
    return f"{card.venue} {card.year}"


def times(shapes: Iterable[Iterable[int]]) -> str:
    """3 x 224 x 224, and as many more as there are."""
    return " and ".join(" x ".join(map(str, shape)) for shape in shapes)


def default(value: Any) -> Any:
    """A default value as a reader would write it: itself, or the name of a class."""
    return getattr(value, "__name__", value)


def _groups() -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for check in CHECKS.values():
        groups.setdefault(check.group, []).append(check.name)
    return list(groups.items())


def _section(title: str, *parts: RenderableType) -> Group:
    return Group("", Text(title, style="bold"), *(Padding(part, (0, 0, 0, 2)) for part in parts))


def _facts(card: Card) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = [
        ("paper", f"{card.paper}. {card.authors}. {published(card)}."),
        ("numbers from", f"{card.source} (licence: {card.source_license})"),
        ("placement", card.placement),
        ("reported", card.reported),
        *(("differences" if i == 0 else "", text) for i, text in enumerate(card.differences)),
        *(("not applicable", f"{check}: {reason}") for check, reason in card.not_applicable.items()),
        ("frameworks", ", ".join(card.frameworks)),
    ]
    for label, text in rows:
        table.add_row(label, Text(text))
    return table


def _signature(name: str) -> str:
    return ", ".join(
        key if value.default is value.empty else f"{key}={default(value.default)!s}"
        for key, value in registry.signature(name).parameters.items()
    )


def _paragraphs(page: str) -> Iterator[RenderableType]:
    """The docstring with its wrapped lines joined, so that they wrap anew; indented as it was."""
    entry, indent = "", 0
    for line in [*page.splitlines(), ""]:
        depth = len(line) - len(line.lstrip())
        starts = not line or depth < indent or entry.endswith(":") or (depth == indent and _is_item(line))
        if entry and starts:
            yield Padding(Text(entry), (0, 0, 0, indent))
            entry = ""
        if not entry:
            indent = depth
        entry = f"{entry} {line.strip()}".strip()
        if not line:
            yield ""


def _is_item(line: str) -> bool:
    """Whether the line begins an argument or a heading: 'name: ...' or 'one, two: ...'."""
    return re.match(r"\s*\w[\w, ]*:", line) is not None
