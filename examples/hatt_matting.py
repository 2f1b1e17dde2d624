"""HAttMatting on drawn scenes: an alpha matte from the image alone, first without, then with a discriminator.

Trains a small backbone on one core for some seconds, and prints errors on scenes that it has not seen.

python examples/hatt_matting.py
"""

import torch
from torch import Tensor, nn

import attnzoo
from attnzoo.networks.adversarial import PatchDiscriminator, discriminator_loss
from attnzoo.networks.losses import MattingLoss, ssim
from attnzoo.networks.resnet import ResNet, basic, large_stem

SIDE, BATCH = 64, 8


def scenes(count: int) -> tuple[Tensor, Tensor]:
    """Soft flowers of a colour on stripes of two others, (B, 3, H, W), and their mattes (B, 1, H, W)."""
    y, x = torch.meshgrid(*[torch.arange(SIDE).float()] * 2, indexing="ij")
    centre = SIDE * (0.35 + 0.3 * torch.rand(2, count, 1, 1))
    dy, dx = y - centre[0], x - centre[1]
    petals = 1 + 0.25 * torch.sin(torch.randint(3, 8, (count, 1, 1)) * torch.atan2(dy, dx))
    radius = SIDE * (0.15 + 0.12 * torch.rand(count, 1, 1)) * petals
    alpha = ((radius - torch.hypot(dy, dx)) / 1.5).sigmoid()[:, None]
    stripes = torch.sin((x + torch.randn(count, 1, 1) * y) / 3).sign()[:, None] / 2 + 0.5
    front, first, second = torch.rand(3, count, 3, 1, 1)
    back = stripes * first + (1 - stripes) * second
    return alpha * front + (1 - alpha) * back + 0.02 * torch.randn(count, 3, SIDE, SIDE), alpha


def small_backbone() -> ResNet:
    """Maps of strides 2, 4, 8 and 8."""
    return ResNet(
        "backbone",
        1,
        3,
        True,
        blocks=[basic] * 4,
        depths=(1, 1, 1, 1),
        planes=(16, 24, 32, 32),
        strides=(1, 2, 2, 1),
        expansion=1,
        stem=large_stem,
        stem_channels=16,
        stem_stride=2,
    )


def main() -> None:
    torch.manual_seed(0)
    network = attnzoo.create("hatt_matting_resnext101", backbone=small_backbone(), channels=16, dilations=(1, 2, 4))
    discriminator, criterion = PatchDiscriminator(channels=8), MattingLoss()
    makers = torch.optim.Adam(network.parameters(), 3e-3)
    doubters = torch.optim.Adam(discriminator.parameters(), 3e-4)
    unseen, mattes = scenes(64)

    def report(when: str, network: nn.Module = network) -> None:
        network.eval()
        with torch.no_grad():
            alpha = network(unseen)
        network.train()
        error, likeness = (alpha - mattes).abs().mean().item(), ssim(alpha, mattes).mean().item()
        print(f"{when:34} mean absolute error {error:.4f}   SSIM {likeness:.3f}")

    report("untrained")
    for step in range(1, 181):
        images, truth = scenes(BATCH)
        alpha = network(images)
        verdict = None
        if step > 120:
            doubt = discriminator_loss(
                discriminator(torch.cat([images, truth], dim=1)),
                discriminator(torch.cat([images, alpha.detach()], dim=1)),
            )
            doubters.zero_grad()
            doubt.backward()
            doubters.step()
            verdict = discriminator(torch.cat([images, alpha], dim=1))
        makers.zero_grad()
        criterion(alpha, truth, verdict).backward()
        makers.step()
        if step % 60 == 0:
            report(f"{step} steps{', 60 of them adversarial' if verdict is not None else ''}")


if __name__ == "__main__":
    main()
