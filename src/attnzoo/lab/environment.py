"""What a figure was measured on."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

import torch

from attnzoo.errors import AttnzooError

AT_ONCE: Final = "trials at once"  # in the description of what a trial was trained on


def device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        AttnzooError: the name is unknown, or this machine has no such device.
    """
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise AttnzooError(f"device={name!r}: not available here ({reason}); use 'cpu'.") from error


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch's CPU threads within, as many as before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe(used: torch.device) -> dict[str, str]:
    """The device and the versions that decide a result, as words."""
    if used.type == "cuda":
        device = torch.cuda.get_device_name(used)
    elif used.type == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        device = f"CPU {platform.machine()} ({capability}), {torch.get_num_threads()} of {os.cpu_count()} cores"
    else:
        device = used.type
    return {
        "device": device,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "attnzoo": version("attnzoo"),
    }
