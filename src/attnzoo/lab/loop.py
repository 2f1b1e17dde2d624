"""The training of one network on one device or its share of several: an epoch, a test, a state to continue from."""

import time
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo.lab.averaging import EVERY, Average
from attnzoo.lab.batches import Batches, Scale, for_test, seed_of
from attnzoo.lab.building import laid_out
from attnzoo.lab.cooling import Cooling
from attnzoo.lab.data import Data
from attnzoo.lab.measure.energy import meter
from attnzoo.lab.optimizer import optimizer_of, rate
from attnzoo.lab.recipe import Recipe
from attnzoo.lab.settling import BATCHES, settle
from attnzoo.lab.trial import Epoch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TOP5_FROM: Final = 20  # classes; with fewer, top-5 says little


class Loop:
    """A network, its optimizer and the images.

    Args:
        fabric: launched where it has several devices.
        model: on the CPU; trained in place.
        data: the images; kept on the device as uint8.
        recipe: how to train.
        scale: of the images.
        seed: of order and augmentation, and of what the network draws.
        compiled: run the network through `torch.compile`.
        cooled: lower the temperature of dynamic convolutions, see `attnzoo.lab.cooling`.
    """

    def __init__(
        self,
        fabric: "Fabric",
        model: nn.Module,
        data: Data,
        recipe: Recipe,
        scale: Scale,
        seed: int,
        compiled: bool,
        cooled: bool = False,
    ) -> None:
        self.fabric, self.recipe, self.seed = fabric, recipe, seed
        self.data, self.scale = data.to(fabric.device), scale.to(fabric.device)
        self.model = laid_out(model.to(fabric.device), recipe.channels_last)
        self.average = Average(self.model, recipe.average) if recipe.average else None
        self.inner = optimizer_of(recipe, self.model)
        self.tested: nn.Module = self.average.model if self.average else self.model
        runs = cast(nn.Module, torch.compile(self.model)) if compiled else self.model
        self.forward, self.optimizer = fabric.setup(runs, self.inner)
        self.batches = Batches(self.data, recipe, self.scale, seed, fabric.global_rank, fabric.world_size)
        self.steps = self.batches.steps * recipe.epochs
        self.cooling = Cooling((self.model, self.tested) if cooled else (), self.steps)

    def epoch(self, number: int) -> Epoch:
        """Train on every image once, then test; epochs count from 1 and follow each other.

        Before the last test running statistics are settled, see `attnzoo.lab.settling`.
        """
        torch.manual_seed(seed_of(self.seed, number, self.fabric.global_rank, "network"))
        start = time.perf_counter()
        self.forward.train()
        losses = []
        with meter(self.fabric.device) as energy:
            for step, (images, labels) in enumerate(self.batches.epoch(number), (number - 1) * self.batches.steps):
                losses.append(self._step(step, images, labels))
            train_loss = float(self._over_devices(torch.stack(losses).mean(), "mean"))
        seconds = time.perf_counter() - start
        joules = energy.joules
        if joules is not None and self.fabric.world_size > 1 and self.fabric.device.type == "cuda":
            joules = float(self._over_devices(torch.tensor(joules, device=self.fabric.device), "sum"))
        if number == self.recipe.epochs:
            self._settle()
        top1, top5 = self.test()
        return Epoch(train_loss, top1, seconds, top5, joules)

    def test(self) -> tuple[float, float | None]:
        """Shares of the test images whose label has the largest logit, and one of the five largest, in percent.

        top-5 is None below 20 classes; both are not-a-number where a logit is.
        """
        right = torch.zeros(2, device=self.fabric.device, dtype=torch.float64)
        deep = 5 if self.data.classes >= TOP5_FROM else 1
        self._share_buffers()
        self.tested.eval()
        with torch.no_grad(), self.fabric.autocast():
            for images, labels in self._test_batches():
                logits = self._logits(images)
                hits = logits.topk(deep).indices == labels[:, None]  # (B, deep)
                right += torch.stack([hits[:, 0].sum(), hits.sum()]) * _one_if_finite(logits)
        shares = 100 * self._over_devices(right, "sum") / len(self.data.test.labels)
        return float(shares[0]), float(shares[1]) if deep > 1 else None

    def state(self) -> dict[str, Any]:
        """All that the next epochs depend on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.inner.state_dict(),
            "average": self.average.model.state_dict() if self.average else None,
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state` gave."""
        self.model.load_state_dict(state["model"])
        self.inner.load_state_dict(state["optimizer"])
        if self.average:
            self.average.model.load_state_dict(state["average"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def _step(self, step: int, images: Tensor, labels: Tensor) -> Tensor:
        self._set_rate(step)
        self.cooling.begin(step)
        loss = F.cross_entropy(self.forward(images), labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        done = step + 1
        if self.average and (done % EVERY == 0 or done == self.steps):
            self.average.update(self.model, done / self.steps)
        return loss.detach()

    def _settle(self) -> None:
        """By batches of an epoch that no step has seen, drawn alike for all variants of a seed."""
        images = (images for images, _ in self.batches.epoch(self.recipe.epochs + 1))
        with self.fabric.autocast():
            settle(self.tested, islice(images, BATCHES))

    def _set_rate(self, step: int) -> None:
        if self.recipe.stepped == "epoch":
            share = rate(self.recipe, step // self.batches.steps, self.recipe.epochs)
        else:
            share = rate(self.recipe, step, self.steps)
        for group in self.inner.param_groups:
            group["lr"] = self.recipe.learning_rate * share

    def _test_batches(self) -> Any:
        return for_test(
            self.data.test, self.scale, self.recipe.channels_last, self.fabric.global_rank, self.fabric.world_size
        )

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.tested(images).float()
        if self.recipe.test_mirror and self.data.mirror:
            logits = logits + self.tested(images.flip(3)).float()
        return logits

    def _over_devices(self, value: Tensor, how: str) -> Tensor:
        return cast(Tensor, self.fabric.all_reduce(value, reduce_op=how))

    def _share_buffers(self) -> None:
        """Give all devices the running statistics of the first."""
        if self.fabric.world_size > 1:
            for buffer in self.tested.buffers():
                torch.distributed.broadcast(buffer, 0)


def _one_if_finite(logits: Tensor) -> Tensor:
    return torch.where(logits.isfinite().all(), 1.0, torch.nan)
