"""Segment drawn shapes: a narrow BiSeNet learns in a few seconds to find rectangles and discs.

python examples/bisenet.py
"""

import torch
from torch import Tensor, nn

import attnzoo
from attnzoo.networks.losses import BiSeNetLoss

CLASSES = ("background", "rectangle", "disc")


def draw(count: int, size: int = 128) -> tuple[Tensor, Tensor]:
    """Images (count, 3, size, size) of a rectangle and a disc, and the class of every pixel (count, size, size)."""
    place = torch.linspace(0, 1, size)
    y, x = place[:, None], place
    at, extent = 0.2 + 0.6 * torch.rand(4, count, 1, 1), 0.1 + 0.15 * torch.rand(3, count, 1, 1)
    rectangle = ((y - at[0]).abs() < extent[0]) & ((x - at[1]).abs() < extent[1])
    disc = (y - at[2]) ** 2 + (x - at[3]) ** 2 < extent[2] ** 2
    target = torch.where(disc, 2, rectangle.long())
    colours = torch.rand(count, len(CLASSES), 3) + torch.eye(len(CLASSES))
    images = colours[torch.arange(count)[:, None, None], target].permute(0, 3, 1, 2)
    return images + 0.1 * torch.randn_like(images), target


def train(network: nn.Module, steps: int, batch: int = 8) -> None:
    """Fit the network to freshly drawn images, the learning rate rising and falling once."""
    criterion = BiSeNetLoss()  # counts the hard pixels only, and so falls slower than the number of errors
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps)
    network.train()
    losses = []
    for step in range(1, steps + 1):
        images, target = draw(batch)
        loss = criterion(network(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 20 == 0:
            print(f"step {step:3d}  mean loss of 20 steps {sum(losses[-20:]) / 20:.2f}")


@torch.no_grad()
def mean_iou(network: nn.Module, images: Tensor, target: Tensor) -> float:
    """The intersection over the union of answer and truth, averaged over the classes."""
    logits, *_ = network.eval()(images)  # behind them, those of the auxiliary heads
    answer = logits.argmax(dim=1)
    pairs = [(answer == c, target == c) for c in range(len(CLASSES))]
    return sum(((a & t).sum() / (a | t).sum()).item() for a, t in pairs) / len(pairs)


if __name__ == "__main__":
    torch.manual_seed(0)
    images, target = draw(32)
    network = attnzoo.create("bisenet", num_classes=len(CLASSES), width_divisor=8)
    print(f"mean IoU before training: {mean_iou(network, images, target):.2f}")
    train(network, steps=60)
    print(f"mean IoU after training: {mean_iou(network, images, target):.2f}")
