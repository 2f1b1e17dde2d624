"""Does it take every batch, size and memory layout that its method allows?"""

import torch
from torch import Tensor

from attnzoo import examples
from attnzoo.errors import AttnzooError
from attnzoo.verify.check import Profile, check, require
from attnzoo.verify.subject import Subject, backward, error, finite, of_numbers, outputs_of


@check("batch-1")
def batch_1(subject: Subject, profile: Profile) -> None:
    """Do forward and backward run on a batch of one, in eval mode?"""
    _run(subject, batch=1)


@check("batch-1-training")
def batch_1_training(subject: Subject, profile: Profile) -> None:
    """Does a training batch of one run, or get a clear error where pooled vectors are normalised over the batch?"""
    try:
        _run(subject, batch=1, training=True)
    except AttnzooError as error:
        require("batch of at least 2" in str(error), f"refused without saying why: {error}")


@check("smallest-size")
def smallest_size(subject: Subject, profile: Profile) -> None:
    """Does the smallest map that the card names run, square and narrow, and is every smaller one refused clearly?"""
    least, pixels = subject.card.min_size, subject.card.min_pixels
    for size in ((least, least), (least, least + 6), (least + 6, least)):
        if size[0] * size[1] >= pixels:
            _run(subject, size=size)
        else:
            require(not _runs(subject, size), f"takes {size}, though the card says that it needs {pixels} pixels")
    for n in range(1, least):
        require(not _runs(subject, (n, n)), f"takes {n} x {n}, though the card says that {least} is the least")
        for size in ((n, least + 6), (least + 6, n)):
            _runs(subject, size)


@check("odd-sizes")
def odd_sizes(subject: Subject, profile: Profile) -> None:
    """Do prime and non-square maps run?"""
    for size in ((11, 13), (5, 17), (8, 3)):
        _run(subject, size=examples.fitting(subject.name, size))


@check("two-sizes")
def two_sizes(subject: Subject, profile: Profile) -> None:
    """Does one instance take maps of two sizes in a row, as a fresh one would?"""
    module = subject.build()
    first, other = subject.inputs(), subject.inputs(size=examples.fitting(subject.name, (11, 6)))
    require([x.shape for x in first] != [x.shape for x in other], "its inputs are of one size only")
    module(*first)
    worst = error(module(*other), subject.build()(*other))
    require(worst == 0, f"the second size comes out {worst:.1e} off")


@check("channels-last")
def channels_last(subject: Subject, profile: Profile) -> None:
    """Does channels-last memory go in and come out, with equal values?"""
    module, inputs = subject.build(), subject.inputs()
    wanted = outputs_of(module(*inputs))
    layout = torch.channels_last
    given = [x.to(memory_format=layout) if x.dim() == 4 else x for x in inputs]
    found = outputs_of(module.to(memory_format=layout)(*given))
    worst = error(found, wanted)
    require(worst < 1e-5, f"values differ by {worst:.1e}")
    lost = [i for i, out in enumerate(found) if out.dim() == 4 and not out.is_contiguous(memory_format=layout)]
    require(not lost, f"output {lost} is no longer channels-last")


def _runs(subject: Subject, size: tuple[int, int]) -> bool:
    """Whether a size runs, or is refused clearly."""
    try:
        _run(subject, size=size)
    except AttnzooError:
        return False
    return True


def _run(subject: Subject, batch: int = 3, size: tuple[int, int] | None = None, training: bool = False) -> None:
    module = subject.build(size).train(training)
    inputs = of_numbers(Tensor.requires_grad_, subject.inputs(batch, size))
    outputs = outputs_of(module(*inputs))
    require(finite(outputs), "the output is not finite")
    if subject.card.plug_in:
        shape = inputs[0].shape
        require(outputs[0].shape == shape, f"gives {tuple(outputs[0].shape)} for {tuple(shape)}")
    backward(outputs)
    require(finite([x.grad for x in inputs if x.grad is not None]), "the gradient is not finite")
