"""GloRe, the Global Reasoning unit: project the map onto a few nodes, let them exchange, project back."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "glore",
    title="Global Reasoning unit (GloRe)",
    contract="feature",
    paper=Paper(
        title="Graph-Based Global Reasoning Networks",
        authors="Chen, Rohrbach, Yan, Yan, Feng, Kalantidis",
        venue="CVPR",
        year=2019,
        url="https://arxiv.org/abs/1811.12814",
    ),
    source="facebookresearch/GloRe@9c6a734",
    source_license="MIT",
    summary="Gathers the map into a few latent nodes, lets these exchange information by one layer of graph "
    "convolution, and hands the result back by the same assignment. No pair of places is ever compared.",
    summary_zh="把特征图汇聚成少数几个隐节点，节点之间用一层图卷积交换信息，再按同一分配投影回去。"
    "全程不比较任何一对位置。",
    placement="After residual units of res3 and res4.",
    reported="No headline figure recorded here.",
    differences=(
        "The paper multiplies by I - A; as in the reference, the convolution over the nodes learns -A.",
        "The reference convolves the map to states before it gathers them, and back after it hands them out; ours "
        "convolves the few nodes, which gives the same for less.",
        "The reference's base class takes videos by default; ours takes maps.",
    ),
    not_applicable=dict.fromkeys(
        ("large-finite-float16", "large-close-float16"),
        "the output grows with the cube of the input, past float16's range",
    ),
    settled=("dimension",),
)
class GloRe(nn.Module):
    """x + norm(extend(update(relu(X + mix(X)))) P), P = assign(x), X = state(x) P^T: S states of M nodes.

    Args:
        channels: C, the channels of the input.
        mid_channels: M; a quarter of the channels by default, and S = 2 M.
        dimension: 1, 2 or 3: sequences (B, C, L), maps (B, C, H, W) or videos (B, C, T, H, W).
        normalize: divide X by the number of places, as is needed where their number varies.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up; or as dimension says.
    Cost: 5 C M + 5 M^2 weights; 3 N C M + 4 C M^2 + 10 M^3 multiply-adds for N places. The BatchNorm starts at zero:
        the fresh unit returns its input.
    Raises: AttnzooError for mid_channels below 1, an unknown dimension, a single value per channel in training mode,
        or an input of other channels or rank.
    """

    reference_keys = {
        "conv_state": "state",
        "conv_proj": "assign",
        r"gcn\.conv1": "mix",
        r"gcn\.conv2": "update",
        "conv_extend": "extend",
        "blocker": "norm",
    }

    def __init__(
        self, channels: int, mid_channels: int | None = None, dimension: int = 2, normalize: bool = False
    ) -> None:
        super().__init__()
        checks.positive("glore", channels=channels)
        nodes = max(channels // 4, 1) if mid_channels is None else mid_channels
        checks.positive("glore", mid_channels=nodes)
        checks.between("glore", 1, 3, dimension=dimension)
        self.channels = channels
        self.dimension = dimension
        self.normalize = normalize
        self.state = nn.Linear(channels, 2 * nodes)
        self.assign = nn.Conv1d(channels, nodes, 1)
        self.mix = nn.Linear(nodes, nodes)
        self.update = nn.Linear(2 * nodes, 2 * nodes, bias=False)
        self.extend = nn.Linear(2 * nodes, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels, eps=1e-4)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        checks.features("glore", x, self.channels, self.dimension)
        places = wide(x).flatten(2)
        if self.training:
            checks.several_values("glore", places[..., None])
        assignment = wide(self.assign(x.flatten(2)))  # (B, M, N)
        with without_autocast(x):
            handed_out = self._reason(places, assignment).mT @ assignment  # (B, C, N)
            return x + precisely(self.norm, handed_out).to(x.dtype).view(x.shape)

    def _reason(self, places: Tensor, assignment: Tensor) -> Tensor:
        """What every node hands out: (B, C, N), (B, M, N) -> (B, M, C)."""
        gathered = assignment @ places.mT  # (B, M, C)
        counts = assignment.sum(dim=2, keepdim=True)  # what the bias is gathered with
        weight, bias = self.state.weight.to(gathered.dtype), self.state.bias.to(gathered.dtype)
        nodes = torch.addcmul(gathered @ weight.mT, counts, bias)  # (B, M, S)
        if self.normalize:
            nodes = nodes / places.shape[2]
        mixed = nodes + wide(precisely(self.mix, nodes.mT)).mT
        return wide(precisely(self.extend, precisely(self.update, mixed.relu())))
