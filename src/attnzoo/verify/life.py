"""Does it survive what happens to a module between training and production?"""

import copy
import io
import pickle

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from attnzoo.verify.check import Profile, check, require
from attnzoo.verify.peer import gradients_with_peer, mean_loss
from attnzoo.verify.subject import Subject, error, finite, of_numbers


@check("safetensors")
def safetensors(subject: Subject, profile: Profile) -> None:
    """Does its state dict come back from a safetensors file, to the bit?"""
    module = subject.build()
    state = load(save({key: value.contiguous() for key, value in module.state_dict().items()}))
    fresh = subject.bare().eval()
    fresh.load_state_dict(state, strict=True)
    _equal(fresh, module, subject)


@check("copies")
def copies(subject: Subject, profile: Profile) -> None:
    """Do deepcopy, pickle and torch.save give a module that computes the same, after a run as before?"""
    module = subject.build()
    module(*subject.inputs())
    _equal(copy.deepcopy(module), module, subject)
    _equal(pickle.loads(pickle.dumps(module)), module, subject)  # noqa: S301 (what we have just pickled)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    module.load_state_dict(torch.load(file, weights_only=True))


@check("meta")
def meta(subject: Subject, profile: Profile) -> None:
    """Can it be built on the meta device, given memory by to_empty, and filled from a state dict?"""
    module = subject.build()
    with torch.device("meta"):
        empty = subject.bare()
    held = [name for name, x in [*empty.named_parameters(), *empty.named_buffers()] if not x.is_meta]
    require(not held, f"{', '.join(held)} takes memory on the meta device")
    filled = empty.to_empty(device="cpu").eval()
    filled.load_state_dict(module.state_dict())
    _equal(filled, module, subject)


@check("ddp")
def ddp(subject: Subject, profile: Profile) -> None:
    """Do two processes under DistributedDataParallel (gloo) get the gradients of one?"""
    module = subject.build()
    require(bool(list(module.parameters())), "it has no parameters")
    module = module.double()
    mean_loss(module(*of_numbers(Tensor.double, subject.inputs(4)))).backward()
    wanted = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    worst = error(torch.cat([grad.flatten() for grad in gradients_with_peer(subject.name)]), wanted)
    require(worst < 1e-10, f"gradients differ by {worst:.1e}")


@check("int8")
def int8(subject: Subject, profile: Profile) -> None:
    """Does a small network that holds it run after static int8 quantisation (torchao, PT2E)?"""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    inputs = subject.inputs()
    network = _Network(subject).eval()
    wanted = network(*inputs)
    quantizer = X86InductorQuantizer()
    quantizer.set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(network, inputs, strict=True).module(), quantizer)
    prepared(*inputs)
    quantised = convert_pt2e(prepared)
    kinds = [str(node.target) for node in quantised.graph.nodes]
    require(any("quantize_per" in kind for kind in kinds), "nothing was quantised")
    found = quantised(*inputs)
    require(finite(found), "the quantised network is not finite")
    worst = error(found, wanted)
    require(worst < 0.25, f"the quantised network is {worst:.0%} off")


class _Network(nn.Module):
    """A layer of the kind that stands before the module, and the module."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.module = subject.build()
        width = subject.inputs()[0].shape[-1 if subject.tokens else 1]
        torch.manual_seed(3)
        self.stem: nn.Module = nn.Linear(width, width) if subject.tokens else nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, *rest: Tensor) -> object:
        return self.module(self.stem(x), *rest)


def _equal(ours: nn.Module, wanted: nn.Module, subject: Subject) -> None:
    worst = error(ours(*subject.inputs()), wanted(*subject.inputs()))
    require(worst == 0, f"outputs differ by {worst:.1e}")
