"""Make the INT8 graph of a calibrated float graph with any set of repairs, and measure its noise.

`equalize` and `smooth` are rewrites of equal function: they change the float graph, which is then
calibrated again. `rounding` and `bias-correction` are edits of the plan, worked out on samples
other than those that the noise is measured on.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Literal

from onnx import ModelProto

from edgekd.errors import NothingToDo
from edgekd.quantization.accuracy.bias_correction import correct_biases
from edgekd.quantization.accuracy.equalization import equalize, find_pairs
from edgekd.quantization.accuracy.layer_errors import LayerError, measure_layers
from edgekd.quantization.accuracy.peaks import find_peaks
from edgekd.quantization.accuracy.rounding import round_adaptively
from edgekd.quantization.accuracy.smoothing import find_products, smooth
from edgekd.quantization.calibrated import Calibrated
from edgekd.quantization.insertion import insert
from edgekd.quantization.layouts import Layout
from edgekd.quantization.node_selection import choose
from edgekd.quantization.plan import Layer, Plan
from edgekd.quantization.planning import list_watched, make_plan
from edgekd.quantization.proof import FloatAnswers, decibel

Repair = Literal["bias-correction", "equalize", "smooth", "rounding"]
_REWRITES: frozenset[Repair] = frozenset({"equalize", "smooth"})
_EQUAL_DB = 80.0
"""Of a rewrite to the float graph: sums of float32 in another order stay above 100 dB."""


@dataclass(frozen=True)
class Trial:
    """One INT8 graph and how well it follows the float graph."""

    plan: Plan
    graph: ModelProto
    noise: float
    """Of the worst output, by the energy of the output; infinite: the graph does not run."""

    @property
    def snr_db(self) -> float:
        """Signal to noise of the worst output; minus infinity: the graph does not run."""
        return decibel(self.noise)


@dataclass(frozen=True)
class Repaired:
    """A float graph, its plan in full, and the edits that every plan of it gets."""

    source: Calibrated
    layout: Layout
    plan: Plan
    rounded: Mapping[str, Layer]
    shifts: Mapping[str, LayerError]
    answers: FloatAnswers

    def build(self, floats: Mapping[str, str] | None = None) -> Trial:
        """Make a graph in which some tensors stay float: name, reason."""
        plan = make_plan_of(self.source, self.layout, floats) if floats else self.plan
        model, plan = correct_biases(
            self.source.model, with_rounding(plan, self.rounded), self.shifts
        )
        graph = insert(model, plan)
        return Trial(plan, graph, self.answers.worst(graph))

    def rank(self) -> dict[str, LayerError]:
        """Return the error of each layer where it alone is rounded."""
        plan = with_rounding(self.plan, self.rounded)
        return measure_layers(self.source.model, plan, self.source.judged, name=self.source.name)


class Workshop:
    """A calibrated float graph, and the repairs that have been worked out for it."""

    def __init__(self, calibrated: Calibrated, answers: FloatAnswers, layout: Layout) -> None:
        """Begin with a graph as it was calibrated; `answers` are of it."""
        self._calibrated = calibrated
        self._answers = answers
        self._layout = layout
        self._sources: dict[frozenset[Repair], Calibrated] = {}
        self._rounded: dict[frozenset[Repair], Mapping[str, Layer]] = {}

    def repair(self, repairs: Set[Repair]) -> Repaired:
        """Return the graph with some repairs.

        Raises:
            NothingToDo: a rewrite finds nothing to change in this graph.
        """
        rewrites = frozenset(repairs & _REWRITES)
        source = self._rewrite(rewrites)
        plan = make_plan_of(source, self._layout)
        rounded: Mapping[str, Layer] = {}
        if "rounding" in repairs:
            if rewrites not in self._rounded:
                found = round_adaptively(source.model, plan, source.fitted, name=source.name)
                self._rounded[rewrites] = found.layers
            rounded = self._rounded[rewrites]
        shifts: Mapping[str, LayerError] = {}
        if "bias-correction" in repairs:
            final = with_rounding(plan, rounded)
            shifts = measure_layers(source.model, final, source.fitted, name=source.name)
        return Repaired(source, self._layout, plan, rounded, shifts, self._answers)

    def _rewrite(self, rewrites: frozenset[Repair]) -> Calibrated:
        if rewrites not in self._sources:
            source = self._calibrated
            if "equalize" in rewrites:
                source = self._again(_equalized(source))
            if "smooth" in rewrites:
                source = self._again(_smoothed(source))
            self._sources[rewrites] = source
        return self._sources[rewrites]

    def _again(self, model: ModelProto) -> Calibrated:
        """Return the calibration of a rewritten graph."""
        if decibel(self._answers.worst(model)) < _EQUAL_DB:
            raise NothingToDo("the rewritten graph does not compute the same")
        choice = choose(model)
        watched = list_watched(model, choice, self._layout)
        collected = self._calibrated.collect_again(model, watched)
        return replace(self._calibrated, model=model, choice=choice, collected=collected, _found={})


def make_plan_of(
    source: Calibrated, layout: Layout, floats: Mapping[str, str] | None = None
) -> Plan:
    """Return the plan of a calibrated graph in which some tensors stay float."""
    ranges = source.ranges(layout.activations)
    return make_plan(source.model, source.choice, ranges, layout, floats=floats)


def with_rounding(plan: Plan, rounded: Mapping[str, Layer]) -> Plan:
    """Return a plan with the integers of another one, where the scales are the same."""
    layers = {
        name: replace(layer, integers=rounded[name].integers)
        if name in rounded and (rounded[name].scale == layer.scale).all()
        else layer
        for name, layer in plan.layers.items()
    }
    return replace(plan, layers=layers)


def _equalized(source: Calibrated) -> ModelProto:
    axes = {pair.tensor: 1 for pair in find_pairs(source.model)}
    if axes:
        peaks = find_peaks(source.model, axes, source.fitted, name=source.name)
        model = equalize(source.model, peaks)
        if model is not None:
            return model
    raise NothingToDo(
        "no two layers have only operators between them that channels pass one by one"
    )


def _smoothed(source: Calibrated) -> ModelProto:
    axes = dict.fromkeys(find_products(source.model, source.choice.layers), -1)
    if axes and source.choice.kind == "transformer":  # a Mul before a classifier costs bits
        peaks = find_peaks(source.model, axes, source.fitted, name=source.name)
        model = smooth(source.model, source.choice.layers, peaks)
        if model is not None:
            return model
    raise NothingToDo("no product of matrices reads an activation with outliers")
