"""How many threads a training uses: a network of small layers is trained by one.

A second thread gains little where a layer takes a fraction of a millisecond, and costs much as
soon as other programs run: the threads of a layer wait for each other, and one without a core holds
up all. `python -m edgekd.benchmarks.trials.threads` times it: on two cores a step of an LSTM for
texts takes 4 ms by one thread and 5 ms by two, beside other work 9 ms by one and 1.8 s by two.
Convolutions of 26, 90 and 359 million multiplications a batch gain 1.3, 1.6 and 1.8 times from the
second thread alone, and lose 1.3, 1.2 and 2.7 times by it beside other work.

The number follows from the network and the batch alone, so that a training that was killed ends in
the same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgekd.networks.macs import count_macs

LEAST_MACS = 50e6
"""Multiplications of a layer with one batch, on average, from which further threads gain more on an
idle machine than they lose on a busy one, but for layers of many milliseconds."""


@contextmanager
def choose_threads(network: nn.Module, inputs: Mapping[str, Tensor], *, size: int) -> Iterator[int]:
    """Compute what runs inside by one thread if the layers are small; yield the number.

    Args:
        network: takes `inputs`; it is run once, in evaluation mode.
        inputs: few samples; axis 0 counts them.
        size: samples of a batch in training.
    """
    before = torch.get_num_threads()
    samples = len(next(iter(inputs.values())))
    macs = [one * size / samples for one in count_macs(network, inputs).each]
    is_small = not macs or sum(macs) / len(macs) < LEAST_MACS
    count = 1 if is_small else before
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)
