"""Put attention into a trained network and go on training it: what it knows is kept.

A small ResNet of timm learns the handwritten digits of scikit-learn. Then coordinate attention goes behind every
residual branch, once as the identity (the default of attnzoo.insert) and once as published, and all are trained for
some more epochs alike, beside the network without it. About a minute on one CPU core.

python examples/finetune.py
"""

import argparse
import copy

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import attnzoo
from attnzoo.lab.augment import translate
from attnzoo.lab.data import Data, Split, load
from attnzoo.lab.stats import interval

SIZE = 32  # pixels to which the 8 x 8 digits are enlarged
BATCH = 64


def prepare(split: Split) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 32, 32) around zero, and labels."""
    return F.interpolate(split.images / 127.5 - 1, size=SIZE, mode="bilinear"), split.labels


def train_epoch(model: nn.Module, data: Data, optimizer: torch.optim.Optimizer, draws: torch.Generator) -> None:
    """One pass over the training images, each moved by up to two pixels."""
    images, labels = prepare(data.train)
    model.train()
    for rows in torch.randperm(len(labels), generator=draws).split(BATCH)[:-1]:
        loss = F.cross_entropy(model(translate(images[rows], 2, draws)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, data: Data) -> float:
    """Share of the test images that are classified right, in percent."""
    images, labels = prepare(data.test)
    return 100 * (model.eval()(images).argmax(dim=1) == labels).double().mean().item()


def pretrain(data: Data, epochs: int, draws: torch.Generator) -> nn.Module:
    """A narrow ResNet-18 that knows the digits."""
    model = timm.create_model("resnet18", in_chans=1, num_classes=data.classes, channels=(16, 32, 64, 128))
    optimizer = torch.optim.AdamW(attnzoo.param_groups(model, lr=3e-3, weight_decay=0.01))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        train_epoch(model, data, optimizer, draws)
        schedule.step()
    return model


def finetune(model: nn.Module, data: Data, epochs: int, seed: int) -> list[float]:
    """The accuracy at first and after each epoch: a low rate for what is pretrained, a higher one for what is new."""
    groups = attnzoo.param_groups(model, lr=1e-4, module_lr=1e-2, weight_decay=0.01)
    optimizer = torch.optim.AdamW(groups)
    draws = torch.Generator().manual_seed(seed)
    curve = [accuracy(model, data)]
    for _ in range(epochs):
        train_epoch(model, data, optimizer, draws)
        curve.append(accuracy(model, data))
    return curve


def study(name: str, seeds: int, pretraining: int, epochs: int) -> dict[str, list[list[float]]]:
    """The curves of every start, one a seed."""
    data = load("digits")
    curves: dict[str, list[list[float]]] = {"nothing inserted": [], f"{name}, identity": [], f"{name}, plain": []}
    for seed in range(seeds):
        torch.manual_seed(seed)
        trained = pretrain(data, pretraining, torch.Generator().manual_seed(seed))
        for start, found in curves.items():
            model = copy.deepcopy(trained)
            if start != "nothing inserted":
                example = torch.zeros(1, 1, SIZE, SIZE)
                attnzoo.insert(model, name, at="block", identity=start.endswith("identity"), example_input=example)
            found.append(finetune(model, data, epochs, seed))
    return curves


def table(curves: dict[str, list[list[float]]]) -> str:
    """Means over the seeds, and half of their 95% interval."""
    epochs = len(next(iter(curves.values()))[0]) - 1
    rows = [["top-1, %", "at insertion", *(f"epoch {i + 1}" for i in range(epochs))]]
    rows += [[start, *(f"{interval(at):.1f}" for at in zip(*found, strict=True))] for start, found in curves.items()]
    return "\n".join("  ".join(f"{cell:<16}" for cell in row).rstrip() for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--module", default="coord", help="what is inserted, see attnzoo.names(plug_in=True)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pretraining", type=int, default=8, help="epochs before insertion")
    parser.add_argument("--epochs", type=int, default=4, help="epochs after it")
    given = parser.parse_args()
    print(table(study(given.module, given.seeds, given.pretraining, given.epochs)))
