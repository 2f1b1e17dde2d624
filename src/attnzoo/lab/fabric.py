"""Lightning Fabric for a run: which devices, which precision."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from attnzoo.errors import AttnzooError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric_for(device: torch.device, devices: int, precision: str) -> "Fabric":
    """Fabric on so many devices of a kind, in one process where there is one device.

    Raises:
        AttnzooError: there are fewer such devices.
    """
    with _without_torchmetrics():
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    chosen: Any = devices
    if device.type == "cuda":
        there, first = torch.cuda.device_count(), device.index or 0
        if first + devices > there:
            raise AttnzooError(f"devices={devices}: this machine has {there - first} from {device} on; use as many.")
        chosen = list(range(first, first + devices))
    with _quiet(logging.getLogger("lightning_fabric")):  # it would tell its precision once a trial
        return Fabric(
            accelerator=device.type,
            devices=chosen,
            strategy="ddp_spawn" if devices > 1 else "auto",
            precision=precision,  # type: ignore[arg-type]
            plugins=LightningEnvironment(),
        )


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Warnings and errors only."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _without_torchmetrics() -> Iterator[None]:
    """Fabric asks for the version of torchmetrics by importing it, which takes longer than all the rest."""
    hidden = "torchmetrics" not in sys.modules
    if hidden:
        sys.modules["torchmetrics"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torchmetrics"]
