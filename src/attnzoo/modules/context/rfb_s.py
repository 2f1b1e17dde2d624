"""RFB-s, the small Receptive Field Block: strips for kernels, for shallow and large maps."""

from functools import partial

from attnzoo import checks
from attnzoo.blocks import strip_norm_act
from attnzoo.modules.context.rfb import RFBNET, ReceptiveFields, linear_unit, slow_norm, unit
from attnzoo.registry import register

_strip = partial(strip_norm_act, norm_layer=slow_norm)


@register(
    "rfb_s",
    title="Receptive Field Block, small",
    contract="context",
    plug_in=True,
    paper=RFBNET,
    source="ruinmessi/RFBNet@0f1d836",
    source_license="MIT",
    summary="The lighter Receptive Field Block, whose four branches have strips of 3x1 and 1x3 for kernels and end in "
    "dilations 1, 3, 3 and 5. It is made for shallow layers with large maps.",
    summary_zh="更轻的感受野模块，四个分支以 3x1 与 1x3 的条形卷积为核，末端空洞率为 1、3、3、5。"
    "它为分辨率较大的浅层而设计。",
    placement="On conv4_3 of SSD with VGG-16, 512 to 512 channels, with scale 1.",
    reported="Part of RFBNet300 (VGG-16): VOC2007 80.7 mAP, COCO test-dev 30.3 AP.",
    differences=(
        "The original takes a stride, but two of its branches ignore it, so that only 1 works: there is none here.",
        "The repository calls it BasicRFB_a, a popular collection BasicRFB_small.",
    ),
)
class RFBSmall(ReceptiveFields):
    """relu(scale * fuse(concat(b_0, ..., b_3)) + shortcut(x)).

    Args:
        in_channels: channels of the input, at least 16; its quarter is the unit of width.
        out_channels: channels of the output.
        scale: how much of the branches is added.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: with i = in_channels // 4, about 3.5 i in_channels + 45.4 i^2 + 4 i out_channels + in_channels out_channels
        weights.
    Raises: AttnzooError for in_channels below 16, a single value per channel in training, or an input that is not
        (B, in_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, scale: float = 0.1) -> None:
        checks.at_least("rfb_s", 16, in_channels=in_channels)
        checks.positive("rfb_s", out_channels=out_channels)
        i = in_channels // 4
        branches = (
            (unit(in_channels, i), linear_unit(i, i, 3)),
            (unit(in_channels, i), _strip(i, i, (3, 1)), linear_unit(i, i, 3, dilation=3)),
            (unit(in_channels, i), _strip(i, i, (1, 3)), linear_unit(i, i, 3, dilation=3)),
            (
                unit(in_channels, i // 2),
                _strip(i // 2, i // 4 * 3, (1, 3)),
                _strip(i // 4 * 3, i, (3, 1)),
                linear_unit(i, i, 3, dilation=5),
            ),
        )
        super().__init__("rfb_s", in_channels, out_channels, branches, 4 * i, 1, scale)
