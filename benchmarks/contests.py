"""Which modules have peers in timm and fightingcv-attention, and with which arguments all compute as much."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

C = 256
Peer = Callable[[], nn.Module]


class Contest(NamedTuple):
    """Our arguments, the peers by where they come from, and the input."""

    arguments: dict[str, Any]
    peers: dict[str, Peer]
    shape: tuple[int, ...] = (8, C, 56, 56)


def timm(name: str, **arguments: Any) -> Peer:
    """A module that timm's factory makes."""
    return lambda: importlib.import_module("timm.layers").create_attn(name, C, **arguments)


def timm_layer(path: str, *arguments: Any, **named: Any) -> Peer:
    """A class of timm's layers, as 'file.Class'."""
    file, name = path.split(".")
    return lambda: getattr(importlib.import_module(f"timm.layers.{file}"), name)(*arguments, **named)


def timm_model(path: str, *arguments: Any, **named: Any) -> Peer:
    """A class of timm's models, as 'file.Class'."""
    file, name = path.split(".")
    return lambda: getattr(importlib.import_module(f"timm.models.{file}"), name)(*arguments, **named)


def fighting(path: str, *arguments: Any, **named: Any) -> Peer:
    """A class of fightingcv-attention, as 'folder.file.Class'."""
    file, name = path.rsplit(".", 1)
    return lambda: getattr(importlib.import_module(f"fightingcv_attention.{file}"), name)(*arguments, **named)


class Repeated(nn.Module):
    """A peer that takes the same tokens as queries, keys and values."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x)


class OnTokens(nn.Module):
    """A peer on tokens (B, N, C), fed a map as a user must: to tokens and back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flatten(2).mT).mT.unflatten(2, x.shape[2:])


class ChannelsLast(nn.Module):
    """A peer on maps (B, H, W, C)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Routed(nn.Module):
    """timm's CondConv2d with the routing that its models put before it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.routing = nn.Linear(inner.in_channels, inner.num_experts)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, torch.sigmoid(self.routing(x.mean((2, 3)))))


def repeated(make: Peer) -> Peer:
    """A peer that takes its input thrice."""
    return lambda: Repeated(make())


TOKENS = (8, 784, C)
SMALL = (8, C, 28, 28)
HEADS = {"d_model": C, "d_k": 32, "d_v": 32, "h": 8}
# Theirs of BAM runs on this map with dilation 1 only, and adds its branches; their S2 attention has 512 channels only.
CONTESTS = {
    "se": Contest(
        {"channels": C}, {"timm": timm("se"), "fightingcv": fighting("attention.SEAttention.SEAttention", C)}
    ),
    "eca": Contest(
        {"channels": C}, {"timm": timm("eca"), "fightingcv": fighting("attention.ECAAttention.ECAAttention", 5)}
    ),
    "ese": Contest({"channels": C}, {"timm": timm("ese")}),
    "cbam": Contest(
        {"channels": C},
        {"timm": timm("cbam"), "fightingcv": fighting("attention.CBAM.CBAMBlock", C, kernel_size=7)},
    ),
    "bam": Contest({"channels": C, "fusion": "add"}, {"fightingcv": fighting("attention.BAM.BAMBlock", C, dia_val=1)}),
    "coord": Contest(
        {"channels": C},
        {"timm": timm("coord"), "fightingcv": fighting("attention.CoordAttention.CoordAtt", C, C)},
    ),
    "simam": Contest({"channels": C}, {"fightingcv": fighting("attention.SimAM.SimAM")}),
    "sge": Contest({"channels": C, "groups": 8}, {"fightingcv": fighting("attention.SGE.SpatialGroupEnhance", 8)}),
    "triplet": Contest({"channels": C}, {"fightingcv": fighting("attention.TripletAttention.TripletAttention")}),
    "shuffle_attention": Contest(
        {"channels": C, "groups": 8},
        {"fightingcv": fighting("attention.ShuffleAttention.ShuffleAttention", C, G=8)},
    ),
    "polarized": Contest(
        {"channels": C},
        {"fightingcv": fighting("attention.PolarizedSelfAttention.ParallelPolarizedSelfAttention", C)},
    ),
    "parnet_attention": Contest(
        {"channels": C}, {"fightingcv": fighting("attention.ParNetAttention.ParNetAttention", C)}
    ),
    "sk": Contest(
        {"in_channels": C, "kernel_sizes": (3, 5), "groups": 32},
        {"timm": timm_layer("selective_kernel.SelectiveKernel", C, groups=32, split_input=False)},
    ),
    "split_attention": Contest(
        {"in_channels": C, "out_channels": C, "kernel_size": 3, "padding": 1},
        {"timm": timm_layer("split_attn.SplitAttn", C)},
    ),
    "gc": Contest({"channels": C}, {"timm": timm("gc")}),
    "self_attention": Contest(
        {"channels": C, "dropout": 0.0},
        {"fightingcv": repeated(fighting("attention.SelfAttention.ScaledDotProductAttention", **HEADS, dropout=0.0))},
        TOKENS,
    ),
    "simplified_self_attention": Contest(
        {"channels": C, "num_heads": 8, "dropout": 0.0},
        {
            "fightingcv": repeated(
                fighting(
                    "attention.SimplifiedSelfAttention.SimplifiedScaledDotProductAttention", d_model=C, h=8, dropout=0.0
                )
            )
        },
        TOKENS,
    ),
    "emsa": Contest(
        {"channels": C, "sr_ratio": 2, "apply_transform": True},
        {
            "fightingcv": lambda: OnTokens(
                repeated(fighting("attention.EMSA.EMSA", **HEADS, dropout=0.0, H=28, W=28, ratio=2))()
            )
        },
        SMALL,
    ),
    "external_attention_token": Contest(
        {"channels": C}, {"fightingcv": fighting("attention.ExternalAttention.ExternalAttention", C)}, (8, 3136, C)
    ),
    "aft": Contest(
        {"channels": C, "num_tokens": 196}, {"fightingcv": fighting("attention.AFT.AFT_FULL", C, n=196)}, (8, 196, C)
    ),
    "ufo": Contest(
        {"channels": C},
        {"fightingcv": repeated(fighting("attention.UFOAttention.UFOAttention", **HEADS, dropout=0.0))},
        (8, 3136, C),
    ),
    "double_attention": Contest(
        {"channels": C, "mid_channels": 128, "num_descriptors": 128},
        {"fightingcv": fighting("attention.A2Atttention.DoubleAttention", C, 128, 128, True)},
    ),
    "separable_self_attention": Contest(
        {"channels": C},
        {
            "timm": timm_model("mobilevit.LinearSelfAttention", C),
            "fightingcv": lambda: OnTokens(fighting("attention.MobileViTv2Attention.MobileViTv2Attention", C)()),
        },
    ),
    "non_local": Contest(
        {"channels": C, "inter_channels": 32, "sub_sample": False},
        {"timm": timm_layer("non_local_attn.NonLocalAttn", C)},
        SMALL,
    ),
    "bottleneck_attention": Contest(
        {"in_channels": C, "size": (28, 28)},
        {"timm": timm_layer("bottleneck_attn.BottleneckAttn", C, feat_size=(28, 28))},
        SMALL,
    ),
    "halo": Contest(
        {"in_channels": C},
        {
            "timm": timm_layer("halo_attn.HaloAttn", C),
            "fightingcv": fighting(
                "attention.HaloAttention.HaloAttention", dim=C, block_size=8, halo_size=3, dim_head=32, heads=8
            ),
        },
    ),
    "cc": Contest(
        {"channels": C, "recurrence": 1},
        {"fightingcv": fighting("attention.CrissCrossAttention.CrissCrossAttention", C)},
    ),
    "lambda_layer": Contest({"channels": C}, {"timm": timm_layer("lambda_layer.LambdaLayer", C)}, SMALL),
    "cot": Contest({"channels": C}, {"fightingcv": fighting("attention.CoTAttention.CoTAttention", dim=C)}, SMALL),
    "outlook": Contest(
        {"channels": C},
        {
            "timm": lambda: ChannelsLast(timm_model("volo.OutlookAttention", C, 1)()),
            "fightingcv": lambda: ChannelsLast(
                fighting("attention.OutlookAttention.OutlookAttention", C, attn_drop=0.0)()
            ),
        },
        SMALL,
    ),
    "acmix": Contest(
        {"in_channels": C, "out_channels": C}, {"fightingcv": fighting("attention.ACmixAttention.ACmix", C, C)}, SMALL
    ),
    "cond_conv": Contest(
        {"in_channels": C, "out_channels": C},
        {"timm": lambda: Routed(timm_layer("cond_conv2d.CondConv2d", C, C)())},
        SMALL,
    ),
    "dynamic_conv": Contest(
        {"in_channels": C, "out_channels": C, "kernel_size": 3, "padding": 1},
        {"fightingcv": fighting("conv.DynamicConv.DynamicConv", C, C, 3, 1, padding=1)},
        SMALL,
    ),
    "involution": Contest(
        {"channels": C, "kernel_size": 3},
        {"fightingcv": fighting("conv.Involution.Involution", 3, in_channel=C, group=C // 16)},
        SMALL,
    ),
    "mix_conv": Contest(
        {"in_channels": C, "out_channels": C, "kernel_size": (3, 5, 7)},
        {"timm": timm_layer("mixed_conv2d.MixedConv2d", C, C, [3, 5, 7], depthwise=True)},
    ),
    "depthwise_separable": Contest(
        {"in_channels": C, "out_channels": C},
        {"fightingcv": fighting("conv.DepthwiseSeparableConvolution.DepthwiseSeparableConvolution", C, C)},
    ),
    "mb_conv": Contest(
        {"in_channels": C, "out_channels": C},
        {
            "fightingcv": fighting(
                "conv.MBConv.MBConvBlock", ksize=3, input_filters=C, output_filters=C, expand_ratio=6, image_size=28
            )
        },
        SMALL,
    ),
}
