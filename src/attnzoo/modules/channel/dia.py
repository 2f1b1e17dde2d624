"""DIA, Dense-and-Implicit Attention: one recurrent cell gates all blocks of a stage, and remembers."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, precisely, spatial_mean
from attnzoo.registry import Paper, register

State = tuple[Tensor, Tensor]


@register(
    "dia",
    title="Dense-and-Implicit Attention (DIA-LSTM)",
    contract="feature",
    plug_in=False,
    carries=True,
    paper=Paper(
        title="DIANet: Dense-and-Implicit Attention Network",
        authors="Huang, Liang, Liang, Yang",
        venue="AAAI",
        year=2020,
        url="https://arxiv.org/abs/1905.10671",
    ),
    source="gbup-group/DIANet@51685ca",
    source_license="MIT",
    summary="All blocks of a stage share one recurrent cell, which reads the channel means of each block in turn and "
    "whose hidden state is that block's channel gate. Deep blocks so know what shallow ones attended to.",
    summary_zh="同一阶段的所有残差块共用一个循环单元，依次读入各块的通道均值，其隐藏状态就是该块的通道门。"
    "深层的注意力因此记得浅层的注意力。",
    placement="After the last BatchNorm of every block, before the addition; one cell for each stage of ResNet-164, "
    "WRN-52-4 or ResNeXt-101 on CIFAR.",
    reported="CIFAR-100 accuracy: ResNet-164 73.43 to 76.67, PreResNet-164 76.53 to 78.20, WRN-52-4 79.75 to 80.99, "
    "ResNeXt-101 81.18 to 82.46.",
    differences=(
        "torch's LSTMCell has full matrices and a tanh on the cell; here both maps have a bottleneck, and a sigmoid "
        "keeps the gate between 0 and 1.",
        "Built once per block it loses its point: share one module in a stage, hand the state on, and begin every "
        "pass of the network without one.",
        "The authors' dropout acts between layers only, and so on nothing where there is one.",
    ),
    not_applicable={
        "batch-independent": "the state holds its layers before the batch",
        "ddp": "the state holds its layers before the batch",
        "parameters": "a first block starts from a state of zeros, which hides the weights that read it",
    },
)
class DIA(nn.Module):
    """x * h, state: h the last layer's new hidden state, from the spatial means and the state of the block before.

    Args:
        channels: C, the channels of the stage.
        reduction: r; the first layer's maps have a bottleneck of C // r.
        num_layers: L, the layers of the cell.
        dropout: between the layers.

    Shape: (B, C, H, W) and a state of two (L, B, C), hidden and cell, or None at the first block
        -> (B, C, H, W) and the new state.
    Cost: 10 C C/r + 2 C/r + 8 C parameters for the first layer and 8 C^2 + 8 C for each further one, whatever
        the number of blocks; as many multiply-adds per block.
    Raises: AttnzooError for a bottleneck without channels, num_layers below 1, dropout outside [0, 1), a state
        of another size, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        rf"lstm\.w_{theirs}\.0\.seq\.{i}": f"{ours}.0.fc{j}"
        for theirs, ours in (("ih", "from_input"), ("hh", "from_hidden"))
        for i, j in ((0, 1), (2, 2))
    } | {r"lstm\.w_ih": "from_input", r"lstm\.w_hh": "from_hidden"}

    def __init__(self, channels: int, reduction: int = 4, num_layers: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = checks.reduced("dia", channels, reduction)
        checks.positive("dia", num_layers=num_layers)
        checks.probability("dia", dropout=dropout)
        self.channels = channels
        self.from_input, self.from_hidden = (
            nn.ModuleList(
                BottleneckMLP(channels, hidden, bias=True, out_channels=4 * channels)
                if layer == 0
                else nn.Linear(channels, 4 * channels)
                for layer in range(num_layers)
            )
            for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        checks.nchw("dia", x, self.channels)
        shape = (len(self.from_input), x.shape[0], self.channels)
        if state is None:
            zeros = next(self.parameters()).new_zeros(shape)
            state = (zeros, zeros)
        checks.sequence("dia", length=2, state=state)
        for name, part in checks.items(state=state).items():
            checks.shaped("dia", name, part, shape)
        state = self.advance(x, state)
        return x * self.gate(state).to(x.dtype), state

    def gate(self, state: State) -> Tensor:
        """The new state -> the gate of this block (B, C, 1, 1)."""
        return state[0][-1][:, :, None, None]

    def advance(self, x: Tensor, state: State) -> State:
        """The state after this block."""
        seen = spatial_mean(x)  # (B, C)
        hidden, cell = [], []
        for from_input, from_hidden, h, c in zip(self.from_input, self.from_hidden, *state, strict=True):
            i, f, g, o = (precisely(from_input, seen) + precisely(from_hidden, h)).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.sigmoid()
            hidden.append(h)
            cell.append(c)
            seen = self.dropout(h)
        return torch.stack(hidden), torch.stack(cell)
