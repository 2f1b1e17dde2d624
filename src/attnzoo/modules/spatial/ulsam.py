"""ULSAM: the channels cut into subspaces, each with one map of attention over its places."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register

_COUNTER = "num_batches_tracked"


@register(
    "ulsam",
    title="Ultra-Lightweight Subspace Attention Module",
    contract="feature",
    paper=Paper(
        title="ULSAM: Ultra-Lightweight Subspace Attention Module for Compact Convolutional Neural Networks",
        authors="Saini, Jha, Das, Mittal, Mohan",
        venue="WACV",
        year=2020,
        url="https://arxiv.org/abs/2006.15102",
    ),
    source="Nandan91/ULSAM@9a07d68",
    source_license="none found",
    summary="Cuts the channels into subspaces and gives each one softmax map over all places, from a scale per "
    "channel, a max pooling and a projection to one channel. Every subspace is multiplied by its map and added back.",
    summary_zh="把通道切成若干子空间，每个子空间经逐通道缩放、最大池化和单通道投影，"
    "得到一张对全部位置做 softmax 的注意力图。各子空间乘以自己的图后再加回自身。",
    placement="MobileNet-V1 and V2: after, or in place of, chosen late layers.",
    reported="MobileNet-V2 on ImageNet: about 13% fewer FLOPs and 25% fewer parameters, top-1 up by 0.27.",
    differences=(
        "The authors' subspaces are modules of their own, run in a loop; here their weights are stacked and run as "
        "one, and load_reference joins them.",
        "The authors' constructor takes an output width and a map size that it ignores, and its file sets the "
        "default tensor type to CUDA when imported.",
        "A map sums to 1 over all places, so that on large maps the module is close to the identity.",
    ),
)
class ULSAM(nn.Module):
    """(1 + a) x per subspace: a = softmax over the places of act(norm(point(pool(act(norm(scale(x))))))).

    Args:
        channels: C, the channels of the input.
        num_splits: g, the number of subspaces; it divides C.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 5 C + 3 g parameters; 2 C H W multiply-adds and a 3x3 pooling of the whole map.
    Raises: AttnzooError for num_splits that does not divide the channels, a training batch of a single pixel,
        or an input that is not (B, C, H, W).
    """

    reference_keys = {"conv_dws": "scale", "bn_dws": "scale_norm", "conv_point": "point", "bn_point": "point_norm"}

    def __init__(self, channels: int, num_splits: int = 4) -> None:
        super().__init__()
        checks.positive("ulsam", channels=channels, num_splits=num_splits)
        checks.divisible("ulsam", "channels", channels, num_splits=num_splits)
        self.channels, self.num_splits = channels, num_splits
        self.scale = nn.Conv2d(channels, channels, 1, groups=channels)
        self.scale_norm = nn.BatchNorm2d(channels, momentum=0.9)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.point = nn.Conv2d(channels, num_splits, 1, groups=num_splits)
        self.point_norm = nn.BatchNorm2d(num_splits, momentum=0.9)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Stack the weights of the authors' subspaces."""
        first = "subspaces.0."
        stacked = {}
        for key in [key.removeprefix(first) for key in state if key.startswith(first)]:
            parts = [state[name] for i in range(self.num_splits) if (name := f"subspaces.{i}.{key}") in state]
            stacked[key] = parts[0] if key.endswith(_COUNTER) else torch.cat(parts)
        return stacked or state

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ulsam", x, self.channels)
        if self.training:
            checks.several_values("ulsam", x)
        parts = x.unflatten(1, (self.num_splits, -1))  # (B, g, C / g, H, W)
        return torch.addcmul(parts, parts, self.gate(x)[:, :, None]).flatten(1, 2)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_splits, H, W), each map of sum 1."""
        scaled = self.pool(F.relu(self.scale_norm(self.scale(x))))
        scores = F.relu(self.point_norm(self.point(scaled)))
        return scores.flatten(2).softmax(dim=2).view_as(scores).to(x.dtype)
