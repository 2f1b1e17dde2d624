"""Do whole published checkpoints load, strictly, and does what is loaded compute what the original computes?"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import skeletons as sk
import timm
import torch
import torchvision
from torch import Tensor, nn

import attnzoo

ECA_KERNELS = {18: (3, 5, 7, 7), 34: (3, 3, 5, 7), 50: (3, 5, 5, 7), 101: (3, 3, 5, 7), 152: (3, 3, 5, 7)}
NEXT_BLOCK = partial(sk.bottleneck, widening=2, groups=32)
CHECKPOINTS: dict[str, Callable[[], nn.Module]] = {  # our network -> the authors' skeleton
    **{f"resnet{depth}": partial(sk.resnet, depth) for depth in (18, 34, 50, 101, 152)},
    **{f"se_resnet{depth}": partial(sk.se_resnet, depth) for depth in (50, 101, 152)},
    **{f"se_resnext{depth}_32x4d": partial(sk.se_resnet, depth, block=NEXT_BLOCK) for depth in (50, 101)},
    "senet154": sk.senet154,
    **{f"eca_resnet{depth}": partial(sk.resnet, depth, sk.eca(*ks)) for depth, ks in ECA_KERNELS.items()},
    **{f"cbam_resnet{depth}": partial(sk.resnet, depth, sk.cbam) for depth in (18, 34, 50, 101)},
    **{f"bam_resnet{depth}": partial(sk.bam_resnet, depth) for depth in (18, 34, 50, 101)},
    **{f"sa_resnet{depth}": partial(sk.resnet, depth, sk.sa) for depth in (50, 101)},
    **{f"triplet_resnet{depth}": partial(sk.resnet, depth, sk.triplet) for depth in (18, 50, 101)},
    **{
        f"epsanet{depth}": partial(sk.resnet, depth, block=partial(sk.bottleneck, middle=sk.psa)) for depth in (50, 101)
    },
    "resnest50": partial(sk.deep_resnet, 50, 64, sk.resnest_block),
    **{f"resnest{depth}": partial(sk.deep_resnet, depth, 128, sk.resnest_block) for depth in (101, 200, 269)},
    "resnest50_fast": partial(sk.deep_resnet, 50, 64, sk.resnest_block),
    **{
        f"resnest50_fast_{radix}s{groups}x{width}d": partial(
            sk.deep_resnet, 50, 64, partial(sk.resnest_block, radix=radix, groups=groups, width=width)
        )
        for radix, groups, width in ((1, 1, 64), (4, 1, 64), (1, 2, 40), (2, 2, 40), (4, 2, 40), (1, 4, 24))
    },
    "sknet50": partial(sk.resnet, 50, block=sk.sk_block),
    "sknet101": partial(sk.resnet, 101, block=partial(sk.sk_block, least=16)),
    **{f"scnet{depth}": partial(sk.resnet, depth, block=sk.sc_block) for depth in (50, 101)},
    "scnet50_v1d": partial(sk.deep_resnet, 50, 64, sk.sc_block),
    "scnet101_v1d": partial(sk.deep_resnet, 101, 128, sk.sc_block),
    "gsop_resnet50": partial(sk.gsop_resnet, second=False),
    "gsopnet2_resnet50": partial(sk.gsop_resnet, second=True),
    "mobilenetv2": partial(sk.torchvision_mobilenet, gated=False),
    "eca_mobilenetv2": partial(sk.torchvision_mobilenet, gated=True),
    "coord_mobilenetv2": sk.coord_mobilenet,
    "cifar_mobilenetv2": sk.cifar_mobilenet,
    "cifar_resnet18": partial(sk.cifar_resnet, 18),
    "cifar_resnet50": partial(sk.cifar_resnet, 50),
    "cifar_senet18": partial(sk.pre_activation, sk.gates_of_se),
    "cifar_sa_resnet18": partial(sk.pre_activation, lambda channels: {"sa": sk.shuffle(channels, 16)}),
    "cifar_sa_resnet50": partial(sk.resnet, 50, sk.sa),
    "cifar_googlenet": sk.googlenet,
    "cifar_shufflenetv2": sk.shufflenet,
    "cifar_dia_resnet83": partial(sk.dia_resnet, 9),
    "cifar_dia_resnet164": partial(sk.dia_resnet, 18),
    "cifar_dia_preresnet164": sk.dia_preresnet,
    "cifar_dia_wrn52_4": sk.dia_wide_resnet,
    "cifar_dia_resnext101_8x32d": sk.dia_resnext,
    "emanet50": sk.emanet,
    "iaunet": sk.iaunet,
    "san10_pairwise": partial(sk.san, pairwise=True),
    "san10_patchwise": partial(sk.san, pairwise=False),
    "ocrnet_hrnet_w18": partial(sk.ocrnet, 18),
    "cfnet_tiny": sk.cednet,
}
LARGE = {name for name in CHECKPOINTS if "fast_" in name or any(depth in name for depth in ("101", "15", "200", "269"))}
FURTHER: dict[str, tuple[str, dict[str, Any], Callable[[], nn.Module]]] = {  # other forms of a network
    "eca_resnet50-3333": ("eca_resnet50", {"kernel_sizes": (3, 3, 3, 3)}, partial(sk.resnet, 50, sk.eca(3, 3, 3, 3))),
    "triplet_resnet50-older": ("triplet_resnet50", {}, partial(sk.resnet, 50, sk.old_triplet)),
    "cfnet_tiny-aux": ("cfnet_tiny", {"aux": True}, sk.cednet),
}


def build(case: str) -> tuple[nn.Module, nn.Module]:
    """Our network and the skeleton of its checkpoint."""
    name, arguments, skeleton = FURTHER.get(case) or (case, {}, CHECKPOINTS[case])
    return attnzoo.create(name, num_classes=sk.CLASSES, **arguments), skeleton()


@pytest.mark.parametrize("case", [*CHECKPOINTS, *FURTHER])
def test_keys_and_shapes_fit(case: str) -> None:
    with torch.device("meta"):
        network, skeleton = build(case)
    state = skeleton.state_dict()
    attnzoo.load_reference(network, state)
    *_, key = (key for key in state if not key.endswith("num_batches_tracked"))
    for change, fault in (
        ({key: None}, rf"missing [\w.]*{key.rpartition('.')[2]}\. Build"),
        ({"extra.weight": torch.empty(1)}, r"unexpected extra\.weight\. Build"),
        ({key: torch.empty(3, 9)}, rf"{key} has shape \(3, 9\), expected \(\d+,\)\. Build"),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        with pytest.raises(attnzoo.AttnzooError, match=f"{network.called}: .* does not fit: {fault}"):
            attnzoo.load_reference(network, changed)


def in_turn(state: dict[str, Tensor]) -> dict[tuple[Any, ...], list[float]]:
    """The first value of each tensor, by what the tensor is and its size, in the order of the layers."""
    found: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for key, value in state.items():
        kind = key.rpartition(".")[2] if "running" in key else ""
        found[(kind, *(n for n in value.shape if n != 1))].append(value.flatten()[0].item())
    return found


@pytest.mark.parametrize("case", [name for name in [*CHECKPOINTS, *FURTHER] if name not in LARGE | {"cfnet_tiny-aux"}])
def test_layers_of_one_shape_keep_their_order(case: str) -> None:
    """What keys and shapes alone would let pass: two layers of a network, one loaded with the other's weights."""
    network, _ = build(case)
    with torch.device("meta"):
        _, skeleton = build(case)
    shapes = {key: value.shape for key, value in skeleton.state_dict().items()}
    state = {key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}
    attnzoo.load_reference(network, state)
    loaded = network.state_dict()
    if case == "cfnet_tiny":  # the authors list blocks and what is between them apart; the backbone has its own vectors
        assert loaded["head.fc.bias"][0] == state["heads.2.bias"].flatten()[0]
        assert loaded["head.norm.weight"][0] == state["norms.2.weight"].flatten()[0]
        assert loaded["head.widen.conv.weight"].flatten()[0] == state["final_layers.2.0.weight"].flatten()[0]
        return
    assert in_turn(loaded) == in_turn(state)


def drawn(skeleton: nn.Module) -> dict[str, Tensor]:
    """A state dict with values that let a signal through."""
    generator = torch.Generator().manual_seed(0)
    state = skeleton.state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            around_one = key.endswith(("running_var", "weight"))
            value.copy_((1.5 / value[0].numel()) ** 0.5 * noise if value.dim() > 1 else (0.1 * noise + around_one))
    return state


def torchvision_resnet(
    state: dict[str, Tensor], depth: int, ends: dict[str, Callable[[int, int], nn.Module]]
) -> nn.Module:
    """torchvision's ResNet, and our modules, proven by themselves, where the authors' forward has them.

    Args:
        ends: what the branch of each block ends with: the authors' name of it, and what makes it for a stage and its
            channels.
    """
    inner = {key: value for key, value in state.items() if set(ends) & set(key.split(".")) or key.startswith("bam")}
    network = torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=sk.CLASSES)
    network.load_state_dict({key: value for key, value in state.items() if key not in inner})
    last = "bn2" if depth < 50 else "bn3"
    for i in range(4):
        for j, block in enumerate(getattr(network, f"layer{i + 1}")):
            channels = getattr(block, last).num_features
            made = [loaded(make(i, channels), inner, f"layer{i + 1}.{j}.{name}.") for name, make in ends.items()]
            setattr(block, last, nn.Sequential(getattr(block, last), *made))
        if any(key.startswith(f"bam{i + 1}.") for key in inner):
            made = loaded(attnzoo.create("bam", channels=channels), inner, f"bam{i + 1}.")
            setattr(network, f"layer{i + 1}", nn.Sequential(getattr(network, f"layer{i + 1}"), made))
    return network


def loaded(module: nn.Module, state: dict[str, Tensor], prefix: str) -> nn.Module:
    attnzoo.load_reference(module, {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return module


def with_ends(depth: int, **ends: Callable[[int, int], nn.Module]) -> Callable[[dict[str, Tensor]], nn.Module]:
    return lambda state: torchvision_resnet(state, depth, ends)


def of(name: str) -> Callable[[int, int], nn.Module]:
    return lambda _, channels: attnzoo.create(name, channels=channels)


def of_timm(name: str, ceiling: bool = False) -> Callable[[dict[str, Tensor]], nn.Module]:
    def make(state: dict[str, Tensor]) -> nn.Module:
        network = timm.create_model(name, num_classes=sk.CLASSES)
        network.load_state_dict(state)
        if ceiling:
            network.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        return network

    return make


def torchvision_mobilenet(state: dict[str, Tensor]) -> nn.Module:
    network = torchvision.models.mobilenet_v2(num_classes=sk.CLASSES)
    network.load_state_dict(state)
    return network


def with_psa(state: dict[str, Tensor]) -> nn.Module:
    network = torchvision.models.resnet50(num_classes=sk.CLASSES)
    network.load_state_dict({k: v for k, v in state.items() if ".conv2." not in k}, strict=False)
    for at, block in network.named_modules():
        if at.endswith("conv2"):
            made = attnzoo.create("psa", in_channels=block.in_channels, stride=block.stride[0])
            network.set_submodule(at, loaded(made, state, f"{at}."))
    return network


OTHERS: dict[str, Callable[[dict[str, Tensor]], nn.Module]] = {  # built by others, or of their parts
    "resnet18": with_ends(18),
    "resnet50": with_ends(50),
    "cbam_resnet18": with_ends(18, cbam=of("cbam")),
    "cbam_resnet50": with_ends(50, cbam=of("cbam")),
    "eca_resnet50": with_ends(
        50, eca=lambda i, channels: attnzoo.create("eca", channels=channels, kernel_size=ECA_KERNELS[50][i])
    ),
    "sa_resnet50": with_ends(50, sa=of("shuffle_attention")),
    "triplet_resnet50": with_ends(50, triplet_attention=of("triplet")),
    "bam_resnet50": with_ends(50),
    "epsanet50": with_psa,
    "se_resnet50": of_timm("legacy_seresnet50"),
    "se_resnext50_32x4d": of_timm("legacy_seresnext50_32x4d"),
    "resnest50": of_timm("resnest50d"),
    "resnest50_fast_1s4x24d": of_timm("resnest50d_1s4x24d"),
    "sknet50": of_timm("skresnext50_32x4d", ceiling=True),
    "mobilenetv2": torchvision_mobilenet,
}


@pytest.fixture
def in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("name", OTHERS)
def test_computes_what_the_original_computes(name: str) -> None:
    """In float64, the weights drawn at random."""
    network, skeleton = build(name)
    state = drawn(skeleton)
    attnzoo.load_reference(network, state)
    images = torch.randn(2, 3, 65, 64)
    with torch.no_grad():
        ours, theirs = (model.eval()(images) for model in (network, OTHERS[name](state)))
    assert (theirs[0] - theirs[1]).abs().max() > 1e-3 * theirs.abs().max(), "the images must make a difference"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9 * theirs.abs().max().item())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"epoch": 90, "arch": "eca_resnet18", "state_dict": state},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "best_prec1": 77.4},
        lambda state: {"net": state, "acc": 95.1},
        lambda state: {"model": state},
        lambda state: {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")},
    ],
)
def test_checkpoints_load_as_training_scripts_save_them(wrap: Callable[[dict[str, Tensor]], dict[str, Any]]) -> None:
    with torch.device("meta"):
        network, skeleton = build("eca_resnet18")
    attnzoo.load_reference(network, wrap(skeleton.state_dict()))


@pytest.mark.parametrize(
    ("checkpoint", "fault"),
    [
        (None, "expected a state dict, got NoneType"),
        ("eca_resnet18.pth", "expected a state dict, got str"),
        (nn.Linear(1, 1), "expected a state dict, got Linear"),
        ({"epoch": 3, "weights": {}}, "got one whose entries are no tensors: epoch, weights"),
        ({"module": torch.zeros(1)}, "unexpected module"),
        ({}, "missing stem.conv.weight"),
    ],
)
def test_what_is_no_checkpoint_is_refused(checkpoint: Any, fault: str) -> None:
    network = attnzoo.create("eca_resnet18", num_classes=sk.CLASSES)
    with pytest.raises(attnzoo.AttnzooError, match=f"eca_resnet18: .*{fault}"):
        attnzoo.load_reference(network, checkpoint)


def test_a_network_of_other_arguments_says_so() -> None:
    with torch.device("meta"):
        _, skeleton = build("eca_resnet50-3333")
        network = attnzoo.create("eca_resnet50", num_classes=sk.CLASSES)
    fault = (
        r"layer2\.0\.eca\.conv\.weight has shape \(1, 1, 3\), expected \(1, 1, 5\);.*; and 5 more\. Build the module"
    )
    with pytest.raises(attnzoo.AttnzooError, match=fault):
        attnzoo.load_reference(network, skeleton.state_dict())


def test_auxiliary_heads_are_left_out_where_there_are_none() -> None:
    with torch.device("meta"):
        network, skeleton = build("cfnet_tiny")
    assert len(network.state_dict()) < len(skeleton.state_dict())
    attnzoo.load_reference(network, skeleton.state_dict())


def test_modules_within_a_model_of_ones_own_are_reached() -> None:
    """A model that is no network of the library, but holds its modules, whose authors' names load."""

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 32, 3), attnzoo.create("cbam", channels=32))

    authors = nn.ModuleDict({"body": nn.Sequential(nn.Conv2d(3, 32, 3), sk.cbam(0, 32)["cbam"])})
    mine, state = Mine(), authors.state_dict()
    attnzoo.load_reference(mine, state)
    assert torch.equal(mine.body[1].channel_gate.mlp.fc1.weight, state["body.1.ChannelGate.mlp.1.weight"])
