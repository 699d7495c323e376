"""What a training computes in, layer by layer."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.training.precision import computing

CPU = torch.device("cpu")


def _types_inside(precision: str) -> dict[int, torch.dtype]:
    """Return, by its groups, the type of what each convolution keeps for its gradient."""
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8))
    with computing(precision, CPU):
        found = network(torch.randn(2, 3, 6, 6)).float().sum()
    seen: dict[int, torch.dtype] = {}
    todo = [found.grad_fn]
    while todo:
        node = todo.pop()
        if "ConvolutionBackward" in node.name():
            seen[node._saved_groups] = node._saved_input.dtype
        todo += [before for before, _ in node.next_functions if before is not None]
    return seen


def test_depthwise_convolutions_stay_in_float32_among_bfloat16() -> None:
    assert _types_inside("bf16") == {1: torch.bfloat16, 8: torch.float32}


def test_other_groups_stay_in_bfloat16() -> None:
    layer = nn.Conv2d(8, 8, 3, groups=4)
    with computing("bf16", CPU):
        found = layer(torch.randn(2, 8, 6, 6))
    assert found.grad_fn._saved_input.dtype == torch.bfloat16


def test_float32_is_float32() -> None:
    assert _types_inside("fp32") == {1: torch.float32, 8: torch.float32}


def test_a_depthwise_convolution_answers_and_learns_as_in_float32() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8)
    x = torch.randn(2, 8, 12, 12)
    plain = layer(x)
    plain.square().sum().backward()
    assert layer.weight.grad is not None
    wanted = layer.weight.grad.clone()
    layer.zero_grad()
    with computing("bf16", CPU):
        mixed = layer(x)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), plain, rtol=2**-7, atol=0.0)
    mixed.float().square().sum().backward()
    torch.testing.assert_close(
        layer.weight.grad, wanted, rtol=0.02, atol=0.02 * float(wanted.std())
    )
