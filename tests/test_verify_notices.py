"""Does each check of the matrix notice what it is there for? One small module for each way to be wrong."""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import attnzoo
from attnzoo import checks, registry
from attnzoo.verify import CHECKS, Failure
from attnzoo.verify.graphs import EQUAL_REMAINDERS, POOLS_BY_REMAINDER, VARIED
from attnzoo.verify.matrix import answer
from attnzoo.verify.subject import Subject

PAPER = attnzoo.Paper("a", "b", "c", 2020, "https://example.org")
FACTS = dict.fromkeys(("title", "source", "source_license", "summary", "summary_zh", "placement", "reported"), "x")


class Gate(nn.Module):
    """A gate that passes every check; what follows differs from it in one point each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        checks.positive("mutant", channels=channels)
        self.channels = channels
        self.fc = nn.Conv2d(channels, channels, 1)

    def gate(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3), keepdim=True)).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels)
        return x * self.gate(x)


Enter = Callable[..., Subject]


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Register a class as 'mutant', and give it as the checks see it."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    def enter(make: type[nn.Module], contract: str = "feature", **facts: Any) -> Subject:
        registered = type(make.__name__, (make,), {"__module__": "package.channel.mutant"})
        home = ModuleType("package.channel.mutant")  # where pickle looks the class up
        setattr(home, make.__name__, registered)
        for name in ("package", "package.channel", "package.channel.mutant"):
            monkeypatch.setitem(sys.modules, name, home)
        attnzoo.register("mutant", paper=PAPER, contract=contract, differences=(), **FACTS, **facts)(registered)
        return Subject("mutant")

    return enter


def weighed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x.mean((2, 3), keepdim=True), weight, bias).sigmoid()


class GateDetached(Gate):
    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x.detach())


class WeightHalved(Gate):
    def gate(self, x: Tensor) -> Tensor:
        weight = self.fc.weight / 2
        return weighed(x, weight + weight.detach(), self.fc.bias)


class WeightAlmostWhole(Gate):
    def gate(self, x: Tensor) -> Tensor:
        weight = self.fc.weight
        return weighed(x, 0.9 * weight + 0.1 * weight.detach(), self.fc.bias)


class WeightDead(Gate):
    def gate(self, x: Tensor) -> Tensor:
        weight = self.fc.weight
        return weighed(x, weight.detach() + 1e-3 * (weight - weight.detach()), self.fc.bias)


class BiasTurned(Gate):
    def gate(self, x: Tensor) -> Tensor:
        return weighed(x, self.fc.weight, 2 * self.fc.bias.detach() - self.fc.bias)


class GateHalved(Gate):
    def gate(self, x: Tensor) -> Tensor:
        gate = super().gate(x) / 2
        return gate + gate.detach()


class OutputDetached(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (GateDetached, "the gradient of input 0"),
        (WeightHalved, "the gradient of fc.weight"),
        (WeightAlmostWhole, "the gradient of fc.weight"),
        (WeightDead, "the gradient of fc.weight"),
        (BiasTurned, "the gradient of fc.bias"),
        (GateHalved, "the gradient of input 0"),
        (OutputDetached, "no output has a gradient"),
    ],
)
def test_gradcheck(enter: Enter, make: type[nn.Module], message: str) -> None:
    with pytest.raises(Failure, match=message):
        CHECKS["gradcheck"].run(enter(make), "quick")


class Unchecked(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class EmptyMapTaken(Gate):
    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or 0 not in x.shape[2:]:
            checks.nchw("mutant", x, self.channels)
        return x * self.gate(x)


class RefusedInAnothersName(Gate):
    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("conv", x, self.channels)
        return x * self.gate(x)


class EmptyBatchFails(Gate):
    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels)
        return torch.stack([one * self.gate(one[None])[0] for one in x])


class EmptyBatchFilled(Gate):
    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels)
        return x * self.gate(x) if len(x) else x.new_zeros(1, *x.shape[1:])


class SecondUnnamed(Gate):
    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels, name="x")
        checks.nchw("mutant", other, self.channels)
        return x * self.gate(other)


class SecondOfAnyBatch(Gate):
    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels, name="x")
        checks.nchw("mutant", other, self.channels, name="other")
        return x * self.gate(other).mean(0)


@pytest.mark.parametrize(
    ("make", "inputs", "message"),
    [
        (Unchecked, (), "x None in eval mode: AttributeError"),
        (EmptyMapTaken, (), "x of no size in dimension 2 in eval mode is taken"),
        (RefusedInAnothersName, (), "refused in another's name: conv"),
        (EmptyBatchFails, (), "an empty batch: RuntimeError"),
        (EmptyBatchFilled, (), "an empty batch gives"),
        (SecondUnnamed, ("B C H W", "B C H W"), "other None in eval mode is refused without being named"),
        (SecondOfAnyBatch, ("B C H W", "B C H W"), "other of another batch in eval mode is taken"),
    ],
)
def test_invalid_inputs(enter: Enter, make: type[nn.Module], inputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(Failure, match=message):
        CHECKS["invalid-inputs"].run(enter(make, inputs=inputs), "quick")


class NarrowRefused(Gate):
    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels)
        checks.at_least_size("mutant", x, 1 if x.shape[2] == x.shape[3] else 2)
        return x * self.gate(x)


class PairsOfPixels(Gate):
    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels)
        checks.larger_than_one_pixel("mutant", x)
        return x * self.gate(x)


@pytest.mark.parametrize(
    ("make", "facts", "message"),
    [
        (NarrowRefused, {}, "mutant: expected a map of at least 2 x 2, got"),
        (PairsOfPixels, {}, "mutant: expected a map of at least 2 pixels"),
        (Gate, {"min_pixels": 2}, r"takes \(1, 1\), though the card says that it needs 2 pixels"),
        (Gate, {"min_size": 3}, "takes 1 x 1, though the card says that 3 is the least"),
    ],
)
def test_smallest_size(enter: Enter, make: type[nn.Module], facts: dict[str, int], message: str) -> None:
    with pytest.raises((Failure, attnzoo.AttnzooError), match=message):
        CHECKS["smallest-size"].run(enter(make, **facts), "quick")


def test_a_declared_smallest_size_passes(enter: Enter) -> None:
    CHECKS["smallest-size"].run(enter(PairsOfPixels, min_pixels=2), "quick")


class RefusesMost(Gate):
    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mutant", x, self.channels)
        checks.at_least_size("mutant", x, 7)
        return x * self.gate(x)


class RefusesAllButTheDefault(Gate):
    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__(channels)
        checks.equal("mutant", reduction=reduction, **{"what it likes": 4})


class OverflowsWithAnOption(Gate):
    def __init__(self, channels: int, reciprocal: bool = False) -> None:
        super().__init__(channels)
        self.reciprocal = reciprocal

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (0 if self.reciprocal else 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (RefusesMost, "draws are refused"),
        (RefusesAllButTheDefault, "no reduction but its default runs"),
        (OverflowsWithAnOption, "not finite"),
    ],
)
def test_valid_arguments(enter: Enter, make: type[nn.Module], message: str) -> None:
    with pytest.raises(Failure, match=message):
        CHECKS["valid-arguments"].run(enter(make), "quick")


class NamesAnother(Gate):
    def __init__(self, channels: int, dim: int = 1, dimension: int = 1) -> None:
        super().__init__(channels)
        checks.positive("mutant", dimension=min(dim, dimension))


class Swallows(Gate):
    def __init__(self, channels: int, scale: float = 1.0) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.full((channels,), scale))


class OfAnyKind(Gate):
    def __init__(self, channels: int, mode: Any = None) -> None:
        super().__init__(channels)


class TakesNegativeItems(Gate):
    def __init__(self, channels: int, sizes: Sequence[int] = (1, 2)) -> None:
        super().__init__(channels)
        checks.sequence("mutant", sizes=sizes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (NamesAnother, "dim=-3 is refused without being named"),
        (Swallows, "scale=-1: RuntimeError"),
        (OfAnyKind, "nothing illegal is known for mode"),
        (TakesNegativeItems, r"sizes=\(-3,\) is taken"),
    ],
)
def test_invalid_arguments(enter: Enter, make: type[nn.Module], message: str) -> None:
    with pytest.raises(Failure, match=message):
        CHECKS["invalid-arguments"].run(enter(make), "quick")


class HiddenInDict(Gate):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.table = {"a": [torch.ones(channels, 1, 1)]}

    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x) * self.table["a"][0]


class HiddenInNestedList(Gate):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.layers = [[nn.Conv2d(channels, channels, 1)]]

    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x) * self.layers[0][0](x)


class OneSampleFails(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (len(x) - 1)


class OneTrainingSampleFails(Gate):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.BatchNorm2d(channels)

    def gate(self, x: Tensor) -> Tensor:
        return self.norm(super().gate(x))


class LayoutLost(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).contiguous()


class Overflowing(Gate):
    def gate(self, x: Tensor) -> Tensor:
        squares = (x * x).to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x * x
        return super().gate((1e3 * squares.sum((2, 3), keepdim=True)).float().to(x.dtype)) + 0 * squares.mean()


class Coarse(Gate):
    def gate(self, x: Tensor) -> Tensor:
        gate = super().gate(x)
        return (4 * gate).round() / 4 if torch.is_autocast_enabled("cpu") else gate


class RootOfZero(Gate):
    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x.var((2, 3), keepdim=True).sqrt() + x)


class Random(Gate):
    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x) + torch.rand((), generator=torch.Generator().manual_seed(NOISE.pop()))


NOISE = list(range(10_000))


class BranchesInTraining(Gate):
    def gate(self, x: Tensor) -> Tensor:
        gate = super().gate(x)
        return 2 * gate if self.training and gate.sum() > 1e9 else gate


class BranchesOnSize(Gate):
    def gate(self, x: Tensor) -> Tensor:
        *compiled, _ = EQUAL_REMAINDERS if POOLS_BY_REMAINDER else VARIED
        return super().gate(x) * (2 if x.shape[2] > max(compiled)[0] else 1)


class HoldsItsWeight(Gate):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.held = [self.fc.weight]

    def gate(self, x: Tensor) -> Tensor:
        return weighed(x, self.held[0], self.fc.bias)


class NotSaved(Gate):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("table", torch.rand(channels, 1, 1), persistent=False)

    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x) * self.table


class Unpicklable(Gate):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = lambda x: x.sigmoid()


class NothingToQuantise(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(1e6 * x).sin()


@pytest.mark.parametrize(
    ("check", "make"),
    [
        ("parameters", HiddenInDict),
        ("parameters", HiddenInNestedList),
        ("batch-1", OneSampleFails),
        ("batch-1-training", OneTrainingSampleFails),
        ("channels-last", LayoutLost),
        ("autocast-bfloat16", Coarse),
        ("autocast-float16", Coarse),
        ("large-finite-float16", Overflowing),
        ("large-close-bfloat16", Coarse),
        ("large-close-float16", Coarse),
        ("constant-inputs", RootOfZero),
        ("deterministic", Random),
        ("compile", BranchesInTraining),
        ("compile-dynamic", BranchesOnSize),
        ("functional-call", HoldsItsWeight),
        ("safetensors", NotSaved),
        ("copies", Unpicklable),
        ("int8", NothingToQuantise),
    ],
)
def test_the_check_notices(enter: Enter, check: str, make: type[nn.Module]) -> None:
    cell = answer(CHECKS[check], enter(make), "quick")
    assert cell.status == "fail", cell


class Parameterless(Gate):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.fc = nn.Identity()


def test_ddp(enter: Enter) -> None:
    assert answer(CHECKS["ddp"], enter(Parameterless), "quick").note == "it has no parameters"


@pytest.mark.parametrize("check", [name for name in CHECKS if name not in ("vectors", "large-close-bfloat16", "ddp")])
def test_a_sound_module_passes(enter: Enter, check: str) -> None:
    """But for vectors, which it has not, a gate that large inputs round, and DDP, where only one process knows it."""
    assert answer(CHECKS[check], enter(Gate), "quick").note == ""
