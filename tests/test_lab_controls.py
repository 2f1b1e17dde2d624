"""Is a widened network the same network, as large as it should be, and as well initialised?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attnzoo import AttnzooError
from attnzoo.lab import backbones, controls
from attnzoo.lab.building import build
from attnzoo.lab.controls import Control, Controls
from attnzoo.lab.measure.site import Site
from attnzoo.lab.trial import Trial, Variant
from attnzoo.lab.widening import widen
from attnzoo.lab.widths import Widener

DIGITS = (1, 8, 8)
SETTINGS = {"data": "digits", "shape": [1, 8, 8], "epochs": 2}
PLAIN = Variant()
SE, ECA, GC = (Variant(name, at="block") for name in ("se", "eca", "gc"))


def network(name: str, *shape: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return backbones.build(name, 10, shape[0]), torch.zeros(2, *shape)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "alone", "together"),
    [
        ("resnet20", (1, 8, 8), {16: 1, 32: 1, 64: 1}, {}),
        ("timm:resnext26ts", (3, 32, 32), {24: 1, 32: 1, 64: 2, 128: 4, 256: 8, 512: 16, 1024: 1, 2048: 1}, {}),
        ("vit_tiny_patch16_224", (3, 224, 224), {768: 1}, {192: 3, 576: 9}),  # qkv, and three heads
        ("torchvision:shufflenet_v2_x0_5", (3, 32, 32), {1024: 1}, {24: 1, 48: 2, 96: 4, 192: 8}),
    ],
)
def test_what_can_grow_alone_and_what_together(
    name: str, shape: tuple[int, ...], alone: dict[int, int], together: dict[int, int]
) -> None:
    model, example = network(name, *shape)
    found = Widener(model, example)
    steps = {part.channels: part for part in found.parts}
    assert {c: steps[c,].step for c in alone if (c,) in steps} == alone
    bound = [part for part in found.parts if len(part.channels) > 1]
    assert [{c: w - c for c, w in part.widths(1).items()} for part in bound] == ([together] if together else [])
    widths = found.widths(1.5)
    wider = widen(model, widths, example)
    assert parameters(wider) == found.count(widths)
    assert wider.eval()(example).shape == (2, 10)
    assert found.parameters == parameters(model) < found.count(widths) < 2.4 * parameters(model)


def test_every_layer_is_as_wide_as_asked() -> None:
    model, example = network("resnet20", *DIGITS)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wider = widen(model, {16: 18, 32: 33, 64: 70}, example)
    shapes = {key: tuple(value.shape) for key, value in wider.state_dict().items()}
    assert shapes["conv1.weight"] == (18, 1, 3, 3)
    assert shapes["layer2.0.conv1.weight"] == (33, 18, 3, 3)
    assert shapes["layer3.2.bn2.running_var"] == (70,)
    assert shapes["fc.weight"] == (10, 70)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [type(module) for module in wider.modules()] == [type(module) for module in model.modules()]


def test_depthwise_stays_depthwise_and_groups_stay() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 1, groups=4),
        nn.PReLU(12), nn.ConvTranspose2d(12, 6, 2, groups=2), nn.Flatten(), nn.LazyLinear(10),
    )  # fmt: skip
    example = torch.rand(2, 3, 6, 6)
    model(example)
    wider: Any = widen(model, {8: 12, 12: 16, 6: 10, 54: 90}, example)
    assert (wider[2].groups, wider[2].weight.shape) == (12, (12, 1, 3, 3))
    assert (wider[3].groups, wider[3].weight.shape) == (4, (16, 3, 1, 1))
    assert (wider[4].num_parameters, wider[4].weight.shape) == (16, (16,))
    assert (wider[5].weight.shape, wider[7].in_features) == ((16, 5, 2, 2), 90)
    assert wider(example).shape == (2, 10)
    for widths, complaint in (
        ({8: 9, 12: 16}, "4 groups of a norm do not divide 9 channels"),
        ({12: 14}, r"4 groups of a convolution do not divide 8 and 14 channels"),
        ({6: 10}, "does not run"),
    ):
        with pytest.raises(AttnzooError, match=f"Sequential: cannot be widened by .*{complaint}"):
            widen(model, widths, example)


def test_image_and_logits_keep_their_channels() -> None:
    """Where a width is the number of classes or of the image's channels by chance."""
    model = nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 3, 2), nn.Flatten(), nn.Linear(3, 10))
    wider: Any = widen(model, {3: 5, 10: 14}, torch.rand(2, 3, 2, 2))
    assert [tuple(layer.weight.shape[:2]) for layer in (wider[0], wider[1], wider[3])] == [(14, 3), (5, 14), (10, 5)]
    with pytest.raises(AttnzooError, match="runs no convolution"):
        widen(nn.ReLU(), {3: 5}, torch.rand(2, 3))


@pytest.mark.parametrize(
    "initialise",
    [
        lambda weight: nn.init.kaiming_normal_(weight),
        lambda weight: nn.init.xavier_uniform_(weight),
        lambda weight: nn.init.constant_(weight, 0.0),
    ],
)
def test_wider_weights_start_in_the_manner_of_the_network(initialise: Callable[[Tensor], Tensor]) -> None:
    """As the network's own initialisation would have made them at that width."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64, 5))
    nn.init.zeros_(model[1].weight)
    initialise(model[2].weight)
    wider: Any = widen(model, {64: 100}, torch.rand(2, 3, 5, 5))
    wanted = initialise(torch.empty(100, 100, 3, 3))
    assert wider[2].weight.std().item() == pytest.approx(wanted.std().item(), rel=0.02, abs=1e-9)
    assert wider[2].weight.mean().item() == pytest.approx(0, abs=2e-3)
    assert wider[2].weight.requires_grad
    assert wider[1].weight.eq(0).all()
    assert wider[1].running_var.eq(1).all()
    torch.manual_seed(1)
    again: Any = widen(model, {64: 100}, torch.rand(2, 3, 5, 5))
    assert not torch.equal(again[0].weight, wider[0].weight)


def test_a_widened_network_depends_on_its_seed_alone() -> None:
    variant = Variant(widths=((16, 17),), matches="parameters of se")
    one, same, other = (build(Trial(variant, seed), DIGITS, 10).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("share", [0.001, 0.0075, 0.02, 0.1, 0.7, 3.0])
def test_nearest_parameters(share: float) -> None:
    """At least so many, no width could be one channel narrower, and the ratios differ by a channel at most."""
    model, example = network("resnet20", *DIGITS)
    widener = Widener(model, example)
    wanted = round(parameters(model) * (1 + share))
    widths = widener.nearest(wanted)
    if share == 0.001:  # 16 to 17, the finest step, adds 0.8%
        assert widths == {}
        return
    assert widener.count(widths) >= wanted
    for channels, wide in widths.items():
        assert widener.count({**widths, channels: wide - 1}) < wanted
    growth = [widths.get(channels, channels) / channels for channels in (16, 32, 64)]
    assert max(growth) - min(growth) <= 1 / 16
    assert widener.count(widths) == parameters(widen(model, widths, example))


def test_the_network_itself_is_nearest_to_itself() -> None:
    model, example = network("resnet20", *DIGITS)
    widener = Widener(model, example)
    assert widener.nearest(widener.parameters) == {} == widener.widths(1.0)


class Clock:
    """Latencies by formula: a network takes as long as it has parameters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slowness: float = 1.0) -> None:
        self.slowness = slowness
        monkeypatch.setattr(controls, "_ratio", self.ratio)

    def ratio(self, wider: Variant, module: Variant, site: Site, rounds: int) -> float:
        return parameters(site.build(wider)) / (parameters(site.build(module)) * self.slowness)


def chosen(file: Path, *modules: Variant) -> dict[tuple[str, str], Control]:
    counts = {v: parameters(build(Trial(v, 0), DIGITS, 10)) for v in (PLAIN, *modules)}
    site = Site(DIGITS, 10, torch.device("cpu"), 1)
    found = Controls(file, site, SETTINGS).of(counts, lambda _: None)
    return {(control.module.module, control.kind): control for control in found}


def test_controls_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, slowness=1.2)
    found = chosen(tmp_path / "controls.json", SE, ECA)
    se = found["se", "parameters"]
    assert se.variant == Variant(widths=((16, 17),), matches="parameters of se")
    assert se.reached == 271_527 / 271_450
    eca = found["eca", "parameters"]
    assert (eca.variant, eca.reached) == (PLAIN, 269_434 / 269_461)
    slow = found["se", "latency"]
    assert slow.variant.matches == "latency of se"
    assert slow.reached == pytest.approx(1, abs=0.05)
    assert slow.reached == parameters(build(Trial(slow.variant, 0), DIGITS, 10)) / (271_450 * 1.2)
    assert found["eca", "latency"].variant == slow.variant  # equal widths are one control
    told = list(controls.notes(list(found.values()), 1))
    assert told[0] == "Widened networks have 1.000 to 1.000 times their module's parameters."
    assert told[1].endswith("in parameters than the plain one itself to eca at block in resnet20.")


def test_a_module_that_slows_more_than_eight_times_the_width_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, slowness=200.0)
    slow = chosen(tmp_path / "a.json", SE)["se", "latency"]
    assert slow.variant.widths == ((16, 133), (32, 266), (64, 532))
    assert slow.reached < 0.5
    assert any(note.endswith("what it reached, is not tested.") for note in controls.notes([slow], 1))
    assert any("latency of se at block in resnet20 falls short" in note for note in controls.notes([slow], 1))
    clock.slowness = 0.9
    assert chosen(tmp_path / "b.json", SE)["se", "latency"].variant == PLAIN


def test_latency_is_measured() -> None:
    """By the real clock a wider network takes longer, whatever else the machine does."""
    site = Site(DIGITS, 10, torch.device("cpu"), 16)
    wide = Variant(widths=((16, 64), (32, 128), (64, 256)))
    assert controls._ratio(wide, PLAIN, site, 10) > 1.5


def test_controls_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, slowness=1.2)
    file = tmp_path / "controls.json"
    first = chosen(file, SE)
    clock.slowness = 2.0  # another day, another latency
    second = chosen(file, GC, SE)
    assert all(second[key] == first[key] for key in first)
    assert second["gc", "latency"].variant != first["se", "latency"].variant


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda page: "{", "damaged"),
        (lambda page: "[]", "damaged"),
        (lambda page: json.dumps(page | {"controls": [{"kind": "parameters"}]}), "damaged"),
        (lambda page: json.dumps(page).replace('"parameters"', '"weight"'), "damaged"),
        (lambda page: json.dumps(page).replace('"reached": 1.0', '"reached": NaN, "x": 1'), "damaged"),
        (lambda page: json.dumps(page | {"settings": {**SETTINGS, "epochs": 3}}), "made with epochs=3, now"),
    ],
)
def test_damaged_controls_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Any], str], complaint: str
) -> None:
    Clock(monkeypatch)
    file = tmp_path / "controls.json"
    chosen(file, SE)
    file.write_text(damage(json.loads(file.read_text())))
    with pytest.raises(AttnzooError, match=f"controls.json: .*{complaint}"):
        chosen(file, SE)


def test_what_cannot_be_widened_is_named() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.fc = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).mean((2, 3)).reshape(-1, 8))

    with pytest.raises(AttnzooError, match="Fixed: cannot be widened"):
        Widener(Fixed(), torch.rand(2, 3, 4, 4))
