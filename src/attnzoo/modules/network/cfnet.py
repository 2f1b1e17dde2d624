"""CFNet, the backbone: a short stem, then stages that each build and fuse a pyramid from the one before."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.network.cfnet_focal_next import CFNET
from attnzoo.modules.network.cfnet_stage import STYLES, CFNetStage, base_blocks, check_levels, check_map, halving
from attnzoo.registry import register


@register(
    "cfnet",
    title="CFNet backbone",
    contract="fusion",
    paper=CFNET,
    source="zhanggang001/CEDNet@305d637",
    source_license="MIT",
    summary="A short stem with a few blocks at stride 4, then a cascade of stages that each build and fuse a pyramid "
    "at strides 8, 16 and 32. It puts its parameters into fusion, where other detectors have a light neck.",
    summary_zh="短的茎部与少量步幅 4 的块之后，级联多个阶段，每个阶段都构建并融合步幅 8、16、32 的金字塔。"
    "它把大部分参数用于特征融合，而常见检测器的颈部很轻。",
    placement="In place of a backbone and its FPN, for detection and segmentation; cfnet_tiny and its kin classify.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' code bears the name CEDNet, of the paper's later version; its last stage has no transition, "
        "which last_transition=True adds.",
        "The first version's table of sizes could not be consulted.",
        "For detection the authors add a 1x1 convolution to 256 channels at each level, and two 3x3 convolutions of "
        "stride 2 for P6 and P7.",
    ),
    example={
        "in_channels": 3,
        "stem_channels": 16,
        "stem_depth": 1,
        "channels": (16, 24, 32),
        "depths": (1, 1, 1),
        "num_stages": 2,
    },
    inputs=("B 3 32*H 32*W",),
)
class CFNet(nn.Module):
    """stage(...stage(halve(blocks(stem(x))))...): every stage goes on from p3 of the one before.

    Args:
        in_channels: channels of the image.
        stem_channels: channels at stride 4; a multiple of 32 for the blocks of Swin.
        stem_depth: how many blocks there are at stride 4.
        channels, depths, block, dilation: of every stage, see `cfnet_stage`.
        num_stages: how many stages there are.
        last_transition: whether the last stage fuses its levels, as all others do.
        drop_path_rate: the drop_path of the last block; it grows linearly from 0 at the first.

    Shape: (B, in_channels, H, W) -> p3 (B, d3, H / 8, W / 8), p4 (B, d4, H / 16, W / 16), p5 (B, d5, H / 32, W / 32),
        for H and W that are multiples of 32.
    Cost: 30.7M parameters at the default widths.
    Raises: AttnzooError for arguments that no stage can be built of, numbers below 1, a drop_path_rate that is no
        probability, or an input that is not such an image.
    """

    def __init__(
        self,
        in_channels: int = 3,
        stem_channels: int = 96,
        stem_depth: int = 3,
        channels: Sequence[int] = (192, 352, 512),
        depths: Sequence[int] = (2, 4, 2),
        num_stages: int = 3,
        block: str = "next",
        dilation: int = 3,
        last_transition: bool = False,
        drop_path_rate: float = 0.1,
    ) -> None:
        super().__init__()
        checks.positive("cfnet", in_channels=in_channels, stem_depth=stem_depth, num_stages=num_stages)
        check_levels("cfnet", channels, depths, block, dilation)
        checks.multiple("cfnet", 32 if block == "swin" else 1, stem_channels=stem_channels)
        checks.probability("cfnet", drop_path_rate=drop_path_rate)
        self.in_channels = in_channels
        self.block = block
        blocks = stem_depth + num_stages * sum(depths)
        rates = [drop_path_rate * i / (blocks - 1) for i in range(blocks)]
        _, _, norm, act = STYLES[block]
        self.stem = nn.Sequential(
            ConvNormAct(in_channels, 32, 3, 2, bias=True, norm_layer=norm, act_layer=act),
            ConvNormAct(32, stem_channels, 3, 2, bias=True, norm_layer=norm, act_layer=act),
        )
        self.blocks = base_blocks(block, stem_channels, rates[:stem_depth])
        self.down3 = halving(block, stem_channels, channels[0])
        self.stages = nn.ModuleList()
        for i in range(num_stages):
            start = stem_depth + i * sum(depths)
            fuses = i < num_stages - 1 or last_transition
            drop_path = rates[start : start + sum(depths)]
            self.stages.append(CFNetStage(channels, depths, block, dilation, fuses, drop_path))
        draw_weights(self)

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors' first stage is what comes before ours."""
        keys = {rf"stem\.{3 * i + j}": f"stem.{i}.{part}" for i in range(2) for j, part in enumerate(("conv", "norm"))}
        keys |= {rf"stages\.0\.{len(self.blocks)}": "down3", r"stages\.0": "blocks"}
        return keys | {rf"stages\.{i + 1}": f"stages.{i}" for i in range(len(self.stages))}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.pyramids(x)[-1]

    def pyramids(self, x: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What forward gives, of every stage."""
        check_map("cfnet", x, self.in_channels, self.block, 32, self.training)
        p3 = self.down3(self.blocks(self.stem(x)))
        made = []
        for stage in self.stages:
            made.append(stage(p3))
            p3 = made[-1][0]
        return made


def draw_weights(module: nn.Module) -> None:
    """He's normal draw, for the fan out of a linear unit, of all convolutions and linear layers; biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="linear")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
