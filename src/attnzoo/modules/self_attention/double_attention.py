"""Double attention: gather a few descriptors from the whole map, then hand them out to every place."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely
from attnzoo.registry import Paper, register


@register(
    "double_attention",
    title="Double Attention (A2) block",
    contract="feature",
    paper=Paper(
        title="A^2-Nets: Double Attention Networks",
        authors="Chen, Kalantidis, Li, Yan, Feng",
        venue="NeurIPS",
        year=2018,
        url="https://arxiv.org/abs/1810.11579",
    ),
    source="nguyenvo09/Double-Attention-Network@c378693",
    source_license="none found",
    summary="Pools the map into a few descriptors, each with a softmax over the places of its own, and gives every "
    "place a mixture of them by a second softmax. It costs no more than linear in the map.",
    summary_zh="每个描述子用各自的空间 softmax 汇聚全图特征，每个位置再以第二个 softmax 取用这些描述子的混合。"
    "代价仅随特征图线性增长。",
    placement="Between the residual blocks of res3 and res4 in ResNet-50, added to the trunk.",
    residual=True,
    reported="No headline figure recorded here.",
    differences=(
        "A popular port calls softmax without a dimension, for which torch takes the batch: its outputs depend on "
        "the other images. Ours are over the places and over the descriptors.",
        "The authors published no PyTorch code; the default widths are ours, and reconstruct is False in the source.",
        "A popular explanation averages once too often in gathering, hands out by a softmax over the places, and "
        "has no output convolution.",
        "The paper adds the result to the trunk; the module itself does not.",
    ),
    inert=("gather.bias",),
    not_applicable={"valid-arguments": "reconstruct=False returns mid_channels by its purpose, another shape"},
)
class DoubleAttention(nn.Module):
    """proj(G a), G = features(x) softmax_places(gather(x))^T, a = softmax_descriptors(distribute(x)).

    Args:
        channels: C, the channels of the input.
        mid_channels: m, of the descriptors; a quarter of the channels by default.
        num_descriptors: n; a quarter of the channels by default.
        reconstruct: project back to C channels; False returns the m channels of the descriptors.

    Shape: (B, C, H, W) -> (B, C, H, W), or (B, mid_channels, H, W); any H and W from 1 up.
    Cost: C (2 m + 2 n) + C + m + 2 n parameters; H W (2 C m + 2 C n + 2 m n) multiply-adds.
    Raises: AttnzooError for mid_channels or num_descriptors below 1, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "convA": "features",
        "convB": "gather",
        "convV": "distribute",
        "conv_reconstruct": "proj",
    }

    def __init__(
        self,
        channels: int,
        mid_channels: int | None = None,
        num_descriptors: int | None = None,
        reconstruct: bool = True,
    ) -> None:
        super().__init__()
        checks.positive("double_attention", channels=channels)
        mid_channels = max(channels // 4, 1) if mid_channels is None else mid_channels
        num_descriptors = max(channels // 4, 1) if num_descriptors is None else num_descriptors
        checks.positive("double_attention", mid_channels=mid_channels, num_descriptors=num_descriptors)
        self.channels = channels
        self.features = nn.Conv2d(channels, mid_channels, 1)
        self.gather = nn.Conv2d(channels, num_descriptors, 1)
        self.distribute = nn.Conv2d(channels, num_descriptors, 1)
        self.proj = nn.Conv2d(mid_channels, channels, 1) if reconstruct else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("double_attention", x, self.channels)
        gathering, distribution = self._weights(x)
        descriptors = self.features(x).flatten(2) @ gathering.mT  # (B, m, n)
        return self.proj((descriptors @ distribution).unflatten(2, x.shape[2:])).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map that both softmaxes together stand for (B, 1, H W, H W)."""
        gathering, distribution = self._weights(x)
        return (distribution.mT @ gathering)[:, None]

    def _weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> two times (B, n, H W), summing to 1 over the places, and over the descriptors."""
        gathering = precisely(self.gather, x).flatten(2).softmax(dim=2)
        return gathering.to(x.dtype), precisely(self.distribute, x).flatten(2).softmax(dim=1).to(x.dtype)
