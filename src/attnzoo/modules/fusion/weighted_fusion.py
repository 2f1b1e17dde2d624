"""Weighted fusion (BiFPN): a learnt weighted mean of several maps."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register


@register(
    "weighted_fusion",
    title="Fast normalized fusion (BiFPN)",
    contract="fusion",
    paper=Paper(
        title="EfficientDet: Scalable and Efficient Object Detection",
        authors="Tan, Pang, Le",
        venue="CVPR",
        year=2020,
        url="https://arxiv.org/abs/1911.09070",
    ),
    source="google/automl@6a54c87",
    source_license="Apache-2.0",
    summary="Takes the mean of several maps with learnt weights, which a ReLU keeps from being negative and their "
    "own sum normalises. It is nearly as good as a softmax of the weights, and faster.",
    summary_zh="对多张特征图做可学习的加权平均，权重经 ReLU 保证非负，再除以其总和。效果接近对权重做 softmax，但更快。",
    placement="Every node of a BiFPN, before its separable convolution; resizing and matching channels is the "
    "caller's.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' TensorFlow code has a variable per map; here, as in a PyTorch port, all weights are one "
        "parameter.",
        "If no weight is above 0, the output is 0 and no gradient revives them, as in the authors' code.",
        "A popular collection follows YOLO: sigmoid(w) 2/n with w from 0, and channels cut off where they differ.",
    ),
    example={"num_inputs": 3},
    inputs=("B C H W", "B C H W", "B C H W"),
)
class WeightedFusion(nn.Module):
    """sum_i a_i x_i, a = relu(w) / (sum relu(w) + eps), or softmax(w), or all 1.

    Args:
        num_inputs: n, the number of maps.
        method: 'fastattn', 'attn' for the softmax, 'channel_fastattn' and 'channel_attn' with weights per
            channel, or 'sum' without weights.
        channels: C, the channels of the maps, which weights per channel need; otherwise None takes any.
        eps: added to the sum of the weights.

    Shape: n maps (B, C, H, W), one by one -> (B, C, H, W), for any H and W from 1 up.
    Cost: n parameters (n C per channel), n C H W multiply-adds.
    Raises: AttnzooError for fewer than 2 inputs, an unknown method, missing channels, eps not above 0, another
        number of maps, or maps of different shapes.
    """

    reference_keys = {"edge_weights": "weights"}

    def __init__(
        self, num_inputs: int, method: str = "fastattn", channels: int | None = None, eps: float = 0.0001
    ) -> None:
        super().__init__()
        checks.at_least("weighted_fusion", 2, num_inputs=num_inputs)
        methods = ("fastattn", "attn", "channel_fastattn", "channel_attn", "sum")
        checks.choice("weighted_fusion", methods, method=method)
        checks.above_zero("weighted_fusion", eps=eps)
        if channels is not None:
            checks.positive("weighted_fusion", channels=channels)
        sizes: tuple[int, ...] = (num_inputs,)
        if method.startswith("channel_"):
            sizes += (checks.needed("weighted_fusion", "channels", channels, f"method={method!r} weighs them"),)
        self.num_inputs = num_inputs
        self.method = method
        self.channels = channels
        self.eps = eps
        self.weights = None if method == "sum" else nn.Parameter(torch.ones(sizes))

    def forward(self, *maps: Tensor) -> Tensor:
        checks.several_maps("weighted_fusion", maps, self.num_inputs)
        checks.nchw("weighted_fusion", maps[0], self.channels, name="maps[0]")
        for i, x in enumerate(maps):
            checks.shaped("weighted_fusion", f"maps[{i}]", x, maps[0].shape)
        if self.weights is None:
            return sum(maps[1:], start=maps[0])
        shares = self._normalised(self.weights).to(maps[0].dtype)[..., None, None]  # (n, 1, 1) or (n, C, 1, 1)
        y = maps[0] * shares[0]
        for x, share in zip(maps[1:], shares[1:], strict=True):
            y = torch.addcmul(y, x, share)
        return y

    def _normalised(self, weights: Tensor) -> Tensor:
        if self.method.endswith("fastattn"):
            weights = weights.relu()
            return weights / (weights.sum(dim=0) + self.eps)
        return weights.softmax(dim=0)
