"""Border alignment (BorderDet): every place enriched by the borders of the box predicted there."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.fusion.border_align import BORDERDET, BorderAlign
from attnzoo.registry import register


@register(
    "border_alignment",
    title="Border Alignment Module",
    contract="fusion",
    paper=BORDERDET,
    source="Megvii-BaseDetection/BorderDet@bade7df",
    source_license="Apache-2.0",
    summary="Gives every place of a detection branch the features from the four borders of the box first predicted "
    "there, read by border_align. A 1x1 convolution fuses them with the place's own.",
    summary_zh="为检测分支的每个位置补上该处初始预测框四条边界的特征，由 border_align 读取。"
    "再以 1x1 卷积与该位置自身的特征融合。",
    placement="In the FCOS head, after the towers of each branch; a second classifier and regressor follow.",
    reported="COCO minival, ResNet-50 1x: FCOS 38.7 to 41.4 AP.",
    differences=(
        "The original takes a third argument, the sizes of the boxes, and ignores it.",
        "The paper draws five maps pooled together; the code, followed here, keeps the place apart from the borders.",
    ),
    inert=("point.conv.*", "border.conv.*"),  # of the weights, only their scale: an instance norm follows
    not_applicable={"gradcheck": "no gradient reaches the boxes, as in the authors' code"},
    inputs=("B C H W", "B H*W 4"),
    min_pixels=2,
)
class BorderAlignment(nn.Module):
    """relu(fuse(concat(border_align(border(x), boxes), point(x)))), both 1x1 convolutions, instance norm and ReLU.

    Args:
        channels: C, the channels of input and output.
        border_channels: the channels read at each side; 256 for classification, 128 for regression.
        pool_size: steps along a side, see `border_align`.

    Shape: x (B, C, H, W), boxes (B, H W, 4), one for each place, row by row -> (B, C, H, W), for maps of at least 2
        pixels. A box is (x1, y1, x2, y2) in cells of the map.
    Cost: 10 C border_channels weights and the biases; 4 border_channels H W (pool_size + 1) bilinear reads.
    Raises: AttnzooError for numbers below 1, boxes that are not (B, H W, 4), a map of one pixel, or an x that is not
        (B, C, H, W).
    """

    reference_keys = {
        r"cur_point_conv\.0": "point.conv",
        r"ltrb_conv\.0": "border.conv",
        r"border_conv\.0": "fuse.conv",
    }

    def __init__(self, channels: int = 256, border_channels: int = 256, pool_size: int = 10) -> None:
        super().__init__()
        checks.positive("border_alignment", channels=channels, border_channels=border_channels, pool_size=pool_size)
        self.channels = channels
        self.point = ConvNormAct(channels, border_channels, bias=True, norm_layer=nn.InstanceNorm2d)
        self.border = ConvNormAct(channels, 4 * border_channels, bias=True, norm_layer=nn.InstanceNorm2d)
        self.align = BorderAlign(pool_size=pool_size)
        self.fuse = ConvNormAct(5 * border_channels, channels, bias=True, norm_layer=None)
        for layer in (self.point, self.border, self.fuse):
            nn.init.normal_(layer.conv.weight, std=0.01)
            nn.init.zeros_(layer.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        checks.nchw("border_alignment", x, self.channels, name="x")
        checks.larger_than_one_pixel("border_alignment", x)
        checks.shaped("border_alignment", "boxes", boxes, (x.shape[0], x.shape[2] * x.shape[3], 4))
        sides = self.align(self.border(x), boxes)  # (B, Cb, H W, 4)
        borders = sides.permute(0, 3, 1, 2).flatten(1, 2).unflatten(2, x.shape[2:])  # side by side of channels
        return self.fuse(torch.cat([borders, self.point(x)], dim=1))
