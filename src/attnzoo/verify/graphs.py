"""Does it go through torch's compilers, exporters and function transforms?"""

import io
import logging
import warnings
from functools import partial

import torch
from torch import Tensor

from attnzoo import examples
from attnzoo.verify.check import Profile, check, require
from attnzoo.verify.subject import Subject, backward, error, of_numbers, outputs_of

# Three sizes to compile for. Torch 2.8 compiles a strided pooling once for every remainder of the size; pyramids, whose
# finest map is many times larger, get by with equal remainders of 4.
POOLS_BY_REMAINDER = torch.__version__ < "2.9"
VARIED = ((7, 9), (8, 5), (11, 6))
EQUAL_REMAINDERS = ((7, 9), (19, 33), (31, 21))
OF_PYRAMIDS = ((7, 9), (11, 5), (15, 13))


@check("compile")
def compile_whole(subject: Subject, profile: Profile) -> None:
    """Does torch.compile(fullgraph=True) give equal results, and trace training? (full: with Inductor)"""
    torch._dynamo.reset()
    module = subject.build()
    compiled = torch.compile(subject.build(), fullgraph=True, backend="aot_eager" if profile == "quick" else "inductor")
    results = []
    for run in (module, compiled):
        inputs = of_numbers(Tensor.requires_grad_, subject.inputs())
        outputs = outputs_of(run(*inputs))
        backward(outputs)
        results.append([*outputs, *(x.grad for x in inputs if x.grad is not None)])
    worst = error(results[1], results[0])
    require(worst < 1e-4, f"outputs or gradients differ by {worst:.1e}")
    torch.compile(subject.build().train(), fullgraph=True, backend="eager")(*subject.inputs(4))


@check("compile-dynamic")
def compile_dynamic(subject: Subject, profile: Profile) -> None:
    """Is nothing recompiled for the third batch and spatial size with dynamic=True?"""
    torch._dynamo.reset()
    module = subject.build()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="eager")
    first, second, third = [subject.size] * 3 if subject.fixed_size else _sizes(subject, *_varied(subject))
    with torch.no_grad():
        compiled(*subject.inputs(2, first))
        compiled(*subject.inputs(3, second))
        inputs = subject.inputs(5, third)
        with torch.compiler.set_stance("fail_on_recompile"):
            found = compiled(*inputs)
        worst = error(found, module(*inputs))
    require(worst < 1e-5, f"the third size differs by {worst:.1e}")


@check("export")
def export(subject: Subject, profile: Profile) -> None:
    """Does torch.export take it with dynamic batch, height and width, and give equal outputs?"""
    exported, module = subject.program.module(), subject.build()
    for inputs in _other_sizes(subject):
        worst = error(exported(*inputs), module(*inputs))
        require(worst < 1e-5, f"outputs differ by {worst:.1e} at {tuple(inputs[0].shape)}")


@check("onnx")
def onnx(subject: Subject, profile: Profile) -> None:
    """Does ONNX Runtime give equal outputs, to 1e-4, from one file with dynamic axes?"""
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(subject.program, dynamo=True, verbose=False).save(file)  # type: ignore[union-attr, arg-type]
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    module = subject.build()
    for inputs in _other_sizes(subject):
        found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        worst = error([torch.from_numpy(value) for value in found], module(*inputs))
        require(worst < 1e-4, f"outputs differ by {worst:.1e} at {tuple(inputs[0].shape)}")


@check("functional-call")
def functional_call(subject: Subject, profile: Profile) -> None:
    """Does torch.func.functional_call run it with other weights?"""
    module, inputs = subject.build(), subject.inputs()
    weights = {name: value * 1.5 for name, value in module.named_parameters()}
    found = torch.func.functional_call(module, weights, inputs)
    with torch.no_grad():
        for name, value in weights.items():
            module.get_parameter(name).copy_(value)
    worst = error(found, module(*inputs))
    require(worst == 0, f"outputs differ by {worst:.1e}")


@check("vmap")
def vmap(subject: Subject, profile: Profile) -> None:
    """Does torch.func.vmap map it over a further dimension?"""
    module = subject.build()
    several = [of_numbers(partial(torch.add, other=i), subject.inputs()) for i in range(2)]
    stacked = tuple(torch.stack(xs) for xs in zip(*several, strict=True))

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(outputs_of(module(*inputs)))

    found = torch.func.vmap(run)(*stacked)
    wanted = [torch.stack(outs) for outs in zip(*(run(*inputs) for inputs in several), strict=True)]
    worst = error(found, wanted)
    require(worst < 1e-5, f"outputs differ by {worst:.1e}")


def _other_sizes(subject: Subject) -> list[tuple[Tensor, ...]]:
    """Inputs of another batch and, where the method allows it, other sizes than the traced one."""
    first, second = [subject.size] * 2 if subject.fixed_size else _sizes(subject, (11, 6), (4, 13))
    return [subject.inputs(2, first), subject.inputs(5, second)]


def _varied(subject: Subject) -> tuple[tuple[int, int], ...]:
    if not POOLS_BY_REMAINDER:
        return VARIED
    finest = subject.inputs(1, VARIED[0])[0]
    return OF_PYRAMIDS if finest.dim() == 4 and finest.shape[2] > VARIED[0][0] else EQUAL_REMAINDERS


def _sizes(subject: Subject, *sizes: tuple[int, int]) -> list[tuple[int, int]]:
    return [examples.fitting(subject.name, size) for size in sizes]
