"""How trials are run: one after another in this process, or many at once on Ray."""

from contextlib import AbstractContextManager
from typing import Final

from attnzoo import checks
from attnzoo.errors import AttnzooError
from attnzoo.lab.engines.ray import Cluster
from attnzoo.lab.engines.serial import Serial
from attnzoo.lab.engines.tasks import Engine, Failed, Finished, Shared, Task

__all__ = ["ENGINES", "Engine", "Failed", "Finished", "Shared", "Task", "choose"]

SERIAL: Final = "serial"
ENGINES: Final = (SERIAL, "ray")


def choose(
    name: str, shared: Shared, address: str | None = None, workers: int | None = None
) -> AbstractContextManager[Engine]:
    """The engine of that name, to be opened by `with`. The same trial gives the same result under each.

    Args:
        name: one of ENGINES.
        shared: what all trials have in common.
        address: of a running Ray cluster, "auto" for the one on this machine; None starts one here.
        workers: how many trials run at once on Ray; None takes as many as it has room for.

    Raises:
        AttnzooError: an unknown name, address or workers without Ray, or workers below 1.
    """
    checks.choice("compare", ENGINES, engine=name)
    if workers is not None:
        checks.positive("compare", workers=workers)
    if name == "ray":
        return Cluster(shared, address, workers)
    if address is not None or workers is not None:
        raise AttnzooError(f"compare: address={address!r} and workers={workers} are for engine='ray'; give it too.")
    return Serial(shared)
