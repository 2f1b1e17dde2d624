"""Trials one after another in this process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from attnzoo.lab.engines.tasks import Failed, Finished, Result, Shared, Task, attempt, compute
from attnzoo.lab.observer import Observer
from attnzoo.lab.trial import Trial


class Serial:
    """Runs tasks in their order.

    Args:
        shared: what they have in common; the images go to the device once.
    """

    def __init__(self, shared: Shared) -> None:
        place = shared.run.device if shared.run.devices == 1 else "cpu"
        self.shared = replace(shared, data=shared.data.to(place))
        self.deaths: list[Trial] = []

    def __enter__(self) -> "Serial":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, tasks: Sequence[Task], observer: Observer) -> Iterator[Finished | Failed]:
        """Run all tasks; give what came of each as soon as it is known."""
        for task in tasks:
            observer.started(task.trial)
            yield attempt(task, self.shared, partial(observer.epoch, task.trial))

    def call(self, function: Callable[..., Result], *given: Any) -> Result:
        """What a function returns or raises here, with as many CPU threads as a trial."""
        return compute(function, given, self.shared.threads)
