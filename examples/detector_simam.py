"""SimAM in a detector of torchvision: behind every map of its feature pyramid, trained for a step, saved and loaded.

python examples/detector_simam.py
"""

import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

import attnzoo

PYRAMID = "backbone.fpn.layer_blocks.*"


def build() -> nn.Module:
    """Faster R-CNN on MobileNetV3 as torchvision builds it; pretrained weights would go in here."""
    return fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=2)


def scene(size: int = 160) -> tuple[Tensor, dict[str, Tensor]]:
    """A bright rectangle on noise, and its box."""
    x, y, width, height = 30, 40, 60, 50
    image = 0.2 * torch.rand(3, size, size)
    image[:, y : y + height, x : x + width] += 0.7
    return image, {"boxes": torch.tensor([[x, y, x + width, y + height]]).float(), "labels": torch.tensor([1])}


def same(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> bool:
    """Whether two lists of detections are equal to the bit."""
    return all(torch.equal(a[key], b[key]) for a, b in zip(one, other, strict=True) for key in a)


if __name__ == "__main__":
    torch.manual_seed(0)
    image, target = scene()
    model = build().eval()
    with torch.no_grad():
        before = model([image])
        print(attnzoo.insert(model, "simam", at=PYRAMID, example_input=[image]))
        print(f"{len(before[0]['boxes'])} detections, the same after insertion: {same(model([image]), before)}")

    optimizer = torch.optim.SGD(attnzoo.param_groups(model, lr=1e-3, module_lr=1e-2), momentum=0.9)
    losses = model.train()([image, image], [target, target])
    sum(losses.values()).backward()
    optimizer.step()
    print("a step of training: " + ", ".join(f"{name} {loss.item():.2f}" for name, loss in losses.items()))

    model.eval()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "detector.safetensors"
        attnzoo.save(model, file)
        again = attnzoo.load(build().eval(), file)
        print(f"loaded into a plain detector, it finds the same: {same(again([image]), model([image]))}")
    print(json.dumps(attnzoo.plan(again), indent=2))
