"""GC, Global Context: one context vector for all places, added to the map or scaling its channels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, precisely
from attnzoo.registry import Paper, register


@register(
    "gc",
    title="Global Context block",
    contract="feature",
    paper=Paper(
        title="GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
        authors="Cao, Xu, Lin, Wei, Hu",
        venue="ICCVW",
        year=2019,
        url="https://arxiv.org/abs/1904.11492",
    ),
    source="xvjiarui/GCNet@029db54",
    source_license="Apache-2.0",
    summary="Pools the map into one context vector with a learnt softmax over the places, which is the same for every "
    "query, and adds its transform to all places. It is non-local attention at the price of SE.",
    summary_zh="用一个可学习的、对所有查询都相同的空间 softmax 把特征图汇聚成一个上下文向量，变换后加到每个位置。"
    "以接近 SE 的代价得到非局部注意力。",
    placement="After the last 1x1 convolution of the bottlenecks in stages c3 to c5, before the addition.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors give a ratio, 1/16 or 1/4 in their configurations and no default; here it is reduction.",
        "timm's GlobalContext scales by default instead of adding, and rounds the width to a multiple of 8.",
        "A popular explanation leaves out that the last layer starts at zero.",
    ),
    inert=("mask.bias",),
)
class GC(nn.Module):
    """x sigmoid(mul(z)) + add(z), z = sum_j softmax(w x)_j x_j; either part may be absent.

    Args:
        channels: C, the channels of the input.
        reduction: r; the transforms have a bottleneck of P = C // r, with a LayerNorm (constant for P = 1).
        pooling_type: 'att' for the learnt softmax, 'avg' for the mean.
        fusion_types: of 'channel_add' and 'channel_mul'; the product comes first.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C P + 3 P + C parameters a transform and C + 1 of the mask; 2 C H W multiply-adds.
    Raises: AttnzooError for a bottleneck without channels, an unknown pooling or fusion, no fusion, or an input
        that is not (B, C, H, W).
    """

    reference_keys = {
        "conv_mask": "mask",
        **{
            rf"{kind}_conv\.{theirs}": f"transforms.{kind}.{ours}"
            for kind in ("channel_add", "channel_mul")
            for theirs, ours in ((0, "fc1"), (1, "act.0"), (3, "fc2"))
        },
    }

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        pooling_type: str = "att",
        fusion_types: Sequence[str] = ("channel_add",),
    ) -> None:
        super().__init__()
        width = checks.reduced("gc", channels, reduction)
        checks.choice("gc", ("att", "avg"), pooling_type=pooling_type)
        checks.sequence("gc", fusion_types=fusion_types)
        checks.choice("gc", ("channel_add", "channel_mul"), **checks.items(fusion_types=fusion_types))
        self.channels = channels
        self.mask = nn.Conv2d(channels, 1, 1) if pooling_type == "att" else None
        if self.mask is not None:
            nn.init.kaiming_normal_(self.mask.weight, nonlinearity="relu")
        self.transforms = nn.ModuleDict({kind: _transform(channels, width) for kind in fusion_types})

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("gc", x, self.channels)
        z = (x.flatten(2) @ self.attention(x)[:, 0].mT.to(x.dtype))[..., 0]  # (B, C)
        if "channel_add" not in self.transforms:
            return x * self.gate(z)
        shift = self.transforms["channel_add"](z)[:, :, None, None].to(x.dtype)
        return torch.addcmul(shift, x, self.gate(z)) if "channel_mul" in self.transforms else x + shift

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights of the places, the same for every query (B, 1, 1, H W)."""
        places = x.shape[2] * x.shape[3]
        if self.mask is None:
            return x.new_full((x.shape[0], 1, 1, places), 1 / places)
        return precisely(self.mask, x).flatten(2).softmax(dim=2)[:, None]

    def gate(self, z: Tensor) -> Tensor:
        """The context (B, C) -> (B, C, 1, 1)."""
        return self.transforms["channel_mul"](z).sigmoid()[:, :, None, None]


def _transform(channels: int, width: int) -> BottleneckMLP:
    """The bottleneck of a context, with a LayerNorm; its last layer starts at zero."""
    mlp = BottleneckMLP(channels, width, bias=True, act_layer=lambda: nn.Sequential(nn.LayerNorm(width), nn.ReLU()))
    nn.init.zeros_(mlp.fc2.weight)
    nn.init.zeros_(mlp.fc2.bias)
    return mlp
