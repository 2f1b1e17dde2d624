"""Trials at once on the machines of a Ray cluster, or in several processes of this one."""

import os
import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from attnzoo.errors import AttnzooError
from attnzoo.lab.engines.tasks import Failed, Finished, Result, Shared, Task, attempt, compute
from attnzoo.lab.observer import Observer
from attnzoo.lab.trial import Epoch, Trial

RETRIES: Final = 2  # of a trial whose process died
Told = tuple[int, Epoch] | Finished | Failed


@dataclass
class _Running:
    task: Task
    deaths: int


class Cluster:
    """Runs tasks on Ray; opened by `with`, which starts a cluster here or joins one, and leaves it at the end.

    Workers write checkpoints and trained networks into the study's folder; all else comes back to this process. A
    trial whose worker dies goes on from its checkpoint in another, twice at most.

    Args:
        shared: what the tasks have in common; put into the cluster once.
        address: of a running cluster; None starts one on this machine.
        workers: how many tasks run at once; None takes as many as there is room for.

    Raises:
        AttnzooError: Ray is not installed, a device is numbered, or, when it is opened, there is no such cluster.
    """

    def __init__(self, shared: Shared, address: str | None, workers: int | None) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report to its makers
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves trials on a machine that does more
        try:
            import ray
        except ImportError as error:
            raise AttnzooError("engine='ray' needs Ray: pip install 'attnzoo[ray]'.") from error
        if ":" in shared.run.device:
            raise AttnzooError(f"engine='ray' deals out devices itself: give device='cuda', not {shared.run.device!r}.")
        self._ray: Any = ray
        self.shared = replace(shared, folder=shared.folder.resolve(), data=shared.data.to("cpu"))
        self.address = address
        self.workers = workers
        self.deaths: list[Trial] = []

    def __enter__(self) -> "Cluster":
        ray, threads = self._ray, self.shared.threads
        here: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        if self.workers is not None:
            here["num_cpus"] = self.workers * threads
        try:
            ray.init(
                address=self.address or "local",
                log_to_driver=False,
                logging_level="error",
                **({} if self.address else here),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise AttnzooError(
                f"address={self.address!r}: no Ray cluster answers ({error}); start one with ray start --head, "
                "or leave the address out for one on this machine."
            ) from error
        gpus = self.shared.run.devices if self.shared.run.device == "cuda" else 0
        cpus = threads if self.shared.run.device != "cpu" else threads * self.shared.run.devices
        self._needs = {"num_cpus": cpus, "num_gpus": gpus}
        self._work = ray.remote(**self._needs, max_retries=0)(_work)
        there = ray.cluster_resources()
        room = min(int(there.get("CPU", 0) // cpus), int(there.get("GPU", 0) // gpus) if gpus else 1 << 30)
        if room < 1:
            self.__exit__()
            raise AttnzooError(f"engine='ray': a trial needs {cpus} CPUs and {gpus} GPUs, the cluster has {there}.")
        self.room = min(room, self.workers or room)
        self._shared = ray.put(replace(self.shared, at_once=self.room))
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, tasks: Sequence[Task], observer: Observer) -> Iterator[Finished | Failed]:
        """Run all tasks; give what came of each as soon as it is known."""
        waiting = deque(_Running(task, 0) for task in tasks)
        running: dict[Any, _Running] = {}
        while waiting or running:
            while waiting and len(running) < self.room:
                work = waiting.popleft()
                observer.started(work.task.trial)
                named = self._work.options(name=work.task.trial.slug())
                running[named.remote(work.task, self._shared)] = work
            (stream,), _ = self._ray.wait(list(running), num_returns=1)
            work = running[stream]
            told = self._next(stream, work)
            if isinstance(told, tuple):
                observer.epoch(work.task.trial, *told)
                continue
            del running[stream]
            if told is None:
                self.deaths.append(work.task.trial)
                observer.died(work.task.trial)
                waiting.appendleft(_Running(work.task, work.deaths + 1))
            else:
                yield told

    def call(self, function: Callable[..., Result], *given: Any) -> Result:
        """What a function returns or raises in a worker, with as many CPU threads as a trial."""
        work = self._ray.remote(**self._needs, max_retries=0)(compute)
        try:
            result: Result = self._ray.get(work.remote(function, given, self.shared.threads))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise AttnzooError(f"engine='ray': a worker died ({str(error).splitlines()[0]}); run again.") from error
        return result

    def _next(self, stream: Any, work: _Running) -> Told | None:
        """What a worker tells next; None where it died and another is to take over."""
        trial = work.task.trial
        try:
            told: Told = self._ray.get(next(stream))
        except self._ray.exceptions.RayTaskError as error:
            return Failed(trial, f"{type(error.cause).__name__}: {error.cause}")
        except self._ray.exceptions.RayError as error:
            if work.deaths < RETRIES:
                return None
            reason = str(error).splitlines()[0]
            return Failed(trial, f"the process that trained it died {RETRIES + 1} times ({reason})")
        return told


def _work(task: Task, shared: Shared) -> Iterator[Told]:
    """In a worker: train a trial, and tell of each epoch and of the end."""
    told: queue.Queue[tuple[int, Epoch] | None] = queue.Queue()
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(attempt, task, shared, lambda *epoch: told.put(epoch))
        end.add_done_callback(lambda _: told.put(None))
        while (epoch := told.get()) is not None:
            yield epoch
        yield end.result()
