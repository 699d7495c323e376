"""One calibration for all variants: a float graph, what is chosen of it, and its ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.errors import NothingToDo
from edgekd.exporters.onnx_files import load_onnx
from edgekd.quantization.calibration import MASK, Collected, collect
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.headroom import Range
from edgekd.quantization.kept_samples import JUDGED_ON
from edgekd.quantization.node_selection import Choice, choose
from edgekd.quantization.plan import Activations
from edgekd.quantization.proof import Samples
from edgekd.quantization.ranges import Method, RangeOption

Feeds = Callable[[], Iterator[Mapping[str, NDArray[Any]]]]
DEFAULT: RangeOption = "minmax"
"""Of these functions: the plain way. A recipe asks for "auto" if nothing else is said."""


@dataclass(frozen=True)
class Chosen:
    """A float graph, prepared, and what of it a static quantization takes."""

    model: ModelProto
    choice: Choice
    name: str
    """Of the file, for messages."""


@dataclass(frozen=True)
class Calibrated(Chosen):
    """It with the statistics of its activations."""

    collected: Collected
    option: RangeOption
    """How ranges are made from the statistics."""
    collect_again: Callable[[ModelProto, Sequence[str]], Collected]
    """Collects the statistics of some tensors of another graph of the same inputs."""
    _found: dict[tuple[RangeOption, Activations], Mapping[str, tuple[Range, Method]]] = field(
        default_factory=dict
    )

    @property
    def samples(self) -> int:
        """Return the number of samples."""
        return self.collected.samples

    @property
    def kept(self) -> Samples:
        """Return a few of the samples, one a call: the same ones in whatever order they came."""
        return self.collected.kept.samples()

    @property
    def judged(self) -> Samples:
        """Return samples to try a written file on."""
        return self.kept[:JUDGED_ON]

    @property
    def fitted(self) -> Samples:
        """Return other samples, to fit corrections on; the same ones where there are few."""
        return self.kept[JUDGED_ON:] if len(self.kept) >= 2 * JUDGED_ON else self.kept

    def ranges(self, activations: Activations) -> Mapping[str, Range]:
        """Return the range of each tensor for one kind of grid."""
        return {name: found for name, (found, _) in self._ranges(activations).items()}

    def methods(self, activations: Activations) -> Mapping[str, Method]:
        """Return the method that each range is by."""
        return {name: method for name, (_, method) in self._ranges(activations).items()}

    def magnitude(self, tensor: str) -> float:
        """Return the greatest magnitude of a tensor that was watched; NaN if one value is."""
        return self.collected.magnitude(tensor)

    def _ranges(self, activations: Activations) -> Mapping[str, tuple[Range, Method]]:
        key = (self.option, activations)
        if key not in self._found:
            self._found[key] = {
                name: statistics.find_range(self.option, activations)
                for name, statistics in self.collected.statistics.items()
            }
        return self._found[key]


@dataclass(frozen=True)
class Watched:
    """What a variant needs to know of the activations."""

    ranges: Sequence[str]
    """float32 tensors whose ranges it takes."""
    magnitudes: Sequence[str] = ()
    """float32 tensors of which only the greatest magnitude is wanted."""


Watch = Callable[[Chosen], Watched]
"""Returns what a variant needs.

Raises:
    NothingToDo: the variant can quantize nothing in the graph.
"""


def calibrate_watched(
    source: Path,
    feeds: Feeds,
    watches: Sequence[Watch],
    *,
    ranges: RangeOption = DEFAULT,
    mask: str = MASK,
    threads: int = 1,
    norms_as_convolutions: bool = False,
) -> Calibrated:
    """Choose what to quantize and collect its statistics in one pass, once for all variants.

    Equal samples give equal ranges, whatever their batches, their order and the threads.

    Args:
        source: float32 weights; any operator set that can be raised to 13.
        feeds: gives batches by input name, [batch, ...]; called again for repairs that rewrite
            the graph.
        watches: of the variants that will be made. Where one raises `NothingToDo`, so will its
            variant; where all do, nothing is calibrated.
        ranges: how ranges are made. "minmax": from the least to the greatest value over all
            samples, and beyond where other samples are likely to exceed them; "percentile",
            "entropy" and "mse" clip rare extremes; "auto": for each tensor the one of these that
            is best on samples that it has not seen, until `choose_ranges` tries the outputs.
        mask: input that is 0 where a sample is padded at its end, as texts of unlike lengths in
            one batch are. Where its length is free, padding is cut off before the graph runs, and
            changes no result. Other padding counts as data: give such samples one at a time.
        threads: samples that run at once; they change no result.
        norms_as_convolutions: see `prepare`.

    Raises:
        DataError: no sample.
        NothingToDo: no variant can quantize anything in the file.
        ModelError: the file cannot be read or is quantized already; a sample does not fit; an
            input is NaN or infinite.
    """
    model = prepare(load_onnx(source), source.name, norms_as_convolutions=norms_as_convolutions)
    chosen = Chosen(model, choose(model), source.name)
    watched: list[Watched] = []
    refused: list[str] = []
    for watch in watches:
        try:
            watched.append(watch(chosen))
        except NothingToDo as signal:
            refused.append(str(signal))
    if not watched:
        raise NothingToDo("; ".join(dict.fromkeys(refused)))

    def run_again(
        graph: ModelProto, tensors: Sequence[str], magnitudes: Sequence[str] = ()
    ) -> Collected:
        return collect(graph, tensors, feeds(), magnitudes=magnitudes, mask=mask, threads=threads)

    collected = run_again(
        model,
        list(dict.fromkeys(name for one in watched for name in one.ranges)),
        [name for one in watched for name in one.magnitudes],
    )
    return Calibrated(model, chosen.choice, source.name, collected, ranges, run_again)
