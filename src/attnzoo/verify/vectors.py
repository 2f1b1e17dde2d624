"""The stored reference numbers: runs of the authors' code."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from attnzoo import reference, registry

VECTORS = Path(__file__).parents[3] / "tests" / "vectors"  # of a clone; an installed package has none
TOLERANCE = 1e-6  # of the largest value: outputs and gradients are stored in float32


@dataclass
class Case:
    """One stored run of the authors' code: everything in float64 but masks and indices."""

    module: str
    config: dict[str, Any]
    training: bool
    parameters: int  # how many the authors have
    inputs: list[Tensor]
    state: dict[str, Tensor]
    outputs: list[Tensor]
    cotangents: list[Tensor]
    gradients: list[Tensor | None]

    @classmethod
    def load(cls, path: Path) -> "Case":
        with safe_open(path, "pt") as file:
            about = file.metadata()
            tensors = {key: _widen(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        names = json.loads(about["inputs"])
        inputs = [tensors[f"input.{name}"] for name in names]
        for x in inputs:
            x.requires_grad_(x.is_floating_point())
        return cls(
            module=about["module"],
            config=json.loads(about["config"]),
            training=json.loads(about["training"]),
            parameters=int(about["parameters"]),
            inputs=inputs,
            state={k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")},
            outputs=_numbered(tensors, "output"),
            cotangents=_numbered(tensors, "cotangent"),
            gradients=[tensors.get(f"grad.{name}") for name in names],
        )

    def build(self) -> nn.Module:
        """The module with the authors' weights, in float64."""
        module = registry.create(self.module, **self.config)
        reference.load_reference(module, self.state)
        return module.double().train(self.training)

    def count(self, module: nn.Module) -> int:
        """The module's parameters, with those of the authors' that nothing uses and ours leaves out."""
        return sum(p.numel() for p in module.parameters()) + getattr(module, "unused_in_reference", 0)

    def run(self, module: nn.Module) -> list[Tensor]:
        """All outputs; of a module that hands on a state, those of calls in turn, and then the parts of the state."""
        if "state" not in inspect.signature(module.forward).parameters:
            result = module(*self.inputs)
            return list(result) if isinstance(result, tuple | list) else [result]
        outputs: list[Tensor] = []
        state: Any = None
        for x in self.inputs:
            y, state = module(x, state)
            outputs.append(y)
        return [*outputs, *state]

    def error(self, module: nn.Module) -> float:
        """The largest deviation of outputs and input gradients, each relative to its largest stored value."""
        outputs = self.run(module)
        if len(outputs) != len(self.outputs):
            return float("inf")
        wanted = [(x, g) for x, g in zip(self.inputs, self.gradients, strict=True) if g is not None]
        reached = [(y, g) for y, g in zip(outputs, self.cotangents, strict=True) if y.requires_grad]
        gradients = torch.autograd.grad([y for y, _ in reached], [x for x, _ in wanted], [g for _, g in reached])
        pairs = [
            *zip(outputs, self.outputs, strict=True),
            *zip(gradients, (g for _, g in wanted), strict=True),
        ]
        return max(_relative(ours, theirs) for ours, theirs in pairs)


def cases_of(name: str) -> list[Path]:
    """The files of one module."""
    return sorted(path for path in VECTORS.glob(f"{name}-*.safetensors") if path.stem.rpartition("-")[0] == name)


def _widen(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def _numbered(tensors: dict[str, Tensor], kind: str) -> list[Tensor]:
    count = sum(key.startswith(f"{kind}.") for key in tensors)
    return [tensors[f"{kind}.{i}"] for i in range(count)]


def _relative(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    error = ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)).item()  # a gradient may be all zero
    return error if error == error else float("inf")
