"""Do our modules build into the blocks of timm and torchvision, and do our networks come out of timm's registry?"""

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import efficientnet, mobilenetv3

import attnzoo

CLASSES = 5


def logits(model: nn.Module, side: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return model.double().eval()(torch.randn(2, 3, side, side, dtype=torch.float64, generator=generator))


def assert_same(ours: nn.Module, theirs: nn.Module, rename: Callable[[str], str] = str) -> None:
    """The same numbers with the same weights, which do not depend on how either was initialised."""
    for value in theirs.state_dict().values():
        if value.is_floating_point():
            value.add_(0.05 * torch.rand_like(value))
    attnzoo.load_reference(ours, {rename(key): value for key, value in theirs.state_dict().items()})
    wanted = logits(theirs)
    torch.testing.assert_close(logits(ours), wanted, rtol=0, atol=1e-9 * wanted.abs().max().item())


def modules_of(model: nn.Module, name: str) -> list[nn.Module]:
    kind = type(attnzoo.create(name, channels=64))
    return [module for module in model.modules() if isinstance(module, kind)]


def test_timm_resnet_takes_a_layer() -> None:
    """With the same weights it computes what timm's own ECA computes."""
    ours = timm.create_model("resnet18", num_classes=CLASSES, block_args={"attn_layer": attnzoo.layer("eca")})
    assert len(modules_of(ours, "eca")) == 8
    assert_same(ours, timm.create_model("resnet18", num_classes=CLASSES, block_args={"attn_layer": "eca"}))


@pytest.mark.parametrize(("name", "arguments"), [("cbam", {}), ("coord", {}), ("simam", {}), ("bam", {"reduction": 8})])
def test_timm_byobnet_takes_a_layer(name: str, arguments: dict[str, Any]) -> None:
    """Its configuration says attn_layer='se' with a ratio and an activation."""
    model = timm.create_model("seresnet33ts", num_classes=CLASSES, attn_layer=attnzoo.layer(name, **arguments))
    assert len(modules_of(model, name)) == 10
    assert logits(model).shape == (2, CLASSES)


def test_timm_efficientnet_takes_a_layer() -> None:
    """`se` as wide, and with the activation, as timm tells it."""
    ours = timm.create_model("efficientnet_b0", num_classes=CLASSES, se_layer=attnzoo.layer("se", bias=True))
    theirs = timm.create_model("efficientnet_b0", num_classes=CLASSES)
    assert_same(ours, theirs, lambda key: key.replace("conv_reduce", "fc1").replace("conv_expand", "fc2"))


def mobilenet(**others: Any) -> nn.Module:
    settings, last = mobilenetv3._mobilenet_v3_conf("mobilenet_v3_small")
    block = partial(mobilenetv3.InvertedResidual, **others)
    return mobilenetv3.MobileNetV3(settings, last, num_classes=CLASSES, block=block)


def test_torchvision_mobilenet_takes_a_layer() -> None:
    gate = attnzoo.layer("se", bias=True, gate_layer=nn.Hardsigmoid)
    assert_same(mobilenet(se_layer=gate), mobilenet())
    model = mobilenet(se_layer=attnzoo.layer("eca"))
    assert len(modules_of(model, "eca")) == 9
    assert logits(model).shape == (2, CLASSES)


def test_torchvision_efficientnet_takes_a_layer() -> None:
    settings, last = efficientnet._efficientnet_conf("efficientnet_b0", width_mult=1.0, depth_mult=1.0)
    theirs = efficientnet.EfficientNet(settings, 0.2, num_classes=CLASSES, last_channel=last)
    for setting in settings:
        setting.block = partial(efficientnet.MBConv, se_layer=attnzoo.layer("se", bias=True))
    assert_same(efficientnet.EfficientNet(settings, 0.2, num_classes=CLASSES, last_channel=last), theirs)


def normalised_and_gated(make: Callable[[int], nn.Module], channels: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), make(channels))


def test_torchvision_resnet_takes_a_layer_behind_its_norms() -> None:
    """Its blocks take one kind of callable, the norm's."""
    norm = partial(normalised_and_gated, attnzoo.layer("triplet"))
    model = torchvision.models.resnet18(num_classes=CLASSES, norm_layer=norm)
    assert len(modules_of(model, "triplet")) == 20
    assert logits(model).shape == (2, CLASSES)


def test_what_is_said_here_counts_more() -> None:
    gate = attnzoo.layer("se", reduction=8)
    assert gate(64, rd_ratio=0.25).mlp.fc1.out_features == 8
    assert attnzoo.layer("se")(64, rd_channels=24).mlp.fc1.out_features == 24
    assert attnzoo.layer("se")(64, rd_ratio=0.25).mlp.fc1.out_features == 16
    assert attnzoo.layer("cbam")(64, rd_ratio=0.25).channel_gate.mlp.fc1.out_features == 16
    assert attnzoo.layer("cbam")(8, rd_ratio=1.0).channel_gate.mlp.fc1.out_features == 8
    assert isinstance(attnzoo.layer("coord")(64, act_layer=nn.SiLU).encode.act, nn.SiLU)
    assert isinstance(attnzoo.layer("coord", act_layer=nn.ReLU)(64, act_layer=nn.SiLU).encode.act, nn.ReLU)
    assert attnzoo.layer("eca")(64, kernel_size=7, rd_divisor=8, act_layer=nn.SiLU).conv.kernel_size == (7,)
    assert attnzoo.layer("eca")(64, dtype=torch.bfloat16).conv.weight.dtype == torch.bfloat16


def test_layers_pickle_and_copy() -> None:
    gate = attnzoo.layer("se", bias=True, gate_layer=nn.Hardsigmoid)
    for twin in (pickle.loads(pickle.dumps(gate)), copy.deepcopy(gate), partial(gate, act_layer=nn.SiLU).func):
        assert twin == gate
        assert hash(twin) == hash(gate)
    assert repr(attnzoo.layer("eca", kernel_size=3)) == "attnzoo.layer('eca', kernel_size=3)"
    model = timm.create_model("resnet18", num_classes=CLASSES, block_args={"attn_layer": gate})
    wanted = logits(model)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert torch.equal(logits(twin), wanted)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: attnzoo.layer("aft"), "aft: does not plug into blocks of maps, its contract is 'tokens'"),
        (lambda: attnzoo.layer("dia"), "dia: does not plug into blocks of maps"),
        (lambda: attnzoo.layer("ac_block"), "ac_block: does not plug into blocks of maps, its contract is 'conv'"),
        (lambda: attnzoo.layer("resnet50"), "resnet50: does not plug into blocks of maps, its contract is 'network'"),
        (lambda: attnzoo.layer("ecca"), "unknown module 'ecca'; did you mean eca"),
        (lambda: attnzoo.layer("eca", kernl_size=3), "eca: unknown argument 'kernl_size'; did you mean kernel_size"),
        (lambda: attnzoo.layer("eca", channels=64), r"channels is given by the block that is built; leave it out"),
        (lambda: attnzoo.layer("scsa"), "scsa: the argument 'num_heads' is missing"),
        (lambda: attnzoo.layer("eca")(64, stride=2), "eca: unknown argument 'stride'"),
        (lambda: attnzoo.layer("se")("64"), "se: channels='64' is not an integer"),
        (lambda: attnzoo.layer("se")(64, 16), "se: torchvision will set the bias of every linear layer"),
        (lambda: attnzoo.layer("se")(64, act_layer="silu"), "se: act_layer='silu' is not a callable such as a class"),
    ],
)
def test_layers_that_do_not_plug_in(make: Callable[[], object], message: str) -> None:
    with pytest.raises(attnzoo.AttnzooError, match=message):
        make()


@pytest.fixture(scope="module")
def entered() -> list[str]:
    return attnzoo.register_in_timm()


def test_every_classifier_is_in_timms_registry(entered: list[str]) -> None:
    classifiers = [name for name in attnzoo.networks() if attnzoo.card(name).task == "classification"]
    assert entered == [f"attnzoo_{name}" for name in classifiers]
    assert set(timm.list_models("attnzoo_*")) == set(entered)
    assert not timm.list_models("attnzoo_*", pretrained=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert attnzoo.register_in_timm() == entered
    for name in entered:
        told, card = timm.get_pretrained_cfg(name), attnzoo.card(name.removeprefix("attnzoo_"))
        assert told.input_size == (3, card.image_size, card.image_size)
        assert told.architecture == name
        assert told.paper_name == card.paper


@pytest.mark.usefixtures("entered")
@pytest.mark.parametrize("name", ["se_resnet50", "cifar_shufflenetv2", "san10_pairwise", "cfnet_tiny", "fan_tiny_vit"])
def test_timm_creates_our_networks(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(f"attnzoo_{name}", num_classes=CLASSES, in_chans=1, drop_rate=0.0, global_pool="avg")
        ours = attnzoo.create(name, num_classes=CLASSES, in_channels=1)
    assert model.state_dict().keys() == ours.state_dict().keys()
    assert type(model) is type(ours)
    assert model.num_classes == CLASSES
    card = attnzoo.card(name)
    assert timm.data.resolve_model_data_config(model)["input_size"] == (3, card.image_size, card.image_size)
    assert model.pretrained_cfg["num_classes"] == (10 if name.startswith("cifar") else 1000)


@pytest.mark.usefixtures("entered")
@pytest.mark.parametrize(
    "name", ["se_resnet50", "resnest50_fast", "cifar_shufflenetv2", "rest_lite", "iaunet", "cfnet_tiny", "ra_cnn"]
)
@pytest.mark.parametrize(
    ("out_indices", "chosen"),
    [
        (None, range),
        ((0, 2), lambda count: (0, 2)),
        ((-1,), lambda count: (count - 1,)),
        ([-2, 0], lambda count: (0, count - 2)),
        (2, lambda count: (count - 2, count - 1)),
    ],
)
def test_timm_creates_features(name: str, out_indices: Any, chosen: Callable[[int], Sequence[int]]) -> None:
    given = {} if out_indices is None else {"out_indices": out_indices}
    theirs, ours = ({"img_size": 64}, {"image_size": 64}) if name == "ra_cnn" else ({}, {})
    with torch.device("meta"):
        whole = attnzoo.create(name, in_channels=1, features_only=True, **ours)
        model = timm.create_model(f"attnzoo_{name}", features_only=True, in_chans=1, **given, **theirs)
        images = torch.randn(2, 1, 64, 64)
        everything, maps = whole.eval()(images), model.eval()(images)
    levels = list(zip(whole.feature_info.levels, everything, strict=True))
    levels = [levels[i] for i in chosen(len(levels))]
    assert [m.shape for m in maps] == [m.shape for _, m in levels]
    assert model.feature_info.channels() == [m.shape[1] for m in maps]
    assert model.feature_info.reduction() == [level.reduction for level, _ in levels]
    assert model.feature_info.module_name() == [level.module for level, _ in levels]
    assert model.state_dict().keys() <= whole.state_dict().keys()
    assert "classifier" not in model.pretrained_cfg


@pytest.mark.usefixtures("entered")
def test_features_are_cut_behind_the_last_and_copy() -> None:
    model = timm.create_model("attnzoo_eca_resnet18", features_only=True, out_indices=(1, 2))
    assert [name for name, _ in model.named_children()] == ["stem", "pool", "layer1", "layer2"]
    hooked = timm.create_model("attnzoo_cfnet_tiny", features_only=True, out_indices=(0,))
    images = torch.randn(1, 3, 64, 64)
    for one in (model, hooked):
        twins = (pickle.loads(pickle.dumps(one)), copy.deepcopy(one))
        assert all(
            torch.equal(*maps) for twin in twins for maps in zip(one.eval()(images), twin.eval()(images), strict=True)
        )


@pytest.mark.usefixtures("entered")
def test_timm_leaves_out_the_classifier() -> None:
    model = timm.create_model("attnzoo_eca_resnet18", num_classes=0)
    assert logits(model).shape == (2, 512)
    assert model.num_classes == 0


@pytest.mark.usefixtures("entered")
def test_decoders_of_segmentation_models_pytorch_take_our_networks() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    model = smp.Unet("tu-attnzoo_se_resnet50", encoder_weights=None, classes=CLASSES)
    assert logits(model).shape == (2, CLASSES, 64, 64)


@pytest.mark.usefixtures("entered")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": True}, "attnzoo_eca_resnet18: has no pretrained weights; .* attnzoo.load_reference"),
        ({"drop_rate": 0.2}, "eca_resnet18: unknown argument 'drop_rate'"),
        (
            {"features_only": True, "out_indices": (0, 5)},
            r"eca_resnet18: out_indices=\(0, 5\) are not among its 5 maps",
        ),
        ({"features_only": True, "out_indices": ()}, r"out_indices=\(\) are not among"),
        ({"features_only": True, "out_indices": 9}, "out_indices=9 are not among"),
        ({"features_only": True, "out_indices": 0}, "out_indices=0 are not among"),
        ({"features_only": True, "out_indices": 1.5}, "out_indices=1.5 are not among"),
        ({"num_classes": -1}, "num_classes=-1 is not an integer of at least 1"),
    ],
)
def test_what_timm_cannot_have_is_said(arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(attnzoo.AttnzooError, match=message):
        timm.create_model("attnzoo_eca_resnet18", **arguments)


def test_without_timm_it_is_said() -> None:
    code = "import sys; sys.modules['timm'] = None; import attnzoo; attnzoo.register_in_timm()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "AttnzooError: register_in_timm: timm is not installed" in done.stderr
