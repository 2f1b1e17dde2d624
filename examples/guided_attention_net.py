"""GANet on digits strewn over an image, as cars in a drone's view: find each, and count them.

Trains a small backbone on one core for some seconds, and prints recall, precision and the error of the counts.

python examples/guided_attention_net.py
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import attnzoo
from attnzoo.lab.data import load
from attnzoo.networks.dense.boxes import overlaps
from attnzoo.networks.dense.guided_attention_loss import GuidedAttentionLoss
from attnzoo.networks.dense.guided_attention_net import objects
from attnzoo.networks.resnet import ResNet, basic, large_stem

SIDE, BATCH = 96, 8


def views(digits: Tensor, count: int) -> tuple[Tensor, list[Tensor]]:
    """Images (B, 1, H, W) of noise with one to six digits of 12 to 24 pixels, and their boxes (N, 4)."""
    images, boxes = 0.3 * torch.rand(count, 1, SIDE, SIDE), []
    for image in images:
        found: list[list[int]] = []
        for _ in range(int(torch.randint(1, 7, ()))):
            size = int(torch.randint(12, 25, ()))
            x, y = torch.randint(0, SIDE - size + 1, (2,)).tolist()
            box = [x, y, x + size, y + size]
            if found and overlaps(torch.tensor([box]).float(), torch.tensor(found).float()).any():
                continue  # so that no digit hides another
            found.append(box)
            digit = digits[torch.randint(len(digits), ())][None]
            image[0, y : y + size, x : x + size] += F.interpolate(digit, size, mode="bilinear")[0, 0]
        boxes.append(torch.tensor(found).float())
    return images, boxes


def small_backbone() -> ResNet:
    """Maps of strides 2, 4, 8, 16 and 32."""
    return ResNet(
        "backbone",
        1,
        1,
        True,
        blocks=[basic] * 4,
        depths=(1, 1, 1, 1),
        planes=(16, 24, 32, 48),
        expansion=1,
        stem=large_stem,
        stem_channels=16,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, padding=1),
    )


def main() -> None:
    torch.manual_seed(0)
    data = load("digits")
    digits, unseen = (split.images.float() / 255 for split in (data.train, data.test))
    network = attnzoo.create("guided_attention_net", in_channels=1, backbone=small_backbone(), channels=(32, 24, 24))
    criterion = GuidedAttentionLoss()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    test_images, test_boxes = views(unseen, 64)

    def report(when: str) -> None:
        network.eval()
        with torch.no_grad():
            found = network(test_images)
        network.train()
        hits = seen = 0
        for image, truth in zip(objects(found), test_boxes, strict=True):
            seen += len(image.boxes)
            if len(image.boxes):
                hits += int((overlaps(truth, image.boxes).amax(dim=1) > 0.5).sum())
        wanted = torch.tensor([len(boxes) for boxes in test_boxes])
        error = (found.counts[:, 0] - wanted).abs().mean().item()
        print(
            f"{when:10} recall {hits / wanted.sum():.1%}   precision {hits / max(seen, 1):.1%}   "
            f"mean error of the counts {error:.2f} of {wanted.float().mean():.1f} digits"
        )

    report("untrained")
    for step in range(1, 151):
        images, boxes = views(digits, BATCH)
        optimizer.zero_grad()
        criterion(network(images), boxes).backward()
        optimizer.step()
        if step % 50 == 0:
            report(f"{step} steps")


if __name__ == "__main__":
    main()
