"""RA-CNN on digits that lie somewhere on a larger canvas: it looks closer, and at the digits.

Trains on one core in some twenty seconds, and prints how often each look is right, and where the first square lies.

python examples/ra_cnn.py
"""

import torch
import torch.nn.functional as F
from torch import Tensor

import attnzoo
from attnzoo.lab.data import Split, load
from attnzoo.networks.losses import RACNNLoss

SIDE, DIGIT, BATCH = 48, 20, 32
LOOKS = ("1st", "2nd", "3rd", "fused")


def scattered(split: Split) -> tuple[Tensor, Tensor]:
    """Each digit, 20 x 20, somewhere on noise of 48 x 48, and the row and column of its corner."""
    digits = F.interpolate(split.images.float() / 255, DIGIT, mode="bilinear")
    corners = torch.randint(0, SIDE - DIGIT + 1, (len(digits), 2))
    canvas = 0.2 * torch.rand(len(digits), 1, SIDE, SIDE)
    for image, digit, (row, column) in zip(canvas, digits, corners.tolist(), strict=True):
        image[:, row : row + DIGIT, column : column + DIGIT] += digit
    return canvas, corners


def held(boxes: Tensor, corners: Tensor) -> float:
    """The mean share of a digit inside the square of the first proposal, (B, 3) as fractions, at least a third wide."""
    half = (SIDE * boxes[:, 2:]).clamp_min(SIDE / 3)
    centres = torch.minimum(torch.maximum(SIDE * boxes[:, :2], half), SIDE - half)
    common = torch.minimum(centres + half, corners + DIGIT) - torch.maximum(centres - half, corners.float())
    return (common.clamp_min(0).prod(dim=1) / DIGIT**2).mean().item()


def main() -> None:
    torch.manual_seed(0)
    data = load("digits", limit_train=1000)
    (images, _), (test_images, test_corners) = scattered(data.train), scattered(data.test)
    labels, test_labels = data.train.labels, data.test.labels
    network = attnzoo.create(
        "ra_cnn",
        num_classes=10,
        in_channels=1,
        image_size=SIDE,
        widths=(8, 16, 32, 64),
        depths=(1, 1, 1, 1),
        hidden_channels=32,
        batch_norm=True,
    )
    criterion = RACNNLoss()
    judges = torch.optim.Adam(network.classification_parameters(), 1e-2)
    slower = torch.optim.lr_scheduler.ExponentialLR(judges, 0.7)
    lookers = torch.optim.Adam(network.attention_parameters(), 1e-3)

    def epoch(*phases: str) -> None:
        """One pass over the images; every batch goes through the phases, each with its own loss and parameters."""
        for rows in torch.randperm(len(images)).split(BATCH):
            for phase in phases:
                network.zero_grad()
                getattr(criterion(network(images[rows]), labels[rows]), phase).backward()
                (judges if phase == "classification" else lookers).step()
        slower.step()

    def report(when: str) -> None:
        network.eval()
        with torch.no_grad():
            looks = network(test_images)
        network.train()
        shares = [(z.argmax(dim=1) == test_labels).float().mean().item() for z in (*looks.scales, looks.logits)]
        told = "  ".join(f"{look} {share:.1%}" for look, share in zip(LOOKS, shares, strict=True))
        inside = held(looks.boxes[0], test_corners)
        side = (2 * looks.boxes[0, :, 2]).clamp(2 / 3, 1).mean().item()
        print(f"{when:26} accuracy: {told}   first square: {side:.0%} wide, holds {inside:.0%} of the digit")

    report("untrained")
    for _ in range(4):
        epoch("classification")
    report("classifiers alone")
    epoch("start")
    report("drawn to the features")
    lookers.param_groups[0]["lr"] = 1e-4
    for _ in range(4):
        epoch("ranking", "classification")
    report("in turn with the ranking")


if __name__ == "__main__":
    main()
