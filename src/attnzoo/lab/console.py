"""A comparison on the terminal: live progress while it runs, a table at the end."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnzoo.lab import words
from attnzoo.lab.columns import Column, columns, lost
from attnzoo.lab.observer import Observer
from attnzoo.lab.report import Leaderboard
from attnzoo.lab.study import Row, Study
from attnzoo.lab.trial import Epoch, Outcome, Trial

_WIDTH: Final = 100
_GAP: Final = 2
_STYLES: Final = {"better": "bold blue", "worse": "bold yellow", "no evidence": ""}


class Progress(Observer):
    """Shows a bar for the study and one for each trial that runs; without a terminal a line per finished trial.

    Args:
        console: where to print; None is standard output.

    Use it as a context manager around `compare(..., observer=progress)`.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _standard_output()
        self.bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=16),
            progress.TextColumn("{task.fields[state]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.study = self.bars.add_task("study", total=None, state="preparing")
        self.running: dict[Trial, progress.TaskID] = {}
        self.epochs: Mapping[Trial, int] = {}
        self.done, self.failures, self.behind = 0, 0, 0  # trials, trials, epochs of both

    def __enter__(self) -> "Progress":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def planned(self, epochs: Mapping[Trial, int], finished: Collection[Trial]) -> None:
        self.epochs, self.done = epochs, len(finished)
        self.behind = sum(epochs[trial] for trial in finished)
        if finished:
            self._say(f"{words.plural(self.done, 'trial')} of {len(epochs)} found finished")
        self.bars.update(self.study, total=sum(epochs.values()))
        self._count()

    def started(self, trial: Trial) -> None:
        self._stop(trial)
        self.running[trial] = self.bars.add_task(str(trial), total=self.epochs[trial], state="")
        self._count()

    def died(self, trial: Trial) -> None:
        self._say(f"a worker died: {trial} goes on from its last epoch in another")

    def epoch(self, trial: Trial, number: int, epoch: Epoch) -> None:
        state = f"epoch {number}/{self.epochs[trial]}  loss {epoch.train_loss:.3f}  top-1 {epoch.top1:.2f}%"
        if trial in self.running:  # a message from another process may come late
            self.bars.update(self.running[trial], completed=number, state=state)
        self._count()

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        self._stop(trial)
        self.done += 1
        self.behind += self.epochs[trial]
        self._say(
            f"{self.done:>{len(str(len(self.epochs)))}}/{len(self.epochs)}  top-1 {outcome.top1:6.2f}%  "
            f"loss {outcome.epochs[-1].train_loss:.4f}  trained in {words.duration(outcome.seconds)}  {trial}"
        )
        self._count()

    def failed(self, trial: Trial, reason: str) -> None:
        self._stop(trial)
        self.failures += 1
        self.behind += self.epochs[trial]
        self._say(f"failed: {trial}: {reason}")
        self._count()

    def matching(self, variant: str) -> None:
        self.bars.update(self.study, state=f"widening the plain network to equal {variant}")

    def measuring(self) -> None:
        self.bars.update(self.study, state="measuring cost and latency")

    def _stop(self, trial: Trial) -> None:
        if trial in self.running:
            self.bars.remove_task(self.running.pop(trial))

    def _count(self) -> None:
        begun = sum(task.completed for task in self.bars.tasks if task.id in self.running.values())
        failed = f", {self.failures} failed" if self.failures else ""
        state = f"{self.done}/{len(self.epochs)} trials{failed}"
        self.bars.update(self.study, state=state, completed=self.behind + begun)

    def _say(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


def table(study: Study, name: str, width: int) -> tuple[Table, list[Column], list[Column]]:
    """The summary, one row a variant; no number is cut.

    Args:
        study: the comparison.
        name: of it, for the title.
        width: columns of the terminal; what does not fit is left out, the least important first.

    Returns:
        The table, the columns in it, and those left out.
    """
    every = columns(study.rows)
    shown = _fitting(study.rows, every, width)
    result = Table(
        title=Text(f"{name}, {words.seeds(study)}"),
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="bold",
        padding=(0, _GAP, 0, 0),
    )
    result.add_column("variant", no_wrap=True, min_width=_label_width(study.rows))
    for column in shown:
        result.add_column(column.heading, justify="right", no_wrap=True, min_width=_width(study.rows, column))
    for row in study.rows:
        result.add_row(Text(row.label), *(_cell(row, column) for column in shown), style="dim" * row.variant.plain)
    for label, number in study.lost.items():
        result.add_row(Text(label), *lost(number, shown))
    return result, shown, [column for column in every if column not in shown]


def show(study: Study, files: Sequence[Path], console: Console | None = None) -> None:
    """Print the table, what the tests say, how far to trust it, and where the files are."""
    console = console or _standard_output()
    _show(study, words.title(study), console)
    _list_files(files, console)


def show_leaderboard(found: Leaderboard, console: Console | None = None) -> None:
    """Print the same of every study in it, and what was left out."""
    console = console or _standard_output()
    for name, study in found.studies.items():
        _show(study, name, console)
    for note in found.notes:
        console.print(Text(note), soft_wrap=True)
    _list_files(found.files, console)


def _show(study: Study, name: str, console: Console) -> None:
    summary, shown, left_out = table(study, name, console.width)
    console.print(summary, crop=False)
    console.print()
    for line in words.findings(study):
        console.print(Text(line), width=min(console.width, _WIDTH))
    console.print()
    for line in [_key(study, shown, left_out), *words.caveats(study)]:
        console.print(Text(line, style="dim"), width=min(console.width, _WIDTH))
    console.print()


def _list_files(files: Sequence[Path], console: Console) -> None:
    for file in files:
        console.print(Text(f"wrote {file}"), soft_wrap=True)


def _standard_output() -> Console:
    """The terminal, or a console as wide as the table where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def _fitting(rows: Sequence[Row], every: list[Column], width: int) -> list[Column]:
    """The most important columns that fit beside the label; always those of rank 1."""
    room = width - _label_width(rows) - _GAP
    shown = []
    for column in sorted(every, key=lambda column: column.rank):
        room -= _width(rows, column) + _GAP
        if column.rank > 1 and room < 0:
            break
        shown.append(column)
    return [column for column in every if column in shown]


def _label_width(rows: Sequence[Row]) -> int:
    return max(len("variant"), *(len(row.label) for row in rows))


def _width(rows: Sequence[Row], column: Column) -> int:
    return max(len(column.heading), *(len(column.text(row)) for row in rows))


def _cell(row: Row, column: Column) -> Text:
    if not column.kind or column.kind not in row.differences:
        return Text(column.text(row))
    return Text(column.text(row), style=_STYLES[row.differences[column.kind].verdict])


def _key(study: Study, shown: list[Column], left_out: list[Column]) -> str:
    """How to read the table, and what it has no room for."""
    parts = ["± is a 95% interval over seeds."]
    if any(column.kind for column in shown):
        parts += ["Differences are points of top-1, paired by seed: ↑ better, ↓ worse, unmarked no evidence."]
    if any(column.heading.endswith(" ms") for column in shown):
        parts += ["Times are medians, × their ratio to plain: latency of a forward pass at batch 1 (on a CPU in one"]
        parts += ["thread), step of a training step at the recipe's batch."]
    parts += [f"Measured on {study.environment.get('device', study.settings['device'])}."]
    if left_out:
        parts += [f"The files have besides: {', '.join(column.heading for column in left_out)}."]
    return " ".join(parts)
