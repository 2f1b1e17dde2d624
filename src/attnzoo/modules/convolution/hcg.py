"""HCGNet's cell: new features under a forget gate and an update gate, concatenated to the old."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, wide, without_autocast
from attnzoo.registry import Paper, register

HCGNET = Paper(
    title="Gated Convolutional Networks with Hybrid Connectivity for Image Classification",
    authors="Yang, An, Zhu, Hu, Zhang, Xu, Li, Xu",
    venue="AAAI",
    year=2020,
    url="https://arxiv.org/abs/1908.09699",
)
GATE_KEYS = {  # the authors' names of the gates' parts
    "conv_3x3": "gates.near",
    "conv_5x5": "gates.far",
    "global_context3x3": "gates.near_places",
    "global_context5x5": "gates.far_places",
    "fcall": "gates.squeeze.fc",
    "bn_attention": "gates.squeeze.norm",
    "fc3x3": "gates.near_weight",
    "fc5x5": "gates.far_weight",
    "global_forget_context": "gates.places",
    "fc1": "gates.forget.fc",
    "bn_forget": "gates.forget.norm",
    "fc2": "gates.keep",
    "conv1_1x1": "point",
    "conv2_3x3": "spread",
}


@register(
    "hcg",
    title="Hybrid-connectivity gated cell (HCGNet)",
    contract="conv",
    paper=HCGNET,
    source="winycg/HCGNet@229ad0b",
    source_license="none found",
    summary="A dense cell whose new features are scaled by a forget gate, and shifted by what an update gate pools "
    "from two reaches. What comes out is concatenated to the input.",
    summary_zh="一种密集连接单元：新特征先由遗忘门缩放，再加上更新门从两种感受野池化得到的向量。结果与输入沿通道拼接。",
    placement="Every cell of a hybrid block of HCGNet; hcg_transition stands between the blocks.",
    reported="Authors' table: HCGNet-B ImageNet top-1 error 21.5, 12.9M parameters; HCGNet-A3 CIFAR-100 error 15.96.",
    differences=(
        "The authors' code reads both sides of the map from the last one, and so takes square maps only; here any.",
        "The biases of the three spatial attentions have no effect, as a softmax follows; they stay for the weights.",
    ),
    inert=("gates.places.bias", "gates.near_places.bias", "gates.far_places.bias"),
    example={"growth_rate": 16},
    settled=("out_channels",),
)
class HCG(nn.Module):
    """[x, u f(u) + n(u)], u = spread(point(x)), f and n the gates of `Gates`; convolutions come after norm and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: in_channels + growth_rate, which None stands for.
        growth_rate: g, how many channels are new; None takes out_channels - in_channels.
        expansion: `point` gives expansion * g channels.
        groups: of `spread`, 3x3.
        reduction: the update gate's bottleneck is 2 g // reduction wide.
        forget_reduction: the forget gate's bottleneck is g // forget_reduction wide.

    Shape: (B, in_channels, H, W) -> (B, in_channels + g, H, W), for any H and W from 1 up.
    Cost: about e g in_channels + 9 e g^2 / groups + 18 g + 8 g^2 / reduction + 2 g^2 / forget_reduction weights.
    Raises: AttnzooError for neither or contradicting out_channels and growth_rate, groups that do not divide, a
        bottleneck without channels, a training batch of one, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = GATE_KEYS

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        growth_rate: int | None = None,
        expansion: int = 4,
        groups: int = 4,
        reduction: int = 2,
        forget_reduction: int = 2,
    ) -> None:
        super().__init__()
        checks.positive("hcg", in_channels=in_channels, expansion=expansion, groups=groups)
        if growth_rate is None:
            growth_rate = checks.needed("hcg", "growth_rate", out_channels, "out_channels is None too") - in_channels
        checks.positive("hcg", growth_rate=growth_rate)
        if out_channels is not None:
            checks.equal("hcg", out_channels=out_channels, **{"in_channels + growth_rate": in_channels + growth_rate})
        checks.divisible("hcg", "growth_rate", growth_rate, groups=groups)
        self.in_channels = in_channels
        self.point = PreConv(in_channels, expansion * growth_rate)
        self.spread = PreConv(expansion * growth_rate, growth_rate, 3, groups=groups)
        self.gates = Gates("hcg", growth_rate, reduction, forget_reduction)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("hcg", x, self.in_channels)
        if self.training:
            checks.batch_statistics("hcg", x)
        apart = x.to(x.dtype)  # quantisers would fold the norm into the convolution before, though x is read here too
        y = self.point(apart)
        return torch.cat([x, self.gates(precisely(self.spread, y)).to(y.dtype)], dim=1)


class PreConv(nn.Module):
    """Convolution after norm and ReLU; at stride 1 the map keeps its size."""

    def __init__(
        self, in_channels: int, out_channels: int, size: int = 1, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.act = nn.ReLU()
        padding = dilation * (size // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, size, stride, padding, dilation, groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.act(self.norm(x)))


class Squeeze(nn.Module):
    """tanh(norm(fc(z))): (B, in_channels) -> (B, out_channels)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels, out_channels)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, z: Tensor) -> Tensor:
        return self.norm(self.fc(z)).tanh()


class Gates(nn.Module):
    """u f + n: f a gate from u's own pooled values, n a mix of values pooled from two reaches around u.

    Values are pooled by a softmax over the places. Shape: (B, C, H, W) -> the same.
    """

    def __init__(self, module: str, channels: int, reduction: int, forget_reduction: int) -> None:
        super().__init__()
        checks.positive(module, reduction=reduction, forget_reduction=forget_reduction)
        shared = checks.reduced(module, 2 * channels, reduction, "channels of the update gate")
        kept = checks.reduced(module, channels, forget_reduction, "channels of the forget gate")
        self.near = PreConv(channels, channels, 3, groups=channels)
        self.far = PreConv(channels, channels, 3, dilation=2, groups=channels)
        self.near_places = nn.Conv2d(channels, 1, 1)
        self.far_places = nn.Conv2d(channels, 1, 1)
        self.squeeze = Squeeze(2 * channels, shared)
        self.near_weight = nn.Linear(shared, channels)
        self.far_weight = nn.Linear(shared, channels)
        self.places = nn.Conv2d(channels, 1, 1)
        self.forget = Squeeze(channels, kept)
        self.keep = nn.Linear(kept, channels)

    def forward(self, u: Tensor) -> Tensor:
        return torch.addcmul(self.update(u), u, self.gate(u))

    def gate(self, u: Tensor) -> Tensor:
        """What is kept of u: (B, C, H, W) -> (B, C, 1, 1)."""
        z = precisely(self.forget, _pooled(u, self.places))
        return precisely(self.keep, z).sigmoid()[:, :, None, None].to(u.dtype)

    def update(self, u: Tensor) -> Tensor:
        """What is added at every place: (B, C, H, W) -> (B, C, 1, 1)."""
        near = _pooled(precisely(self.near, u), self.near_places)
        far = _pooled(precisely(self.far, u), self.far_places)
        z = precisely(self.squeeze, torch.cat([near, far], dim=1))
        logits = precisely(self.near_weight, z) - precisely(self.far_weight, z)
        mixed = torch.lerp(far, near, wide(logits).sigmoid())  # by the softmax over the two
        return mixed[:, :, None, None].to(u.dtype)


def _pooled(x: Tensor, places: nn.Conv2d) -> Tensor:
    """The mean of x over its places, weighed by the softmax of `places`: (B, C, H, W) -> (B, C)."""
    weights = wide(precisely(places, x)).flatten(2).softmax(dim=2)  # (B, 1, H W)
    with without_autocast(x):
        return (wide(x).flatten(2) @ weights.mT)[:, :, 0]
