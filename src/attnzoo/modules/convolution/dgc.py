"""DGC, dynamic group convolution: every head convolves the channels that it finds important in this sample."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, ComputedKernel, precisely, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "dgc",
    title="Dynamic Group Convolution",
    contract="conv",
    paper=Paper(
        title="Dynamic Group Convolution for Accelerating Convolutional Neural Networks",
        authors="Su, Fang, Kang, Hu, Pietikainen, Liu",
        venue="ECCV",
        year=2020,
        url="https://arxiv.org/abs/2007.04242",
    ),
    source="hellozhuo/dgc@86befbd",
    source_license="MIT",
    summary="After BatchNorm and ReLU, each of several heads gates the input channels by the pooled input, leaves out "
    "the least important of this sample, and convolves the rest to its share of the output. The share that is left "
    "out grows during training.",
    summary_zh="在 BatchNorm 与 ReLU 之后，若干个头各自根据池化输入为输入通道加门，"
    "舍去该样本中最不重要的通道，再把其余通道卷积成自己那份输出。"
    "被舍去的比例在训练中逐渐增大。",
    placement="The 1x1 convolution of each DenseNet or CondenseNet layer, or the convolutions of ResNet-18.",
    reported="Top-1 error on ImageNet of the authors' release: CondenseNet with 4 heads, pruning 0.75, 25.4; "
    "ResNet-18, pruning 0.55, 31.22.",
    differences=(
        "The gates go into a kernel for each sample, which saves the authors' copy of the map for every head.",
        "Like the authors' training code it computes the dense convolution; only skipping the zeros would save time.",
        "The authors keep the progress of training in a class, one for the process; here it is an attribute of each "
        "module, which set_progress sets in a whole model.",
        "The authors add 1e-5 times the sum of the second outputs of all layers to their loss.",
    ),
    example={"kernel_size": 3, "padding": 1, "return_loss": False},
    not_applicable=SQUARES,
)
class DGC(ComputedKernel):
    """conv of relu(norm(x)) with gated channels, the gates relu(fc2(relu(fc1(mean)))) of each head, the least at 0.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation: as in nn.Conv2d.
        num_heads: heads, each with out_channels / num_heads outputs and gates of its own.
        reduction: the gates' bottleneck has in_channels // reduction channels, twice as many below 80 input channels.
        gate_factor: the share of channels that a head keeps in the end.
        progress: of training, from 0 to 1: nothing is left out to 1/12, from 3/4 all that gate_factor says. An
            attribute, to be set in training; the number of channels left out is kept in the state.
        return_loss: also return the mean gate, summed over the heads, to be kept small by the loss.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution; and a scalar.
    Cost: out_channels in_channels k^2 weights and (2 in_channels / reduction + 1) in_channels of each head.
    Raises: AttnzooError for numbers below 1, heads that do not divide the channels, a reduction that leaves none, a
        gate_factor or progress that is no share, an input that is not (B, in_channels, H, W) or smaller than the
        kernel, or a single value per channel in training mode.
    """

    reference_keys = {"_inactive_channels": "inactive"}
    inactive: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        num_heads: int = 4,
        reduction: int = 16,
        gate_factor: float = 0.25,
        progress: float = 0.0,
        return_loss: bool = True,
    ) -> None:
        super().__init__("dgc", in_channels, out_channels, kernel_size, stride, padding, dilation, groups=1)
        checks.positive("dgc", num_heads=num_heads, reduction=reduction)
        checks.divisible("dgc", "in_channels", in_channels, num_heads=num_heads)
        checks.divisible("dgc", "out_channels", out_channels, num_heads=num_heads)
        checks.above_zero("dgc", gate_factor=gate_factor)
        checks.share("dgc", gate_factor=gate_factor, progress=progress)
        divisor = max(reduction // 2, 1) if in_channels < 80 else reduction
        hidden = checks.reduced("dgc", in_channels, divisor)
        self.num_heads = num_heads
        self.gate_factor = gate_factor
        self.return_loss = return_loss
        self.norm = nn.BatchNorm2d(in_channels)
        self.fc1 = nn.Linear(in_channels, num_heads * hidden, bias=False)
        self.fc2 = nn.Conv1d(num_heads * hidden, num_heads * in_channels, 1, groups=num_heads)
        self.weight = nn.Parameter(torch.empty(self.kernel_shape))
        self.bias = None
        self.register_buffer("inactive", torch.zeros(1, dtype=torch.int64))
        nn.init.ones_(self.fc2.bias)  # type: ignore[arg-type]
        self.fill()
        self.progress = progress

    @property
    def progress(self) -> float:
        """How far training has come, from 0 to 1."""
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        checks.share("dgc", progress=value)
        self._progress = value
        self._leave_out()

    def train(self, mode: bool = True) -> "DGC":
        """As of any module; in training mode the progress decides how many channels are left out."""
        super().train(mode)
        if mode:
            self._leave_out()
        return self

    def _leave_out(self) -> None:
        if self._progress > 1 / 12:
            whole = self.in_channels * (1 - self.gate_factor)
            part = 1.0 if self._progress >= 3 / 4 else 3 / 2 * (self._progress - 1 / 12)
            self.inactive.fill_(round(whole * part))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        self.check(x)
        if self.training:
            checks.several_values("dgc", x)
        u = precisely(self.norm, x).relu()
        z = precisely(self.fc1, spatial_mean(u)).relu()
        scores = precisely(self.fc2, z[..., None]).relu().unflatten(1, (self.num_heads, -1))[..., 0]
        kernels = self.weight.unflatten(0, (self.num_heads, -1)).transpose(0, 1)  # (out / heads, heads, in, h, w)
        gated = kernels * self.gate(scores)[:, None, :, :, None, None]
        y = self.convolve(u.to(x.dtype), gated.flatten(1, 2))  # the outputs of the heads in turn
        return (y, scores.mean(dim=(0, 2)).sum()) if self.return_loss else y

    def gate(self, scores: Tensor) -> Tensor:
        """(B, num_heads, in_channels) -> the same, where the least are zero."""
        last = scores.detach().sort(dim=2).values.index_select(2, (self.inactive - 1).clamp_min(0))
        return scores.masked_fill((scores <= last) & (self.inactive > 0), 0)

    def from_reference(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' heads, one after the other."""
        ours = {key: value for key, value in state.items() if not key.startswith("headconv_")}
        if len(ours) < len(state):
            for key, own in (("conv.weight", "weight"), *((k, k) for k in ("fc1.weight", "fc2.weight", "fc2.bias"))):
                heads = [f"headconv_{i}.{key}" for i in range(self.num_heads)]
                if all(head in state for head in heads):
                    ours[own] = torch.cat([state[head] for head in heads])
        return ours


def set_progress(model: nn.Module, progress: float) -> None:
    """Tell every DGC of a model how far training has come, from 0 to 1."""
    for module in model.modules():
        if isinstance(module, DGC):
            module.progress = progress
