"""DBB, Diverse Branch Block: four linear branches in training, one convolution for inference."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, fuse_conv_bn, identity_kernel, plain_conv, silence, widened
from attnzoo.modules.convolution.fused_conv_bn import FusedConvBN
from attnzoo.modules.convolution.rep_vgg import followed
from attnzoo.registry import Paper, register


@register(
    "dbb",
    title="Diverse Branch Block",
    contract="conv",
    paper=Paper(
        title="Diverse Branch Block: Building a Convolution as an Inception-like Unit",
        authors="Ding, Zhang, Han, Ding",
        venue="CVPR",
        year=2021,
        url="https://arxiv.org/abs/2103.13425",
    ),
    source="DingXiaoH/DiverseBranchBlock@8d2b16b",
    source_license="Apache-2.0",
    summary="In training a k x k convolution, a 1x1, a 1x1 before a k x k, and a 1x1 before an average pooling are "
    "normalised and summed. All are linear, so one k x k convolution replaces them exactly for inference.",
    summary_zh="训练时将 k x k 卷积、1x1 卷积、1x1 接 k x k、1x1 接平均池化四路各自归一化后相加。"
    "四路皆为线性，推理时可精确合并为一个 k x k 卷积。",
    placement="In place of a convolution from 3x3 up and its BatchNorm.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors accept a dilation that holds for one branch only; here it is refused.",
        "The authors' fold builds 1/k^2 in float32 and is 1e-8 off in float64; here it is exact to rounding.",
        "The border around the inner maps is part of the k x k convolution here, by a bias, instead of a padded copy.",
        "Instead of the authors' deploy=True, `folded` gives a plain convolution, into which dbb_reparam weights fit.",
    ),
    not_applicable={"gradcheck": "the authors cut the values of the border from the gradient of their BatchNorm"},
    example={"kernel_size": 3, "padding": 1},
)
class DBB(nn.Module):
    """act(norm(conv_k(x)) + norm(conv_1(x)) + norm(conv_k(border(conv_1(x)))) + norm(pool(border(conv_1(x))))).

    `border` normalises and continues the map by what it makes of zeros. Depthwise, the second term and the 1x1 before
    the pooling fall away.

    Args:
        in_channels, out_channels, stride, groups: as in nn.Conv2d.
        kernel_size: k, odd.
        padding: k // 2, which None stands for.
        dilation: 1; the method knows no other.
        mid_channels: between 1x1 and k x k; None takes in_channels, or twice as many where groups reach out_channels.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: (k^2 + 2) C_in C_out / groups, C_in mid / groups and k^2 mid C_out / groups weights and the norms; folded,
        those of one convolution.
    Raises: AttnzooError for an even kernel, another padding or dilation, groups that do not divide, or an input that
        is not (B, in_channels, H, W).
    """

    reference_keys = {
        r"dbb_origin\.conv": "origin.conv",
        r"dbb_origin\.bn": "origin.norm",
        r"dbb_1x1\.conv": "point.conv",
        r"dbb_1x1\.bn": "point.norm",
        r"dbb_avg\.conv": "pooled.first",
        r"dbb_avg\.bn\.bn": "pooled.border",
        r"dbb_avg\.avgbn": "pooled.norm",
        r"dbb_1x1_kxk\.(id)?conv1": "chain.first",
        r"dbb_1x1_kxk\.bn1\.bn": "chain.border",
        r"dbb_1x1_kxk\.conv2": "chain.second",
        r"dbb_1x1_kxk\.bn2": "chain.norm",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        mid_channels: int | None = None,
        act_layer: Activation | None = None,
    ) -> None:
        super().__init__()
        checks.channel_groups("dbb", in_channels, out_channels, groups)
        size = checks.square("dbb", "kernel_size", kernel_size)
        checks.choice("dbb", (1,), dilation=checks.square("dbb", "dilation", dilation))
        border = checks.centred("dbb", size, padding, dilation)
        steps = checks.pair("dbb", "stride", stride)
        mixes = groups < out_channels
        if mid_channels is None:
            mid_channels = in_channels if mixes else 2 * in_channels
        checks.positive("dbb", mid_channels=mid_channels)
        checks.divisible("dbb", "mid_channels", mid_channels, groups=groups)
        self.in_channels = in_channels
        self.origin = FusedConvBN(in_channels, out_channels, size, steps, border, groups=groups, bias=False)
        self.point = FusedConvBN(in_channels, out_channels, 1, steps, groups=groups, bias=False) if mixes else None
        self.pooled = PooledBranch(in_channels, out_channels, size, steps, groups, mixes)
        self.chain = ChainBranch(in_channels, mid_channels, out_channels, size, steps, groups)
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("dbb", x, self.in_channels)
        y = self.origin(x) + self.pooled(x) + self.chain(x)
        return self.act(y if self.point is None else y + self.point(x))

    def folded(self) -> nn.Module:
        """One convolution, and the activation."""
        weight, bias = self.origin.fused()
        like = self.origin.conv
        for branch in (self.point, self.pooled, self.chain):
            if branch is not None:
                kernel, shift = branch.fused()
                weight, bias = weight + widened(kernel, *weight.shape[2:]), bias + shift
        return followed(plain_conv(weight, bias, like=like), self.act)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute in eval mode what a convolution of the same form does, with its weights in the first branch."""
        checks.bare("dbb", act_layer=self.act)
        self.origin.take_over(conv)
        silence(self.pooled.norm, self.chain.norm, *([] if self.point is None else [self.point.norm]))


class Border(nn.BatchNorm2d):
    """A BatchNorm whose map goes on beyond its border with what its running statistics make of 0.

    Gives the map less that value, so that a border of zeros stands for it, and the value: (B, C, H, W), (C).
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        y = super().forward(x)
        beyond = self.beyond().detach()
        return y - beyond[:, None, None].to(y.dtype), beyond

    def beyond(self) -> Tensor:
        """(C)."""
        mean, variance = checks.running_statistics(self)
        return self.bias - mean * self.weight * (variance + self.eps).rsqrt()


class PooledBranch(nn.Module):
    """norm(pool(border(conv_1(x)))), or norm(pool(x)) where channels are not mixed; the pooling averages k x k."""

    def __init__(
        self, in_channels: int, out_channels: int, size: int, stride: tuple[int, int], groups: int, mixes: bool
    ) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        self.first = nn.Conv2d(in_channels, out_channels, 1, groups=groups, bias=False) if mixes else None
        self.border = Border(out_channels) if mixes else None
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        beyond = None
        if self.first is not None and self.border is not None:
            x, beyond = self.border(self.first(x))
        y = F.avg_pool2d(x, self.size, self.stride, self.size // 2)
        return self.norm(y if beyond is None else y + beyond[:, None, None].to(y.dtype))

    def fused(self) -> tuple[Tensor, Tensor]:
        if self.first is None or self.border is None:
            kernel, bias = torch.ones_like(self.norm.weight)[:, None, None, None], None
        else:
            kernel, bias = fuse_conv_bn(self.first.weight, None, self.border)
        return fuse_conv_bn(kernel.expand(-1, -1, self.size, self.size) / self.size**2, bias, self.norm)


class ChainBranch(nn.Module):
    """norm(conv_k(border(conv_1(x)))); a 1x1 kernel that keeps the channels is stored less the identity."""

    def __init__(
        self, in_channels: int, mid: int, out_channels: int, size: int, stride: tuple[int, int], groups: int
    ) -> None:
        super().__init__()
        self.deviates = mid == in_channels
        self.first = nn.Conv2d(in_channels, mid, 1, groups=groups, bias=False)
        if self.deviates:
            nn.init.zeros_(self.first.weight)
        self.border = Border(mid)
        self.second = nn.Conv2d(mid, out_channels, size, stride, size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y, beyond = self.border(y + x if self.deviates else y)
        shift = self._by_group(self.second.weight.sum(dim=(2, 3))) @ self._by_group(beyond)[..., None]
        return self.norm(self.second(y) + shift.flatten()[:, None, None].to(y.dtype))

    def fused(self) -> tuple[Tensor, Tensor]:
        weight = self.first.weight
        kernel, bias = fuse_conv_bn(weight + identity_kernel(weight) if self.deviates else weight, None, self.border)
        outer, inner = self._by_group(self.second.weight), self._by_group(kernel[:, :, 0, 0])
        joined = torch.einsum("gomhw,gmi->goihw", outer, inner).flatten(0, 1)
        shift = torch.einsum("gomhw,gm->go", outer, self._by_group(bias)).flatten()
        return fuse_conv_bn(joined, shift, self.norm)

    def _by_group(self, x: Tensor) -> Tensor:
        """(C, ...) -> (groups, C / groups, ...)."""
        return x.unflatten(0, (self.second.groups, -1))
