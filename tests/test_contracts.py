"""Does every module keep its contract, and refuse what does not fit?"""

import pytest
import torch
from torch import Tensor, nn

import attnzoo
from attnzoo import examples
from attnzoo.verify.inputs import channel_argument, takes_any_channels
from attnzoo.verify.subject import of_numbers

every_module = pytest.mark.parametrize("name", attnzoo.names())
SIZE = (7, 7)


def example(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    size = examples.fitting(name, SIZE)
    module = attnzoo.create(name, **examples.arguments(name, size=size)).eval()
    return module, examples.inputs(name, size=size)


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


@every_module
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_dtype(name: str, dtype: torch.dtype) -> None:
    module, inputs = example(name)
    output = first(module.to(dtype)(*of_numbers(lambda x: x.to(dtype), inputs)))
    assert output.dtype == dtype
    assert output.isfinite().all()
    if attnzoo.card(name).plug_in:
        assert output.shape == inputs[0].shape
    elif attnzoo.card(name).contract == "loss":
        assert output.shape == ()
    else:
        assert output.shape[0] == inputs[0].shape[0]


@every_module
def test_input_is_left_alone_and_samples_are_apart(name: str) -> None:
    module, inputs = example(name)
    before = [x.clone() for x in inputs]
    together = first(module(*inputs))
    assert all(torch.equal(x, was) for x, was in zip(inputs, before, strict=True))
    if "batch-independent" in attnzoo.card(name).not_applicable:
        return
    alone = first(module(*(x[:1] for x in inputs)))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in attnzoo.names() if attnzoo.card(name).residual])
def test_what_is_added_to_its_input_has_no_shortcut_of_its_own(name: str) -> None:
    """With all weights at zero, a module whose method adds its output to its input gives the same for any input."""
    module, inputs = example(name)
    for weight in [*module.parameters(), *module.buffers()]:
        weight.data.zero_()
    with torch.no_grad():
        one, other = (module.eval()(*(scale * x for x in inputs)) for scale in (1, 3))
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", [name for name in attnzoo.names() if channel_argument(name)])
@pytest.mark.parametrize("wrong", [0, -1, 2.5, "64", True, None])
def test_wrong_channels_are_refused(name: str, wrong: object) -> None:
    arguments = examples.arguments(name, size=SIZE)
    key = channel_argument(name)
    if wrong is None and takes_any_channels(name):
        attnzoo.create(name, **{**arguments, key: None})
        return
    with pytest.raises(attnzoo.AttnzooError, match=rf"^{name}: {key}="):
        attnzoo.create(name, **{**arguments, key: wrong})


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("se", {"channels": 64, "reduction": 512}, "se: reduction=512 leaves no channels of 64; use at most 64."),
        ("se", {"channels": 64, "hidden_channels": 0}, "hidden_channels=0 is not an integer of at least 1"),
        ("eca", {"channels": 64, "kernel_size": 4}, "eca: kernel_size=4 is even; use an odd one, such as 5."),
        ("eca", {"channels": 64, "gamma": 0}, "gamma=0 is not a number above 0"),
        ("cbam", {"channels": 64, "pool_types": ["avg", "median"]}, r"pool_types\[1\]='median' is unknown; use one of"),
        ("cbam", {"channels": 64, "pool_types": []}, r"pool_types=\[\] has 0 items; give at least 1"),
        ("cbam", {"channels": 64, "pool_types": "avg"}, "pool_types='avg' is not a list or tuple"),
        ("bam", {"channels": 64, "fusion": "sum"}, "fusion='sum' is unknown; use one of mul, add"),
        ("simam", {"e_lambda": 0.0}, r"e_lambda=0\.0 is not a number above 0"),
        ("sk", {"in_channels": 48}, "groups=32 does not divide channels of a branch=48"),
        ("sk", {"in_channels": 64, "kernel_sizes": (3,)}, r"kernel_sizes=\(3,\) has 1 items; give at least 2"),
        ("psa", {"in_channels": 66}, "branches=4 does not divide out_channels=66"),
        ("psa", {"in_channels": 64, "groups": (1, 2)}, r"groups=\(1, 2\) has 2 items; give 4"),
        ("psa", {"in_channels": 32, "groups": (1, 1, 1, 1)}, "leaves no channels of 8"),
        ("emsa", {"channels": 60}, "num_heads=8 does not divide channels=60"),
        ("self_attention", {"channels": 64, "dropout": 1.0}, r"dropout=1\.0 is no probability"),
        ("da_module", {"channels": 8, "height": 0, "width": 3}, "height=0 is not an integer"),
    ],
)
def test_wrong_arguments_say_what_is_right(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(attnzoo.AttnzooError, match=message):
        attnzoo.create(name, **arguments)


def test_channels_last_inputs_are_recognised() -> None:
    with pytest.raises(attnzoo.AttnzooError, match=r"permute\(0, 3, 1, 2\) it first"):
        attnzoo.create("eca", channels=64)(torch.randn(1, 7, 7, 64))
    with pytest.raises(attnzoo.AttnzooError, match=r"flatten\(2\)\.transpose\(1, 2\)"):
        attnzoo.create("self_attention", channels=64)(torch.randn(1, 64, 7, 7))


def test_limits_of_the_methods_are_explained() -> None:
    one = torch.randn(1, 64, 4, 4)
    for name in ("bam", "sk"):
        with pytest.raises(attnzoo.AttnzooError, match="expected a batch of at least 2 in training mode"):
            example(name)[0].train()(one)
    with pytest.raises(attnzoo.AttnzooError, match="at least 2 pixels"):
        attnzoo.create("simam")(torch.randn(1, 4, 1, 1))
    with pytest.raises(attnzoo.AttnzooError, match=r"expected maps of 7 x 7, .* height=4, width=4"):
        example("da_module")[0](one)
    attend = attnzoo.create("self_attention", channels=8, num_heads=2)
    x = torch.randn(1, 5, 8)
    with pytest.raises(attnzoo.AttnzooError, match="expected a boolean attention_mask"):
        attend(x, attention_mask=torch.zeros(1, 2, 5, 5))
    with pytest.raises(attnzoo.AttnzooError, match="Give key and value the same length"):
        attend(x, x, x[:, :3])
