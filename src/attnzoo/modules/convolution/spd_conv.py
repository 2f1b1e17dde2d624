"""SPD-Conv: blocks of places moved into the channels before a convolution, in place of a stride."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, Layer, fuse_conv_bn, pass_on, plain_conv
from attnzoo.modules.convolution.rep_vgg import followed
from attnzoo.registry import Paper, register


@register(
    "spd_conv",
    title="SPD-Conv (space-to-depth and convolution)",
    contract="conv",
    paper=Paper(
        title="No More Strided Convolutions or Pooling: A New CNN Building Block for Low-Resolution Images and Small "
        "Objects",
        authors="Sunkara, Luo",
        venue="ECML PKDD",
        year=2022,
        url="https://arxiv.org/abs/2208.03641",
    ),
    source="LabSAINT/SPD-Conv@c09f792",
    source_license="MIT",
    summary="Moves every 2 x 2 block of places into the channels and convolves with stride 1, so that halving the map "
    "loses nothing. For inference it is one strided convolution of twice the kernel size.",
    summary_zh="把每个 2 x 2 块移到通道维，再做步长为 1 的卷积，减半尺寸而不丢失信息。"
    "推理时它等价于一个核大小加倍的步进卷积。",
    placement="In place of convolutions of stride 2; after a convolution of stride 1, in place of pooling.",
    reported="No headline figure recorded here.",
    differences=(
        "The paper has any scale, here the stride; the authors' code knows 2 only.",
        "Only the move is a class in the authors' code; the convolution, norm and SiLU after it are YOLO's.",
        "The channels come place by place of the block, rows first, not interleaved as by torch's pixel_unshuffle.",
    ),
    inputs=("B C 2*H 2*W",),
)
class SPDConv(nn.Module):
    """act(norm(conv([x[r::s, c::s]]))), the channels in order of c, then r, then the input's.

    Args:
        in_channels, out_channels, bias: as in nn.Conv2d.
        kernel_size: of the convolution on the smaller map, odd.
        stride: s, the side of the blocks, by which the map shrinks.
        norm_layer: makes the normalisation; None leaves it out.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H / s, W / s), for H and W that are multiples of s.
    Cost: s^2 in_channels out_channels k^2 weights, s^2 times those of the strided convolution.
    Raises: AttnzooError for an even kernel, or an input that is not (B, in_channels, H, W) with multiples of s.
    """

    reference_keys = {"bn": "norm"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 2,
        bias: bool = False,
        norm_layer: Layer | None = nn.BatchNorm2d,
        act_layer: Activation | None = nn.SiLU,
    ) -> None:
        super().__init__()
        checks.positive("spd_conv", in_channels=in_channels, out_channels=out_channels)
        size = checks.square("spd_conv", "kernel_size", kernel_size)
        checks.odd("spd_conv", kernel_size=size)
        self.in_channels = in_channels
        self.stride = checks.square("spd_conv", "stride", stride)
        self.conv = nn.Conv2d(in_channels * self.stride**2, out_channels, size, padding=size // 2, bias=bias)
        self.norm = norm_layer(out_channels) if norm_layer else nn.Identity()
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("spd_conv", x, self.in_channels)
        checks.whole_blocks("spd_conv", x, self.stride)
        s = self.stride
        x = torch.cat([x[:, :, r::s, c::s] for c in range(s) for r in range(s)], dim=1)
        return self.act(self.norm(self.conv(x)))

    def folded(self) -> nn.Module:
        """One strided convolution on the map itself, and what follows it."""
        weight, bias = self.conv.weight, self.conv.bias
        rest = (self.norm, self.act)
        if isinstance(self.norm, nn.BatchNorm2d):
            weight, bias = fuse_conv_bn(weight, bias, self.norm)
            rest = (nn.Identity(), self.act)
        s, k = self.stride, self.conv.kernel_size[0]
        strided = nn.Conv2d(self.in_channels, len(weight), s * k, s, s * (k // 2), dtype=weight.dtype, device="meta")
        blocks = weight.unflatten(1, (s, s, -1))  # (out, columns, rows, in, k, k)
        kernel = blocks.permute(0, 3, 4, 2, 5, 1).reshape(strided.weight.shape)
        shift = weight.new_zeros(len(weight)) if bias is None else bias
        return followed(plain_conv(kernel, shift, like=strided), *rest)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute in eval mode what a strided convolution does, whose kernel lies within this one's reach."""
        checks.bare("spd_conv", act_layer=self.act)
        s, k = self.stride, self.conv.kernel_size[0]
        wanted = f"one of its own channels and stride, {s * k} x {s * k} or smaller, that shrinks maps to 1/{s}"
        checks.takes_over("spd_conv", conv, self._holds(conv), wanted)
        rows, columns = (s * (k // 2) - p + d * torch.arange(n, device=conv.weight.device) for p, d, n in _taps(conv))
        kernel = conv.weight.new_zeros(conv.out_channels, conv.in_channels, s * k, s * k, requires_grad=False)
        kernel[:, :, rows[:, None], columns] = _ungrouped(conv.weight.detach(), conv.groups)
        blocks = kernel.unflatten(3, (k, s)).unflatten(2, (k, s))  # (out, in, k, rows, k, columns)
        self.conv.weight.data.copy_(blocks.permute(0, 5, 3, 1, 2, 4).flatten(1, 3))
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if isinstance(self.norm, nn.BatchNorm2d):
            pass_on(self.norm, conv.bias)
        elif self.conv.bias is not None and conv.bias is not None:
            self.conv.bias.data.copy_(conv.bias.detach())

    def _holds(self, conv: nn.Conv2d) -> bool:
        """Whether the convolution's taps lie within this one's, its bias finds a place, and its maps have this size."""
        s, k = self.stride, self.conv.kernel_size[0]
        form = (conv.in_channels, conv.out_channels, conv.stride, conv.padding_mode)
        if form != (self.in_channels, self.conv.out_channels, (s, s), "zeros") or isinstance(conv.padding, str):
            return False
        for p, d, n in _taps(conv):
            start, reach = s * (k // 2) - p, d * (n - 1)
            if start < 0 or start + reach >= s * k or (2 * p - reach - 1) // s != -1:
                return False
        bare = isinstance(self.norm, nn.Identity) and (conv.bias is None or self.conv.bias is not None)
        return bare or isinstance(self.norm, nn.BatchNorm2d)


def _taps(conv: nn.Conv2d) -> list[tuple[int, int, int]]:
    """Padding, dilation and kernel size along each side."""
    return [(int(conv.padding[i]), conv.dilation[i], conv.kernel_size[i]) for i in range(2)]


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """The weight of the same convolution in one group: (out, in / groups, h, w) -> (out, in, h, w)."""
    grouped = weight.unflatten(0, (groups, -1))
    full = weight.new_zeros(*grouped.shape[:2], groups, *weight.shape[1:])  # (groups, out, groups, in, h, w)
    same = torch.arange(groups, device=weight.device)
    full[same, :, same] = grouped
    return full.flatten(2, 3).flatten(0, 1)
