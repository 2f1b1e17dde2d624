"""Energy that a device draws, where it says so: NVML's counter on a GPU, Linux's RAPL counters on a CPU.

The counters are the device's: what other programs draw at the same time is in them. Those of a CPU cover its packages,
not the memory nor the rest of the machine, and most systems let only the superuser read them.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

_POWERCAP: Final = Path("/sys/class/powercap")
_EVERY: Final = 20.0  # seconds; a package counter comes round in a few minutes at the soonest


@dataclass
class Meter:
    """Energy drawn so far, in joules; None where the device does not say. Written when the measurement ends."""

    joules: float | None = None


@contextmanager
def meter(device: str | torch.device, powercap: Path = _POWERCAP) -> Iterator[Meter]:
    """Measure the energy that a device draws within.

    Args:
        device: a GPU of NVIDIA's (with the package nvidia-ml-py), or the CPU; others say nothing.
        powercap: where Linux shows its RAPL counters.
    """
    place, result = torch.device(device), Meter()
    with _gpu(place) if place.type == "cuda" else _cpu(place, powercap) as read:
        before = read()
        yield result
        after = read()
    if before is not None and after is not None:
        result.joules = after - before


@contextmanager
def _gpu(device: torch.device) -> Iterator[Callable[[], float | None]]:
    """Reads a GPU's counter in joules; None where there is none."""
    try:
        import pynvml
    except ImportError:
        yield lambda: None
        return

    def read() -> float | None:
        torch.cuda.synchronize(device)
        with suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
            return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        return None

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield lambda: None
        return
    try:
        yield read
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def _cpu(device: torch.device, powercap: Path) -> Iterator[Callable[[], float | None]]:
    """Reads the packages' counters in joules; None where there are none."""
    packages = [] if device.type != "cpu" else _packages(powercap)
    if not packages:
        yield lambda: None
        return
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_EVERY):
            for package in packages:
                package.advance()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: sum(package.advance() for package in packages)
    finally:
        stop.set()
        watcher.join()


class _Package:
    """A RAPL counter, in microjoules, that starts again from 0 above its range."""

    def __init__(self, folder: Path) -> None:
        self.counter = folder / "energy_uj"
        self.range = int((folder / "max_energy_range_uj").read_text())
        self.last = self._read()
        self.total = 0
        self.lock = threading.Lock()

    def advance(self) -> float:
        """Joules since the first reading."""
        with self.lock:
            now = self._read()
            self.total += now - self.last if now >= self.last else now - self.last + self.range
            self.last = now
            return self.total / 1e6

    def _read(self) -> int:
        return int(self.counter.read_text())


def _packages(powercap: Path) -> list[_Package]:
    """All packages, or none where one cannot be read: a part of them would pass for the whole."""
    try:
        domains = sorted(powercap.glob("intel-rapl:*"))
        return [_Package(domain) for domain in domains if (domain / "name").read_text().startswith("package")]
    except (OSError, ValueError):
        return []
