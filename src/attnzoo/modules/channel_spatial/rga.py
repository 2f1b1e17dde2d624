"""RGA, Relation-Aware Global attention: a gate for each place, then each channel, from its relations to all others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, without_autocast
from attnzoo.registry import Paper, register


@register(
    "rga",
    title="Relation-Aware Global Attention",
    contract="feature",
    paper=Paper(
        title="Relation-Aware Global Attention for Person Re-identification",
        authors="Zhang, Lan, Zeng, Jin, Chen",
        venue="CVPR",
        year=2020,
        url="https://arxiv.org/abs/1904.02998",
    ),
    source="microsoft/Relation-Aware-Global-Attention-Networks@cdc9965",
    source_license="MIT",
    summary="Stacks for every place its affinities to and from all others, and learns the place's gate from this "
    "vector together with its own features. The channels are then gated in the same way, with the places as features.",
    summary_zh="对每个位置，把它与所有位置之间双向的亲和度堆成关系向量，连同自身特征学出该位置的门。"
    "随后以同样方式为通道加门，此时位置充当特征。",
    placement="After each of the four stages of ResNet-50 (last stride 1), on person images of 256 x 128.",
    reported="Market-1501: rank-1 96.1, mAP 88.4; CUHK03 labelled: 81.1, 77.4; MSMT17: 80.3, 57.5.",
    differences=(
        "The authors form the affinity map and convolve it; here the convolution runs through its two factors, which "
        "gives the same numbers without a map of all pairs.",
        "With the authors' ratios fewer than 56 channels or places leave a layer empty; here that is an error.",
        "Only the number of places is fixed: other heights and widths with the same product run.",
    ),
    example={"spatial_size": 56},
    inputs=("B C 7 8",),
    not_applicable={"two-sizes": "the relation vector has one entry for every place"},
)
class RGA(nn.Module):
    """channel_gate after spatial_gate, each a `RelationGate`.

    Args:
        channels: C, the channels of the input.
        spatial_size: N = H W, or (H, W) to fix both; at least 56 with the default ratios.
        use_spatial, use_channel: whether to gate the places, the channels; at least one.
        channel_reduction, spatial_reduction: vectors over channels are reduced to C // channel_reduction, those over
            places to N // spatial_reduction.
        down_reduction: by which the last hidden layer of either gate is narrower than its input.

    Shape: (B, C, H, W) -> (B, C, H, W), for H W = N.
    Cost: about 3 C^2 / 8 + 2 N^2 / 8 weights a gate at the default ratios, and N or C times as many multiply-adds.
    Raises: AttnzooError for a layer without channels, neither gate, maps of another size, a training batch of a
        single pixel, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        rf"{theirs}_{part}\.{i}": f"{part}_gate.{ours}.{layer}"
        for part in ("spatial", "channel")
        for theirs, ours, first in (
            ("gx", "own", 0),
            ("gg", "relation", 0),
            ("theta", "theta", 0),
            ("phi", "phi", 0),
            ("W", "hidden", 0),
            ("W", "score", 3),
        )
        for i, layer in ((first, "conv"), (first + 1, "norm"))
    }

    def __init__(
        self,
        channels: int,
        spatial_size: int | Sequence[int],
        use_spatial: bool = True,
        use_channel: bool = True,
        channel_reduction: int = 8,
        spatial_reduction: int = 8,
        down_reduction: int = 8,
    ) -> None:
        super().__init__()
        places, self.sides = _places(spatial_size)
        checks.positive("rga", channels=channels, spatial_size=places, down_reduction=down_reduction)
        checks.positive("rga", channel_reduction=channel_reduction, spatial_reduction=spatial_reduction)
        checks.some("rga", use_spatial=use_spatial, use_channel=use_channel)
        over_channels, over_places = channels // channel_reduction, places // spatial_reduction
        derived = {"channels // channel_reduction": over_channels, "spatial_size // spatial_reduction": over_places}
        if use_spatial:
            derived["(1 + spatial_size // spatial_reduction) // down_reduction"] = (1 + over_places) // down_reduction
        if use_channel:
            derived["(1 + channels // channel_reduction) // down_reduction"] = (1 + over_channels) // down_reduction
        checks.positive("rga", **derived)

        self.channels, self.places = channels, places
        self.spatial_gate: nn.Module = nn.Identity()
        self.channel_gate: nn.Module = nn.Identity()
        if use_spatial:
            self.spatial_gate = RelationGate(channels, places, over_channels, over_places, down_reduction, False)
        if use_channel:
            self.channel_gate = RelationGate(places, channels, over_places, over_channels, down_reduction, True)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("rga", x, self.channels)
        if self.sides is None:
            checks.pixels("rga", x, spatial_size=self.places)
        else:
            checks.fixed_size("rga", x, spatial_size=self.sides)
        if self.training:
            checks.several_values("rga", x)
        return self.channel_gate(self.spatial_gate(x))


class RelationGate(nn.Module):
    """Gate P items, each with F features, by their affinities theta^T phi in both directions: (B, C, H, W) -> same.

    The items are the places, or, `over_channels`, the channels with the places as features.
    """

    def __init__(
        self, features: int, items: int, own_width: int, relation_width: int, down_reduction: int, over_channels: bool
    ) -> None:
        super().__init__()
        self.over_channels = over_channels
        self.own = ConvNormAct(features, own_width)
        self.theta = ConvNormAct(features, own_width)
        self.phi = ConvNormAct(features, own_width)
        self.relation = ConvNormAct(2 * items, relation_width)
        self.hidden = ConvNormAct(1 + relation_width, (1 + relation_width) // down_reduction)
        self.score = ConvNormAct((1 + relation_width) // down_reduction, 1, act_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W), or (B, C, 1, 1) over the channels."""
        with without_autocast(x):
            items = self._items(x)
            theta, phi = self.theta(items)[..., 0], self.phi(items)[..., 0]  # (B, w, P)
            # The relation's convolution of [G^T, G], G = theta^T phi, without forming G: (r, P) weights for each half.
            to, by = self.relation.conv.weight.flatten(1).chunk(2, dim=1)
            relation = (to @ phi.transpose(1, 2)) @ theta + (by @ theta.transpose(1, 2)) @ phi  # (B, r, P)
            relation = self.relation.act(self.relation.norm(relation[..., None]))
            own = self.own(items).mean(dim=1, keepdim=True)  # (B, 1, P, 1)
            gate = self.score(self.hidden(torch.cat([own, relation], dim=1))).sigmoid().to(x.dtype)
        return gate.transpose(1, 2) if self.over_channels else gate[..., 0].unflatten(2, x.shape[2:])

    def _items(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F, P, 1)."""
        items = x.to(self.own.conv.weight.dtype).flatten(2)[..., None]
        return items.transpose(1, 2) if self.over_channels else items


def _places(spatial_size: int | Sequence[int]) -> tuple[int, tuple[int, int] | None]:
    """The number of places, and height and width where they are fixed."""
    if isinstance(spatial_size, int):
        return spatial_size, None
    checks.sequence("rga", length=2, spatial_size=spatial_size)
    checks.positive("rga", **checks.items(spatial_size=spatial_size))
    return spatial_size[0] * spatial_size[1], (spatial_size[0], spatial_size[1])
