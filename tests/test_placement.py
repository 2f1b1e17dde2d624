"""Do placements by meaning find, in networks of all kinds, where papers put attention?"""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import yaml
from torch import Tensor, nn
from torchvision.models import detection, segmentation
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import attnzoo
from attnzoo.surgery.flow import follow, tensors
from attnzoo.surgery.plug import Plug

BARE = {"weights": None, "weights_backbone": None}
SMALL = {"min_size": 64, "max_size": 64}


def images(size: int = 64, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def listed(*sizes: tuple[int, int]) -> tuple[list[Tensor]]:
    """What detectors take: a list of images of different sizes."""
    generator = torch.Generator().manual_seed(1)
    return ([torch.rand(3, *size, generator=generator) for size in sizes],)


def timm_model(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=10, **arguments)


# What is found: (how many, the first, the last) of 'block', 'stage' and 'expansion'; None where there is no meaning.
Found = tuple[int, str, str] | None
SWIN = {"img_size": 64, "depths": (2, 2), "num_heads": (2, 4), "embed_dim": 16, "window_size": 4, "drop_path_rate": 0.2}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Found, Found, Found]] = {
    "resnet18": (
        timm_model("resnet18", drop_path_rate=0.2),
        (8, "layer1.0.bn2", "layer4.1.bn2"),
        (4, "layer1", "layer4"),
        None,
    ),
    "resnetv2": (
        timm_model("resnetv2_50", layers=(2, 1, 1, 1)),
        (5, "stages.0.blocks.0.conv3", "stages.3.blocks.0.conv3"),
        (4, "stages.0", "stages.3"),
        None,
    ),
    "vgg": (lambda: torchvision.models.vgg11(num_classes=10), None, (5, "features.1", "features.19"), None),
    "densenet": (
        timm_model("densenet121", block_config=(2, 2, 2)),
        None,
        (3, "features.transition1.conv", "features.norm5"),
        None,
    ),
    "mobilenetv3": (
        timm_model("mobilenetv3_small_050"),
        (7, "blocks.1.1.bn3", "blocks.4.2.bn3"),
        (4, "blocks.0", "blocks.4"),
        (10, "blocks.1.0.bn2", "blocks.4.2.se"),
    ),
    "mixnet": (
        timm_model("mixnet_s"),
        (11, "blocks.0.0.bn2", "blocks.5.2.bn3"),
        (5, "blocks.0", "blocks.5"),
        (15, "blocks.1.0.bn2", "blocks.5.2.se"),
    ),
    "ghostnetv2": (
        timm_model("ghostnetv2_100"),
        (16, "blocks.0.0.ghost2", "blocks.8.3.ghost2"),
        (5, "blocks.0", "blocks.8"),
        (14, "blocks.1.0.bn_dw", "blocks.8.3.se"),
    ),
    "shufflenet": (
        lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10),
        None,
        (3, "stage2", "conv5"),
        None,
    ),
    "regnet": (timm_model("regnetx_002"), (13, "s1.b1.conv3", "s4.b7.conv3"), (4, "s1.b1", "s4.b7"), None),
    "repvgg": (
        timm_model("repvgg_a0"),
        (17, "stages.0.1.drop_path", "stages.2.13.drop_path"),
        (4, "stages.0", "stages.3"),
        None,
    ),
    "res2net": (
        timm_model("res2net50_26w_4s", layers=(1, 1, 1, 1)),
        (4, "layer1.0.bn3", "layer4.0.bn3"),
        (4, "layer1", "layer4"),
        None,
    ),
    "skresnet": (
        timm_model("skresnet18"),
        (8, "layer1.0.conv2", "layer4.1.conv2"),
        (4, "layer1", "layer4"),
        None,
    ),
    "hrnet": (
        timm_model("hrnet_w18_small"),
        (23, "layer1.0.bn3", "incre_modules.3.0.bn3"),
        (2, "layer1", "incre_modules.3"),
        None,
    ),
    "convnext": (
        timm_model("convnext_atto", depths=(1, 1, 2, 1), drop_path_rate=0.2, conv_mlp=False),
        (5, "stages.0.blocks.0.mlp", "stages.3.blocks.0.mlp"),
        (4, "stages.0", "stages.3"),
        (5, "stages.0.blocks.0.mlp.act", "stages.3.blocks.0.mlp.act"),
    ),
    "convnextv2": (
        timm_model("convnextv2_atto", depths=(1, 1, 2, 1)),
        (5, "stages.0.blocks.0.mlp", "stages.3.blocks.0.mlp"),
        (4, "stages.0", "stages.3"),
        (5, "stages.0.blocks.0.mlp.grn", "stages.3.blocks.0.mlp.grn"),
    ),
    "poolformer": (
        timm_model("poolformer_s12"),
        (24, "stages.0.blocks.0.token_mixer", "stages.3.blocks.1.mlp"),
        (4, "stages.0", "stages.3"),
        (12, "stages.0.blocks.0.mlp.act", "stages.3.blocks.1.mlp.act"),
    ),
    "swin": (
        timm_model("swin_tiny_patch4_window7_224", **SWIN),
        (8, "layers.0.blocks.0.drop_path1", "layers.1.blocks.1.mlp"),
        (2, "layers.0", "layers.1"),
        (4, "layers.0.blocks.0.mlp.act", "layers.1.blocks.1.mlp.act"),
    ),
    "vit": (
        timm_model("vit_tiny_patch16_224", img_size=64, depth=3, drop_path_rate=0.2, init_values=1e-4),
        (6, "blocks.0.attn", "blocks.2.mlp"),
        (1, "blocks", "blocks"),
        (3, "blocks.0.mlp.act", "blocks.2.mlp.act"),
    ),
    "mixer": (
        lambda: timm.models.MlpMixer(img_size=64, patch_size=16, num_blocks=2, embed_dim=32, num_classes=10),
        (4, "blocks.0.mlp_tokens", "blocks.1.mlp_channels"),
        (1, "blocks", "blocks"),
        (2, "blocks.0.mlp_channels.act", "blocks.1.mlp_channels.act"),
    ),
}
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "feature": ("se", {"reduction": 2}),
    "tokens": ("external_attention_token", {}),
}


@pytest.mark.parametrize("which", NETWORKS)
def test_finds_where_papers_put_attention_and_leaves_the_outputs(which: str) -> None:
    build, *wanted = NETWORKS[which]
    torch.manual_seed(0)
    model = build().eval()
    before = model(images())
    for at, found in zip(("block", "stage", "expansion"), wanted, strict=True):
        if found is None:
            with pytest.raises(attnzoo.AttnzooError, match=rf"at='{at}' has no meaning in this model: .* It has '"):
                attnzoo.insert(model, "se", at, example_input=images())
            continue
        sites = attnzoo.sites(model, at, images())
        assert (len(sites), sites[0].path, sites[-1].path) == found
        for contract in {site.contract for site in sites}:
            module, arguments = MODULES[contract]
            report = attnzoo.insert(model, module, at, example_input=images(), **arguments)
            assert [site for site in sites if site.contract == contract or site.layout == "BHWC"] == list(report.sites)
            assert torch.equal(model(images()), before)
            attnzoo.remove(model)
    assert torch.equal(model(images()), before)


def test_the_last_is_the_last_stage_and_all_placements_are_one_table() -> None:
    model = timm.create_model("mobilenetv3_small_050").eval()
    (last,) = attnzoo.sites(model, "last", images())
    assert last.path == "blocks.4"
    sites = attnzoo.sites(model, example_input=images())
    assert [site.path for site in sites if "last" in site.placements] == ["blocks.4"]
    assert next(site.placements for site in sites if site.path == "blocks.4") == ("stage", "last")
    assert {name for site in sites for name in site.placements} == {"block", "stage", "last", "expansion"}
    lines = str(sites).splitlines()
    assert lines == repr(sites).splitlines()
    assert lines[0] == f"{len(sites)} sites"
    (line,) = (line for line in lines if line.split()[0] == "blocks.2.1.bn3")
    assert " ".join(line.split()) == "blocks.2.1.bn3 BatchNormAct2d C=24 4x4 BCHW block end of a residual branch"


class Branches(nn.Module):
    """Residual sums of every kind: (B, 8, H, W) -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.gamma = nn.Parameter(torch.full((8, 1, 1), 0.1))
        self.left, self.right, self.point = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.down, self.up = nn.Conv2d(8, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 2, 2)
        self.lateral = nn.Conv2d(8, 8, 1)
        self.wide, self.narrow = nn.Conv2d(8, 12, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.position = nn.Parameter(torch.randn(1, 8, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position  # no sum of two features
        x = x + self.gamma * self.first(x)  # a branch and its layer scale
        x = self.left(x) + self.right(x)  # equals
        x = self.lateral(x) + self.up(self.down(x))  # a pyramid
        x = x + self.left(x).sigmoid() * self.right(x).sigmoid()  # no submodule gives this branch
        y = x.clone()
        y[:, :4] = self.narrow(x[:, :4])  # written to a part
        part, other = x.chunk(2, dim=1)
        part = part + self.narrow(other)  # a part and another part
        return torch.cat([part, other], dim=1) + y


def test_only_residual_sums_count() -> None:
    model = nn.ModuleDict({"stem": nn.Conv2d(3, 8, 1), "body": Branches(), "head": nn.Conv2d(8, 2, 1)})
    model.forward = lambda x: model["head"](model["body"](model["stem"](x)))  # type: ignore[method-assign]
    sites = attnzoo.sites(model, "block", images(8))
    assert [(site.path, site.reason) for site in sites] == [
        ("body.first", "end of a residual branch"),
        ("body", "after a residual sum: no submodule gives the branch by itself"),
    ]


class Activated(nn.Module):
    """x + relu(conv(x)), the activation shared with others."""

    def __init__(self, relu: nn.Module) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), relu

    def forward(self, x: Tensor) -> Tensor:
        return x + self.relu(self.conv(x))


def test_a_network_that_holds_gates_of_other_layouts_has_its_stages() -> None:
    """Triplet attention makes its gates with the channels in other dimensions, and multiplies the map by them."""
    model = timm.create_model("resnet18", num_classes=10)
    attnzoo.insert(model, "triplet", "block", identity=False, example_input=images())
    assert [site.path for site in attnzoo.sites(model, "stage", images())] == [f"layer{n}" for n in range(1, 5)]


def test_a_submodule_that_ends_several_branches_is_no_place() -> None:
    relu = nn.ReLU()
    sites = attnzoo.sites(nn.Sequential(Activated(relu), Activated(relu)), "block", images(8))
    assert [site.path for site in sites] == ["0", "1"]
    assert sites[0].reason == "after a residual sum: 0.relu, which gives the branch, runs elsewhere, too"


def test_the_plug_stands_before_layer_scale_and_drop_path() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1, drop_path_rate=0.5, init_values=0.1)
    attnzoo.insert(model, "external_attention_token", "block", identity=False, example_input=images())
    block = model.blocks[0]
    assert isinstance(block.attn.attnzoo, Plug)
    x = torch.randn(2, 17, 192)
    block.eval()
    y = x + block.ls1(block.attn.attnzoo.module(type(block.attn).forward(block.attn, block.norm1(x))))
    torch.testing.assert_close(
        block(x), y + block.ls2(block.mlp.attnzoo.module(type(block.mlp).forward(block.mlp, block.norm2(y))))
    )


class Places(nn.Module):
    """Gives the same features in four layouts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)
        self.second = nn.Conv1d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(self.conv(x).permute(0, 2, 3, 1))  # (B, H, W, C)
        return self.second(x.flatten(1, 2).transpose(1, 2))  # (B, C, N)


def test_modules_get_features_in_the_layout_that_they_take() -> None:
    torch.manual_seed(0)
    model, x = Places().eval(), torch.randn(2, 3, 4, 6)
    maps, tokens = torch.randn(2, 4, 6, 8), torch.randn(2, 8, 24)
    sites = attnzoo.sites(model, ["conv", "linear", "second"], x)
    assert [(s.layout, s.contract, s.channels, s.size) for s in sites] == [
        ("BCHW", "feature", 8, (4, 6)),
        ("BHWC", "feature", 8, (4, 6)),
        ("BCN", "tokens", 8, (24,)),
    ]
    attnzoo.insert(model, "coord", "linear", identity=False, example_input=x)
    plug = model.linear.attnzoo
    assert torch.equal(plug(maps), plug.module(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    assert plug(maps).is_contiguous()
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.testing.assert_close(exported.module()(x[:1]), model(x[:1]))
    attnzoo.remove(model)
    attnzoo.insert(model, "external_attention_token", ["linear", "second"], identity=False, example_input=x)
    flat, turned = model.linear.attnzoo, model.second.attnzoo
    assert torch.equal(flat(maps), flat.module(maps.flatten(1, 2)).view_as(maps))
    assert torch.equal(turned(tokens), turned.module(tokens.mT).mT)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


def test_what_does_not_fit_is_left_out_of_placements_and_refused_by_name() -> None:
    model = timm.create_model("swin_tiny_patch4_window7_224", **SWIN).eval()
    report = attnzoo.insert(model, "se", "block", example_input=images(), reduction=2)
    assert [site.path.split(".")[-1] for site in report.sites] == ["drop_path1"] * 4
    assert len(report.left_out) == 4
    assert "left out: layers.0.blocks.0.mlp gives tokens (B, N, C)" in str(report)
    assert "and 1 more" in str(report)
    attnzoo.remove(model)
    why = r"se: cannot go there: layers\.0\.blocks\.0\.mlp gives tokens \(B, N, C\), \(2, 256, 16\), but se takes maps"
    with pytest.raises(attnzoo.AttnzooError, match=why):
        attnzoo.insert(model, "se", "layers.*.blocks.*.mlp", example_input=images())
    vit = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1).eval()
    with pytest.raises(attnzoo.AttnzooError, match=r"se takes maps .* choose a module whose contract is 'tokens'"):
        attnzoo.insert(vit, "se", example_input=images())
    resnet = torchvision.models.resnet18().eval()
    with pytest.raises(attnzoo.AttnzooError, match=r"layer1\.0\.bn2 gives maps .* but aft takes tokens .* 'feature'"):
        attnzoo.insert(resnet, "aft", example_input=images())
    assert not any("attnzoo" in repr(one) for one in (model, vit, resnet))


def test_without_meaning_the_error_names_what_there_is() -> None:
    with pytest.raises(attnzoo.AttnzooError, match=r"'block' has no meaning .* It has 'stage' \(5\), 'last' \(1\); or"):
        attnzoo.sites(torchvision.models.vgg11(), "block", images())
    with pytest.raises(attnzoo.AttnzooError, match=r"'expansion' has no meaning .* It has 'block' \(8\), 'stage'"):
        attnzoo.sites(torchvision.models.resnet18(), "expansion", images())
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    with pytest.raises(attnzoo.AttnzooError, match=r"no placement has a meaning in this model: .* Name submodules"):
        attnzoo.sites(flat, example_input=images(2))
    with pytest.raises(attnzoo.AttnzooError, match="Or say what is meant: 'block', 'stage', 'last', 'expansion'"):
        attnzoo.insert(torchvision.models.resnet18(), "se", "blokc", example_input=images())
    with pytest.raises(attnzoo.AttnzooError, match="at=5 is no glob, list of globs or predicate"):
        attnzoo.insert(torchvision.models.resnet18(), "se", 5, example_input=images())  # type: ignore[arg-type]


def test_a_submodule_called_like_a_placement_is_named_in_a_list() -> None:
    model = nn.Sequential()
    model.add_module("last", nn.Conv2d(3, 8, 3))
    model.add_module("head", nn.Conv2d(8, 8, 3))
    assert [site.path for site in attnzoo.sites(model, ["last"], images(8))] == ["last"]


@pytest.mark.parametrize(
    ("precision", "memory_format"),
    [(torch.float32, torch.channels_last), (torch.bfloat16, torch.contiguous_format)],
)
@pytest.mark.parametrize("which", ["resnet18", "mobilenetv3", "convnext", "swin", "vit"])
def test_outputs_stay_in_autocast_and_channels_last(
    which: str, precision: torch.dtype, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    model = NETWORKS[which][0]().eval().to(memory_format=memory_format)
    x = images().to(memory_format=memory_format)

    def run() -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            return model(x)

    before = run()
    for contract in {site.contract for site in attnzoo.sites(model, "block", x)}:
        for module in {"feature": ("se", "coord", "simam", "gc"), "tokens": ("external_attention_token",)}[contract]:
            attnzoo.insert(model, module, example_input=x, **({"reduction": 2} if module == "se" else {}))
            assert torch.equal(run(), before), module
            attnzoo.remove(model)


def test_a_second_plug_stands_after_the_first_only_on_request() -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10).eval()
    weights, before = copy.deepcopy(model.state_dict()), model(images())
    attnzoo.insert(model, "se", identity=False, example_input=images())
    first, once = copy.deepcopy(model.state_dict()), model(images())
    with pytest.raises(attnzoo.AttnzooError, match=r"layer1\.0\.bn2 holds 'se' already; .* stack=True puts the new"):
        attnzoo.insert(model, "eca", example_input=images())
    report = attnzoo.insert(model, "eca", example_input=images(), stack=True)
    assert len(report.sites) == 8
    assert torch.equal(model(images()), once)
    assert set(weights) < set(first) < set(model.state_dict())
    plug = model.layer1[0].bn2.attnzoo
    assert (plug.name, plug.attnzoo.name) == ("se", "eca")
    x = torch.randn(2, 64, 4, 4)
    plug.attnzoo.alpha.data.fill_(1.0)
    torch.testing.assert_close(plug(x), plug.attnzoo.module(plug.module(x)))
    plug.attnzoo.alpha.data.zero_()
    model.load_state_dict(weights)
    model.load_state_dict(first)
    assert torch.equal(copy.deepcopy(model)(images()), once)
    assert torch.equal(pickle.loads(pickle.dumps(model))(images()), once)
    assert [site.path for site in attnzoo.sites(model, "block", images())] == [site.path for site in report.sites]
    attnzoo.remove(model)
    assert torch.equal(model(images()), before)
    assert list(model.state_dict()) == list(weights)
    assert not any(module._forward_hooks for module in model.modules())


def test_layouts_and_stacks_come_back_from_a_file(tmp_path: Path) -> None:
    def build() -> nn.Module:
        return timm.create_model("swin_tiny_patch4_window7_224", **SWIN).eval()

    torch.manual_seed(0)
    model = build()
    attnzoo.insert(model, "external_attention_token", identity=False, example_input=images())
    attnzoo.insert(model, "se", identity=False, example_input=images(), stack=True, reduction=2)
    attnzoo.insert(model, "coord", "stage", identity=False, example_input=images(), stack=True)
    attnzoo.save(model, tmp_path / "model.safetensors")
    loaded = build()
    attnzoo.load(loaded, tmp_path / "model.safetensors")
    assert torch.equal(loaded(images()), model(images()))


def resnet18_fpn() -> nn.Module:
    return resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)


DETECTORS: dict[str, tuple[Callable[[], nn.Module], Any, tuple[int, int]]] = {
    "faster_rcnn": (lambda: detection.FasterRCNN(resnet18_fpn(), 3, **SMALL), listed((64, 60), (50, 64)), (8, 4)),
    "retinanet": (lambda: detection.RetinaNet(resnet18_fpn(), 3, **SMALL), listed((64, 60)), (8, 4)),
    "fcos": (lambda: detection.FCOS(resnet18_fpn(), 3, **SMALL), listed((64, 60)), (8, 4)),
    "ssdlite": (
        lambda: detection.ssdlite320_mobilenet_v3_large(**BARE, num_classes=3),
        listed((64, 60)),
        (10, 5),
    ),
    "deeplabv3": (lambda: segmentation.deeplabv3_mobilenet_v3_large(**BARE), images(), (10, 4)),
    "fcn": (lambda: segmentation.fcn_resnet50(**BARE, aux_loss=True), images(), (16, 2)),
}


@pytest.mark.parametrize("which", DETECTORS)
def test_detectors_and_segmentation_work_as_they_are(which: str) -> None:
    build, example, (blocks, stages) = DETECTORS[which]
    torch.manual_seed(0)
    model = build().eval()
    call = (lambda: model(*example)) if isinstance(example, tuple) else (lambda: model(example))
    with torch.no_grad():
        before = list(tensors(call()))
        for at, count in (("block", blocks), ("stage", stages)):
            report = attnzoo.insert(model, "se", at, example_input=example, reduction=2)
            assert len(report.sites) == count
            assert all("backbone" in site.path for site in report.sites)
            assert all(map(torch.equal, tensors(call()), before))
            attnzoo.remove(model)


@pytest.mark.parametrize("decoder", ["Unet", "FPN", "DeepLabV3Plus", "PSPNet", "Linknet"])
def test_decoders_of_segmentation_models_pytorch(decoder: str) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    torch.manual_seed(0)
    gated = {"decoder_attention_type": "scse"} if decoder == "Unet" else {}
    model = getattr(smp, decoder)("resnet18", encoder_weights=None, classes=2, **gated).eval()
    with torch.no_grad():
        before = model(images())
        stages = attnzoo.insert(model, "cbam", "stage", example_input=images())
        assert [site.path for site in stages.sites][:2] == ["encoder.layer1", "encoder.layer2"]
        assert torch.equal(model(images()), before)
        attnzoo.remove(model)
        blocks = attnzoo.insert(model, "eca", example_input=images())
        assert {site.path.split(".")[0] for site in blocks.sites} == {"encoder"}
        assert torch.equal(model(images()), before)


DETECTOR = """
backbone:  # from, module, arguments
  - [-1, Conv, [3, 8, 2]]
  - [-1, Conv, [8, 16, 2]]
  - [-1, Split, [16, 2]]
  - [-1, Conv, [16, 32, 2]]
  - [-1, Split, [32, 1]]  # 4
  - [-1, Conv, [32, 32, 2]]
  - [-1, Split, [32, 1]]  # 6
head:
  - [-1, nn.Upsample, [null, 2]]
  - [[-1, 4], Concat, []]
  - [-1, Conv, [64, 16, 1]]
  - [-1, Conv, [16, 16, 2]]
  - [[-1, 6], Concat, []]
  - [-1, Conv, [48, 32, 1]]
  - [[9, 12], Detect, [[16, 32], 3]]
"""


class Conv(nn.Sequential):
    """A convolution, its norm and activation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.SiLU())


class Residual(nn.Module):
    """x + conv(conv(x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels), Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.cv2(self.cv1(x))


class Split(nn.Module):
    """A cross-stage block: the second half goes on through residual blocks, and all is joined."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels)
        self.cv2 = Conv((2 + count) * channels // 2, channels)
        self.m = nn.ModuleList(Residual(channels // 2) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        parts.extend(block(parts[-1]) for block in self.m)
        return self.cv2(torch.cat(parts, 1))


class Concat(nn.Module):
    """Joins several maps."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat(maps, 1)


class Detect(nn.Module):
    """A prediction for every place of several maps."""

    def __init__(self, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.cv = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in widths)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat([conv(x).flatten(2) for conv, x in zip(self.cv, maps, strict=True)], 2)


class Detector(nn.Module):
    """Layers from a YAML file, each fed by those before it that it names by their index."""

    def __init__(self, text: str) -> None:
        super().__init__()
        known = {**vars(nn), **{f"nn.{name}": value for name, value in vars(nn).items()}, **globals()}
        rows = [row for part in yaml.safe_load(text).values() for row in part]
        self.sources = [row[0] for row in rows]
        self.model = nn.Sequential(*(known[kind](*arguments) for _, kind, arguments in rows))

    def forward(self, x: Tensor) -> Tensor:
        saved: list[Tensor] = []
        for layer, source in zip(self.model, self.sources, strict=True):
            given = [saved[i] for i in source] if isinstance(source, list) else saved[source] if saved else x
            saved.append(layer(given))
        return saved[-1]


def test_detectors_built_from_yaml_work_as_they_are() -> None:
    torch.manual_seed(0)
    model = Detector(DETECTOR).eval()
    before = model(images())
    found = {at: [site.path for site in attnzoo.sites(model, at, images())] for at in ("block", "stage", "last")}
    assert found == {
        "block": ["model.2.m.0.cv2", "model.2.m.1.cv2", "model.4.m.0.cv2", "model.6.m.0.cv2"],
        "stage": ["model.2", "model.4", "model.6"],
        "last": ["model.6"],
    }
    for at in ("block", "stage", ["model.9", "model.12"], "model.*.cv2", "model.[246]"):
        report = attnzoo.insert(model, "simam", at, example_input=images())
        assert report.sites
        assert torch.equal(model(images()), before)
        assert torch.equal(copy.deepcopy(model)(images()), before)
        attnzoo.remove(model)


class Bottleneck(nn.Module):
    """A stem and a residual branch of the given width at 8 x 6."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 1)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + self.conv(x)


@pytest.mark.parametrize(
    ("name", "arguments", "filled"),
    [
        ("bottleneck_attention", {}, {"size": (8, 6)}),
        ("ge", {"variant": "theta"}, {"feat_size": (8, 6)}),
        ("rga", {"spatial_reduction": 2, "down_reduction": 2}, {"spatial_size": (8, 6)}),
        ("c3", {}, {"spatial_size": (8, 6)}),
        ("lambda_layer", {"r": None}, {"size": (8, 6)}),
        ("da_module", {}, {"height": 8, "width": 6}),
        ("axial", {"num_heads": 2}, {"size": 8, "out_channels": 16}),
        ("axial", {"num_heads": 2, "axis": "width"}, {"size": 6}),
        ("nam", {}, {"channels": 16}),
        ("acmix", {}, {"out_channels": 16}),
        ("bottleneck_attention", {"size": (8, 6), "num_heads": 2}, {"num_heads": 2}),
    ],
)
def test_sizes_are_filled_in(name: str, arguments: dict[str, Any], filled: dict[str, Any]) -> None:
    model, x = Bottleneck(16).eval(), torch.randn(2, 3, 8, 6)
    attnzoo.insert(model, name, example_input=x, **arguments)
    plug = model.conv.attnzoo
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in plug.arguments.items()}
    assert given.items() >= filled.items()
    if name == "nam":
        assert "spatial_size" not in given  # it would switch on another part of the method


def test_the_width_of_a_block_is_not_that_of_the_map() -> None:
    model = Bottleneck(64).eval()
    attnzoo.insert(model, "sc_bottleneck", example_input=torch.randn(2, 3, 8, 6))
    assert "width" not in model.conv.attnzoo.arguments


def test_numbers_of_tokens_are_filled_in() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1).eval()
    attnzoo.insert(model, "aft", example_input=images())
    assert model.blocks[0].attn.attnzoo.module.num_tokens == 17


def test_a_module_that_cannot_run_at_a_site_says_where() -> None:
    model = torchvision.models.resnet18().eval()
    with pytest.raises(attnzoo.AttnzooError, match=r"halo: does not run after layer1\.0\.bn2: .*block_size"):
        attnzoo.insert(model, "halo", example_input=images(72), num_heads=8)
    assert "attnzoo" not in repr(model)


class Opaque(nn.Module):
    """Leaves torch on its way."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy().clip(-1, 1))


class Steps(nn.Module):
    """Writes to views, catches errors, calls a module twice, and gives what torch cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.fails = nn.Linear(5, 5)
        self.opaque = Opaque()

    def forward(self, x: list[Tensor], scale: float = 1.0) -> dict[str, Tensor]:
        batch = torch.zeros(len(x), 3, 4, 4)
        for i, image in enumerate(x):
            batch[i].copy_(image)
        try:
            self.fails(batch)
        except RuntimeError:
            batch.mul_(scale)
        return {"out": self.conv(self.opaque(self.conv(batch))).transpose(1, 3)}


def test_tensors_are_followed_through_writes_errors_and_numpy() -> None:
    model = Steps().eval()
    flow = follow(model, {"x": [torch.rand(3, 4, 4), torch.rand(3, 4, 4)], "scale": 2.0})
    first, _, second = (call for call in flow.calls if call.path in ("conv", "opaque"))
    assert flow.steps[flow.steps[first.gives].parents[0]].function == "mul_"
    assert {"written", "unseen"} < {step.function for step in flow.steps}
    assert flow.dominators[second.gives] > first.gives  # everything passes through the first
    assert flow.steps[-1].order == (0, 3, 2, 1)
    assert flow.steps[-1].axis == 3
    assert [call.path for call in flow.calls] == ["conv", "opaque", "conv", ""]
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
