"""C3, Cross-channel Communication: every channel's map is a node, and nodes of like mean exchange messages."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, wide, without_autocast
from attnzoo.registry import Paper, register

_GROUP = 512  # more channels than this talk in groups of it


@register(
    "c3",
    title="Cross-channel Communication block",
    contract="feature",
    paper=Paper(
        title="Cross-channel Communication Networks",
        authors="Yang, Ren, Gan, Zhu, Parikh",
        venue="NeurIPS",
        year=2019,
        url="https://papers.nips.cc/paper/8411-cross-channel-communication-networks",
    ),
    source="jwyang/C3Net.pytorch@70026fc",
    source_license="none found",
    summary="Encodes the whole map of every channel by a small network over the places, lets channels of similar mean "
    "exchange what they hold, decodes the result and adds it to the input. A ReLU ends the block.",
    summary_zh="用一个作用于位置维的小网络编码每个通道的整张图，让均值相近的通道互相交换信息，解码后加回输入。"
    "最后经过 ReLU。",
    placement="ImageNet ResNet: in front of the first block of every stage and of every fourth one after it, of the "
    "last stage only the first; CIFAR: in front of the stages, block sizes 32 or 16, reduction 8 or 16.",
    reported="No headline figures recorded.",
    differences=(
        "A second version in the repository, not the one its package imports, detaches the means, adds a BatchNorm "
        "after the decoder and tiles the map.",
        "The original holds a LayerNorm and strided layers that it never uses, and computes correlations for its "
        "log; a mask for channel groups is built and never applied.",
        "The factor of the working map follows from the height alone, and the width is divided by the same.",
    ),
    not_applicable={"two-sizes": "encoder and decoder have one input for every place"},
    example={"spatial_size": (7, 7)},
    inputs=("B C 7 7",),
)
class C3(nn.Module):
    """relu(x + decode(A encode(x))): A[i, j] the softmax over j of -(m[i] - m[j])^2, m the encoded means.

    Args:
        channels: C, the channels of the input; above 512, a multiple of C // 512, the number of groups that
            do not talk to each other.
        spatial_size: the map's height H and width W, which the encoder and decoder are made for.
        block_size: the most that the working map should measure; it has P = (H // f) (W // f) places,
            f = H // block_size[0] or 1.
        reduction: r; encoder and decoder have a bottleneck of P // r.

    Shape: (B, C, H, W) -> (B, C, H, W), H and W as in spatial_size.
    Cost: 4 P^2/r + 2 P/r + 2 P parameters; C times as many multiply-adds, and P C^2 for the messages.
    Raises: AttnzooError for sizes below 1, a bottleneck or working map without places, groups that do not
        divide the channels, another map size, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"fc_in\.0": "encode.fc1",
        r"fc_in\.2": "encode.fc2",
        r"fc_out\.0": "decode.fc1",
        r"fc_out\.2": "decode.fc2",
    }

    def __init__(
        self,
        channels: int,
        spatial_size: Sequence[int],
        block_size: Sequence[int] = (32, 32),
        reduction: int = 4,
    ) -> None:
        super().__init__()
        checks.positive("c3", channels=channels)
        height, width = checks.pair("c3", "spatial_size", spatial_size)
        factor = max(1, height // checks.pair("c3", "block_size", block_size)[0])
        checks.at_least("c3", factor, **{"spatial_size[1]": width})
        self.groups = max(1, channels // _GROUP)
        checks.divisible("c3", "channels", channels, **{"channels // 512": self.groups})
        self.channels = channels
        self.spatial_size = (height, width)
        self.working_size = (height // factor, width // factor)
        places = self.working_size[0] * self.working_size[1]
        hidden = checks.reduced("c3", places, reduction, of="places")
        self.encode = BottleneckMLP(places, hidden, bias=True)
        self.decode = BottleneckMLP(places, hidden, bias=True)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the layers that the original never uses."""
        return {key: x for key, x in state.items() if key.split(".")[0] not in ("ln", "downsample", "upsample")}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("c3", x, self.channels)
        checks.fixed_size("c3", x, spatial_size=self.spatial_size)
        nodes = self._nodes(x)
        messages = self._affinity(nodes).to(nodes.dtype) @ nodes  # (B, groups, n, P)
        y = self.decode(messages).flatten(1, 2).unflatten(2, self.working_size)
        return F.relu(x + _resize(y, self.spatial_size).to(x.dtype))

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> which channels each hears, (B, groups, n, n), n the channels of a group."""
        return self._affinity(self._nodes(x))

    def _affinity(self, nodes: Tensor) -> Tensor:
        means = wide(nodes).mean(dim=3)  # (B, groups, n)
        return (-(means[..., :, None] - means[..., None, :]).square()).softmax(dim=3)

    def _nodes(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the encoded maps (B, groups, n, P)."""
        with without_autocast(x):  # their means are compared in a softmax
            maps = _resize(x, self.working_size).flatten(2).to(self.encode.fc1.weight.dtype)
            return self.encode(maps).unflatten(1, (self.groups, -1))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[2:]) == size else F.interpolate(x, size=size)
