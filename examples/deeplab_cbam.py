"""CBAM in torchvision's DeepLabV3, without a line of its source: inserted, trained for a step, saved and loaded.

python examples/deeplab_cbam.py
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

import attnzoo

CLASSES = 4


def build() -> nn.Module:
    """DeepLabV3 on ResNet-50 as torchvision builds it; pretrained weights would go in here."""
    return deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)


if __name__ == "__main__":
    torch.manual_seed(0)
    images, target = torch.randn(2, 3, 65, 65), torch.randint(CLASSES, (2, 65, 65))
    model = build().eval()
    with torch.no_grad():
        before = model(images)["out"]
        print(attnzoo.insert(model, "cbam", at="block", example_input=images))
        print(f"logits after insertion are the same to the bit: {torch.equal(model(images)['out'], before)}")

    optimizer = torch.optim.SGD(attnzoo.param_groups(model, lr=1e-3, module_lr=1e-2, weight_decay=1e-4), momentum=0.9)
    loss = F.cross_entropy(model.train()(images)["out"], target)
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deeplab.safetensors"
        attnzoo.save(model, file)
        again = attnzoo.load(build().eval(), file)
        same = torch.equal(again(images)["out"], model(images)["out"])
        print(f"a step of training, loss {loss.item():.2f}; saved in {file.stat().st_size / 2**20:.0f} MiB")
        print(f"loaded into a plain DeepLabV3, it gives the same: {same}")
    print(f"the plan has {len(attnzoo.plan(again)['steps'])} steps, the first is {attnzoo.plan(again)['steps'][0]}")
