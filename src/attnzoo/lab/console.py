"""A comparison on the terminal: live progress while it runs, a table at the end."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnzoo.lab import words
from attnzoo.lab.study import Row, Study
from attnzoo.lab.sweep import Observer
from attnzoo.lab.train import PLAIN, Epoch, Outcome, Trial

_WIDTH: Final = 100


class Progress(Observer):
    """Shows two bars, the study and the current trial; without a terminal only a line per finished trial.

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
        self.current = self.bars.add_task("", total=None, visible=False, state="")
        self.trials, self.done, self.epochs = 0, 0, 0

    def __enter__(self) -> "Progress":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def planned(self, trials: Sequence[Trial], finished: int, epochs: int) -> None:
        self.trials, self.done, self.epochs = len(trials), finished, epochs
        if finished:
            self._say(f"{words.plural(finished, 'trial')} of {len(trials)} found finished")
        self.bars.update(self.study, total=len(trials) * epochs, completed=finished * epochs)
        self._count()

    def started(self, trial: Trial) -> None:
        self.bars.reset(self.current, description=str(trial), total=self.epochs, visible=True, state="")

    def epoch(self, trial: Trial, number: int, epoch: Epoch) -> None:
        state = f"epoch {number}/{self.epochs}  loss {epoch.train_loss:.3f}  top-1 {epoch.top1:.2f}%"
        self.bars.update(self.current, description=str(trial), completed=number, state=state)
        self.bars.advance(self.study)

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        self.done += 1
        self._say(
            f"{self.done:>{len(str(self.trials))}}/{self.trials}  {trial.variant:<18} seed {trial.seed}  "
            f"top-1 {outcome.top1:6.2f}%  loss {outcome.epochs[-1].train_loss:.4f}  "
            f"trained in {words.duration(outcome.seconds)}"
        )
        self._count()

    def measuring(self) -> None:
        self.bars.update(self.current, visible=False)
        self.bars.update(self.study, state="measuring cost and latency")

    def _count(self) -> None:
        self.bars.update(self.study, state=f"{self.done}/{self.trials} trials")

    def _say(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


def table(study: Study) -> Table:
    """The summary, one row a variant, at most 100 columns wide; no number is cut where a terminal is narrower."""
    title = f"{study.settings['backbone']} on {study.settings['data']}, {words.plural(study.seeds, 'seed')}"
    result = Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="bold", padding=(0, 2, 0, 0)
    )
    rows = [_cells(row) for row in study.rows]
    for i, heading in enumerate(("variant", "top-1 %", "to plain", "parameters", "MACs", "latency ms", "training")):
        width = max(len(heading), *(len(row[i]) for row in rows))
        result.add_column(heading, justify="right" if i else "left", no_wrap=True, min_width=width)
    for row, cells in zip(study.rows, rows, strict=True):
        result.add_row(*cells, style="dim" if row.variant == PLAIN else "")
    return result


def show(study: Study, files: Sequence[Path], console: Console | None = None) -> None:
    """Print the table, how to read it, and where the files are."""
    console = console or _standard_output()
    console.print(table(study), crop=False)
    console.print()
    for line in [_key(study), *words.caveats(study)]:
        console.print(Text(line, style="dim"), width=min(console.width, _WIDTH))
    console.print()
    for file in files:
        console.print(Text(f"wrote {file}"), soft_wrap=True)


def _standard_output() -> Console:
    """The terminal, or a console as wide as the table where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def _cells(row: Row) -> list[Text]:
    difference = Text("baseline")
    if row.difference is not None:
        sign = "green" if row.difference.mean > 0 else "red"
        difference = Text(f"{row.difference:+.2f}", style=sign if row.difference.excludes_zero else "")
    return [
        Text(row.variant),
        Text(f"{row.top1:.2f}"),
        difference,
        Text(f"{row.cost.parameters:,}"),
        Text(words.count(row.cost.macs)),
        Text(f"{row.latency.milliseconds:.2f} (×{row.latency.ratio:.2f})"),
        Text(words.duration(row.train_seconds)),
    ]


def _key(study: Study) -> str:
    return (
        "to plain: points of top-1, paired by seed. latency: a forward pass at batch 1 (on a CPU in one thread), "
        "median, and its ratio to plain. training: one trial, its epochs times the median epoch. Measured on "
        f"{study.environment['device']}."
    )
