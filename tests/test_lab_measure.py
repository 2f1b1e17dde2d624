"""Are times and energies measured as they are said to be, and fairly among models?"""

import itertools
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from attnzoo import AttnzooError
from attnzoo.lab.measure import Latency, energy, forward, latency, meter, training_step
from attnzoo.lab.measure.peak import peak


class Busy(nn.Module):
    """Writes its name down at every pass, which takes some seconds of a clock."""

    def __init__(self, name: str, seconds: float, clock: SimpleNamespace, diary: list[str]) -> None:
        super().__init__()
        self.name, self.seconds, self.clock, self.diary = name, seconds, clock, diary
        self.last = nn.Linear(64 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.diary.append(f"{self.name} {len(x)} {self.training} {torch.is_grad_enabled()}")
        self.clock.now += self.seconds
        return self.last(x.flatten(1))

    def __deepcopy__(self, memo: object) -> "Busy":
        twin = Busy(self.name, self.seconds, self.clock, self.diary)
        twin.load_state_dict(self.state_dict())
        return twin


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the measurements take for the time, which only `Busy` moves on."""
    result = SimpleNamespace(now=0.0)
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: result.now))
    return result


def models(diary: list[str], clock: SimpleNamespace) -> dict[str, nn.Module]:
    return {"a": Busy("a", 0.01, clock, diary), "b": Busy("b", 0.1, clock, diary)}


def test_forward_is_measured_in_turns(clock: SimpleNamespace) -> None:
    diary: list[str] = []
    found = forward(models(diary, clock), (1, 64, 64), rounds=20)
    assert len(diary) == 2 * (20 + 3)
    rounds = [sorted(diary[i : i + 2]) for i in range(0, len(diary), 2)]
    assert rounds == [["a 1 False False", "b 1 False False"]] * len(rounds)
    assert len(set(diary[::2])) == 2  # neither always goes first
    assert found["a"].ratio == 1
    assert found["b"].ratio == pytest.approx(10)
    assert found["b"].quartiles == pytest.approx((100, 100))
    assert (found["a"].milliseconds, found["b"].milliseconds) == pytest.approx((10, 100))


def test_a_training_step_trains_copies(clock: SimpleNamespace) -> None:
    diary: list[str] = []
    given = models(diary, clock)
    before = {name: model.last.weight.clone() for name, model in given.items()}
    steps = training_step(given, (1, 64, 64), 3, batch=4, rounds=4)
    assert set(diary) == {"a 4 True True", "b 4 True True"}
    assert all(torch.equal(model.last.weight, before[name]) for name, model in given.items())
    assert steps["b"].ratio == pytest.approx(10)
    assert steps["b"].batch == 4


def test_a_training_step_reaches_every_parameter() -> None:
    seen: list[Tensor] = []

    class Spy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(self.weight.detach().clone())
            return super().forward(x.flatten(1))

        def __deepcopy__(self, memo: object) -> "Spy":
            return self

    training_step({"spy": Spy(12, 3)}, (3, 2, 2), 3, batch=4, rounds=2)
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(seen))


def test_autocast_is_used_where_asked() -> None:
    kinds: list[torch.dtype] = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model[1].register_forward_hook(lambda module, given, made: kinds.append(made.dtype))
    forward({"m": model}, (1, 2, 2), rounds=2, dtype=torch.bfloat16)
    assert set(kinds) == {torch.bfloat16}


def test_images_per_second() -> None:
    assert Latency(20.0, (19.0, 21.0), 1.0, batch=128).images_per_second == 6400


@pytest.mark.parametrize(
    ("device", "dtype", "tera"),
    [
        ("NVIDIA H200", torch.bfloat16, 989.4),
        ("NVIDIA H100 PCIe", None, 378.0),
        ("NVIDIA H100 80GB HBM3", torch.float16, 989.4),
        ("NVIDIA A100-SXM4-40GB", None, 156.0),
        ("NVIDIA A1000", None, None),
        ("CPU x86_64", torch.bfloat16, None),
    ],
)
def test_peaks_of_known_devices(device: str, dtype: torch.dtype | None, tera: float | None) -> None:
    assert peak(device, dtype) == (tera and tera * 1e12)


def test_bad_arguments() -> None:
    with pytest.raises(AttnzooError, match="rounds=1 is not an integer of at least 2"):
        forward(models([], SimpleNamespace(now=0.0)), (1, 64, 64), rounds=1)
    with pytest.raises(AttnzooError, match="batch=0 is not an integer of at least 1"):
        training_step(models([], SimpleNamespace(now=0.0)), (1, 64, 64), 3, batch=0)


def package(powercap: Path, number: str, microjoules: int, name: str = "package-0", kind: str = "intel-rapl") -> Path:
    """A counter that starts again above 10 joules."""
    folder = powercap / f"{kind}:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("10000000\n")
    return folder / "energy_uj"


def test_energy_of_all_packages(tmp_path: Path) -> None:
    """The sum of packages; neither their parts, the whole platform, nor a second way to read one counts again."""
    one, two = package(tmp_path, "0", 1_000_000), package(tmp_path, "1", 500_000, "package-1")
    others = [package(tmp_path, "0:0", 0, "core"), package(tmp_path, "2", 0, "psys")]
    others.append(package(tmp_path, "0", 0, kind="intel-rapl-mmio"))
    with meter("cpu", tmp_path) as found:
        one.write_text("3500000")
        two.write_text("1000000")
        for other in others:
            other.write_text("9000000")
    assert found.joules == 3.0


def test_a_counter_that_starts_again(tmp_path: Path) -> None:
    counter = package(tmp_path, "0", 9_000_000)
    with meter("cpu", tmp_path) as found:
        counter.write_text("500000")
    assert found.joules == 1.5


def test_a_counter_that_starts_again_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings in between keep count of every round."""
    monkeypatch.setattr(energy, "_EVERY", 0.001)
    counter, advance, read = package(tmp_path, "0", 0), energy._Package.advance, threading.Semaphore(0)

    def noticed(self: energy._Package) -> float:
        found = advance(self)
        read.release()
        return found

    monkeypatch.setattr(energy._Package, "advance", noticed)
    with meter("cpu", tmp_path) as found:
        for level in (6_000_000, 2_000_000, 8_000_000, 1_000_000):
            draft = counter.with_name("draft")
            draft.write_text(str(level))
            draft.replace(counter)
            while read.acquire(blocking=False):
                pass  # what was read before the level changed
            for _ in range(2):  # one reading may be under way
                assert read.acquire(timeout=60)
    assert found.joules == 21.0
    assert not any("watch" in thread.name for thread in threading.enumerate())


def test_no_counter_is_none(tmp_path: Path) -> None:
    with meter("cpu", tmp_path) as found:
        pass
    assert found.joules is None
    package(tmp_path, "0", 0)
    package(tmp_path, "1", 0, "package-1").write_text("no number")
    with meter("cpu", tmp_path) as found:
        pass
    assert found.joules is None
    with meter("meta", tmp_path) as found:
        pass
    assert found.joules is None


def test_an_error_within_comes_out(tmp_path: Path) -> None:
    package(tmp_path, "0", 0)
    with pytest.raises(KeyError), meter("cpu", tmp_path) as found:
        raise KeyError
    assert found.joules is None


class NVML:
    """A driver whose counter, in millijoules, moves on with every reading."""

    class NVMLError(Exception): ...

    def __init__(self, refuses: bool) -> None:
        self.refuses, self.level, self.open = refuses, 1_000, 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        if self.refuses or handle != "GPU-1234":
            raise self.NVMLError
        self.level += 2_500
        return self.level


@pytest.mark.parametrize(("refuses", "joules"), [(False, 2.5), (True, None)])
def test_energy_of_a_gpu(monkeypatch: pytest.MonkeyPatch, refuses: bool, joules: float | None) -> None:
    driver = NVML(refuses)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    with meter("cuda:0") as found:
        assert driver.open == 1
    assert (found.joules, driver.open) == (joules, 0)


def test_energy_of_a_gpu_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with meter("cuda:0") as found:
        pass
    assert found.joules is None
