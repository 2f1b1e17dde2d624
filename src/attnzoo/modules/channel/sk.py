"""SK, Selective Kernel convolution: branches of different reach, mixed channel by channel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, ConvNormAct, Layer, spatial_mean, without_autocast
from attnzoo.registry import Paper, register


@register(
    "sk",
    title="Selective Kernel convolution",
    contract="conv",
    plug_in=True,
    paper=Paper(
        title="Selective Kernel Networks",
        authors="Li, Wang, Hu, Yang",
        venue="CVPR",
        year=2019,
        url="https://arxiv.org/abs/1903.06586",
    ),
    source="huggingface/pytorch-image-models@v1.0.31 (split_input=False), the same arithmetic as "
    "implus/SKNet@17dd708 (Caffe)",
    source_license="Apache-2.0; none found",
    summary="Runs convolutions of different reach side by side and mixes their outputs per channel, with softmax "
    "weights read from the mean of their sum. The network so picks its kernel size from the content.",
    summary_zh="并行运行感受野不同的卷积，并依据它们之和的均值用 softmax 逐通道加权混合。"
    "网络由此按内容自行选择卷积核大小。",
    placement="In place of the 3x3 convolution of a ResNeXt-50 (32x4d) bottleneck.",
    reported="ImageNet top-1 error, single crop 224: ResNeXt-50 22.23, SENet-50 21.12, SKNet-50 20.79 (27.5M).",
    differences=(
        "A widely copied port uses true 5x5 kernels with biases, and a gate without BatchNorm and ReLU; "
        "collections that copy it take kernels 1, 3, 5, 7 in one group, over nine times the weights of a 3x3.",
        "timm splits the input among the branches by default (split_input=True), with one group and no lower "
        "bound of 32 for the gate.",
    ),
)
class SK(nn.Module):
    """Sum a_i U_i: U_i = act(norm(conv_i(x))), a the softmax over the branches of a gate on the mean of sum U_i.

    Args:
        in_channels: channels of the input; groups divides it.
        out_channels: channels of the output, in_channels by default; groups divides it.
        kernel_sizes: the reach of each branch, odd, from 3 up, at least two.
        stride: of all branches.
        dilation: multiplies the dilation of all branches.
        groups: of each branch.
        reduction, min_attn_channels: the gate's bottleneck is max(out_channels // reduction,
            min_attn_channels) wide.
        dilated: a kernel k is a 3x3 with dilation (k - 1) / 2; False builds true k x k kernels.
        split_input: branch i sees only the i-th slice of the input's channels.
        norm_layer, act_layer: make the normalisation and the activation.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: the branch convolutions, and (1 + branches) out_channels d weights of the gate, d its width.
    Raises: AttnzooError for fewer than two kernels, even ones, group counts that do not divide, a training
        batch of one, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        r"paths\.(\d+)\.bn": r"paths.\1.norm",
        r"attn\.fc_reduce": "reduce.conv",
        r"attn\.bn": "reduce.norm",
        r"attn\.fc_select": "select",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_sizes: Sequence[int] = (3, 5),
        stride: int = 1,
        dilation: int = 1,
        groups: int = 32,
        reduction: int = 16,
        min_attn_channels: int = 32,
        dilated: bool = True,
        split_input: bool = False,
        norm_layer: Layer = nn.BatchNorm2d,
        act_layer: Activation = nn.ReLU,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        checks.positive("sk", in_channels=in_channels, out_channels=out_channels, stride=stride)
        checks.positive("sk", dilation=dilation, groups=groups, reduction=reduction)
        checks.positive("sk", min_attn_channels=min_attn_channels)
        checks.sequence("sk", least=2, kernel_sizes=kernel_sizes)
        checks.odd("sk", **checks.items(kernel_sizes=kernel_sizes))
        checks.at_least("sk", 3, **checks.items(kernel_sizes=kernel_sizes))
        branches = len(kernel_sizes)
        if split_input:
            checks.divisible("sk", "in_channels", in_channels, branches=branches)
        seen = in_channels // branches if split_input else in_channels
        checks.divisible("sk", "channels of a branch", seen, groups=groups)
        checks.divisible("sk", "out_channels", out_channels, groups=groups)

        self.in_channels = in_channels
        self.split_input = split_input
        self.paths = nn.ModuleList(
            ConvNormAct(
                seen,
                out_channels,
                kernel_size=3 if dilated else k,
                stride=stride,
                dilation=dilation * ((k - 1) // 2 if dilated else 1),
                groups=groups,
                norm_layer=norm_layer,
                act_layer=act_layer,
            )
            for k in kernel_sizes
        )
        width = max(out_channels // reduction, min_attn_channels)
        self.reduce = ConvNormAct(out_channels, width, norm_layer=norm_layer, act_layer=act_layer)
        self.select = nn.Conv2d(width, branches * out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("sk", x, self.in_channels)
        if self.training:
            checks.batch_statistics("sk", x)
        slices = x.chunk(len(self.paths), dim=1) if self.split_input else [x] * len(self.paths)
        maps = [path(part) for path, part in zip(self.paths, slices, strict=True)]
        weights = self.gate(*maps).unbind(1)
        mixed = maps[0] * weights[0][:, :, None, None]
        for u, a in zip(maps[1:], weights[1:], strict=True):
            mixed = torch.addcmul(mixed, u, a[:, :, None, None])
        return mixed

    def gate(self, *maps: Tensor) -> Tensor:
        """The branches' maps (B, C, H, W) -> their weights (B, branches, C), which sum to 1 over the branches."""
        means = torch.stack([spatial_mean(u, keepdim=True) for u in maps]).sum(dim=0)  # (B, C, 1, 1)
        with without_autocast(means):
            logits = self.select(self.reduce(means.to(self.select.weight.dtype)))  # (B, branches * C, 1, 1)
        return logits.flatten(1).unflatten(1, (len(maps), -1)).softmax(dim=1).to(maps[0].dtype)
