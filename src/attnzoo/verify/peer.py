"""A second process, for checks of distributed training; started once and kept until a pass fails."""

import atexit
import functools
import multiprocessing
import tempfile
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from attnzoo.verify.subject import Subject, of_numbers, outputs_of

_WORLD = 2
_PATIENCE = timedelta(minutes=5)  # of a rank with the other, which may build a large module on a busy machine


def gradients_with_peer(name: str) -> list[Tensor]:
    """The parameters' gradients on rank 0 of two, each rank with its half of the batch of 4."""
    names, _ = _peer()
    names.send(name)
    try:
        return gradients(name, rank=0)
    except Exception:
        _part()  # one rank may wait for what the other never sends
        raise


def gradients(name: str, rank: int) -> list[Tensor]:
    """One synchronised backward pass of this rank."""
    subject = Subject(name)
    module = DistributedDataParallel(subject.build().double())
    half = tuple(x[2 * rank : 2 * rank + 2] for x in of_numbers(Tensor.double, subject.inputs(4)))
    mean_loss(module(*half)).backward()
    return [p.grad for p in module.parameters() if p.grad is not None]


def mean_loss(result: Any) -> Tensor:
    """A loss whose mean over two halves of a batch is its value on the whole."""
    losses = [
        (out * torch.linspace(-1, 1, out[0].numel(), dtype=out.dtype).view(out[0].shape)).sum() / out.shape[0]
        for out in outputs_of(result)
    ]
    return torch.stack(losses).sum()


@functools.cache
def _peer() -> tuple[Connection, Any]:
    """Start rank 1 and join it as rank 0; the names that are sent to it are answered by gradients there."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    store = Path(tempfile.mkdtemp()) / "store"
    process = context.Process(target=_serve, args=(theirs, str(store)), daemon=True)
    process.start()
    _join(store=str(store), rank=0)
    return ours, process


@atexit.register
def _part() -> None:
    """End the other process, if there is one, and the group."""
    if _peer.cache_info().currsize:
        _, process = _peer()
        process.kill()
        process.join(timeout=10)
        _peer.cache_clear()
        distributed.destroy_process_group()


def _serve(names: Connection, store: str) -> None:
    torch.set_num_threads(1)
    import attnzoo  # noqa: F401 (fills the registry)

    _join(store, rank=1)
    with suppress(Exception):  # the end of this process ends what rank 0 waits for, and rank 0 reports it
        while (name := names.recv()) is not None:
            gradients(name, rank=1)
    distributed.destroy_process_group()


def _join(store: str, rank: int) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=_WORLD, timeout=_PATIENCE
    )
