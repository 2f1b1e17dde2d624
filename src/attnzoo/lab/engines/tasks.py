"""A trial as work for an engine, and what comes of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from attnzoo.errors import AttnzooError
from attnzoo.lab import environment
from attnzoo.lab.data import Data
from attnzoo.lab.observer import Observer
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.train import Run, train
from attnzoo.lab.trial import Epoch, Outcome, Trial

Result = TypeVar("Result")


@dataclass(frozen=True)
class Task:
    """A trial to be trained, by which recipe, and from which model file it starts, if from one."""

    trial: Trial
    recipe: Recipe
    base: Path | None = None


@dataclass(frozen=True)
class Shared:
    """What all tasks have in common.

    Attributes:
        data: the images.
        run: where and how a trial is computed.
        folder: of the study; every machine that runs trials must reach it.
        threads: CPU threads of a trial, which decide its rounding.
        at_once: how many trials run at the same time, at most.
    """

    data: Data
    run: Run
    folder: Path
    threads: int
    at_once: int = 1


@dataclass(frozen=True)
class Finished:
    """What came of a trial, and what it was trained on."""

    outcome: Outcome
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Failed:
    """A trial that cannot be finished, and why, in words that do not name it."""

    trial: Trial
    reason: str


class Engine(Protocol):
    """Runs tasks.

    Attributes:
        deaths: a trial for every time that a process that trained it died and another took over.
    """

    deaths: list[Trial]

    def run(self, tasks: Sequence[Task], observer: Observer) -> Iterator[Finished | Failed]:
        """Run all tasks; give what came of each as soon as it is known, in any order."""

    def call(self, function: Callable[..., Result], *given: Any) -> Result:
        """What a function returns or raises on a device on which trials run, with as many CPU threads."""


def compute(function: Callable[..., Result], given: Sequence[Any], threads: int) -> Result:
    """What a function returns or raises here, with so many CPU threads."""
    with environment.threads(threads):
        return function(*given)


def attempt(task: Task, shared: Shared, on_epoch: Callable[[int, Epoch], None]) -> Finished | Failed:
    """Train a trial here. Whatever goes wrong in it is its own failure: the others can still be trained."""
    with environment.threads(shared.threads):
        try:
            outcome = train(
                task.trial,
                shared.data,
                task.recipe,
                run=shared.run,
                folder=shared.folder,
                base=task.base,
                on_epoch=on_epoch,
            )
        except AttnzooError as error:
            return Failed(task.trial, str(error).removeprefix(f"trial {task.trial}: "))
        except Exception as error:
            return Failed(task.trial, f"{type(error).__name__}: {error}")
        made_on = environment.describe(environment.device(shared.run.device))
        return Finished(outcome, made_on | ({environment.AT_ONCE: str(shared.at_once)} if shared.at_once > 1 else {}))
