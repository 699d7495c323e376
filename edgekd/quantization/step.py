"""The step `quantize`: INT8 from the FP32 file, calibrated on samples of the training split."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from numpy.typing import NDArray
from pydantic import Field, field_validator

from edgekd.artifact import FP32, SPENT, WORK, Artifact, Variant
from edgekd.data.preprocess import Preprocess, read_preprocess
from edgekd.errors import DataError, NothingToDo, one_line
from edgekd.quantization.quantized import DROPPED, LINT, QUANTIZED, QuantizedFacts
from edgekd.step import Context, Need, OnnxStep, Opened, Preview, Step
from edgekd.store import write_json
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.data.batches import Data
    from edgekd.exporters.lint.finding import Brief
    from edgekd.quantization.accuracy.judging import JudgeGraph

_MOST_AT_ONCE = 4
"""Samples that run at once in calibration: each takes the memory of its activations."""


_PREVIEWED: frozenset[Variant] = frozenset({"int8", "int8-xnnpack", "int8-dynamic"})
"""That can change which of two networks is the faster one."""


class Quantize(OnnxStep):
    """Static INT8 in Q/DQ form: int8 weights per channel, 8-bit activations."""

    needs: ClassVar[frozenset[Need]] = frozenset({"calibration data", "quality"})
    revision: ClassVar[int] = 10
    name: Literal["quantize"] = "quantize"
    samples: int = Field(
        256, ge=1, le=100_000, examples=[256], description="number of calibration samples"
    )
    variants: tuple[
        Literal[
            "int8",
            "int8-tensorrt",
            "int8-xnnpack",
            "int8-dynamic",
            "int8-weights",
            "int4",
            "fp16",
        ],
        ...,
    ] = Field(
        ("int8",),
        examples=[["int8"]],
        description="files to write, each judged separately. int8: uint8 activations, which "
        "ONNX Runtime fuses on CPUs; int8-tensorrt: symmetric int8 activations and float biases; "
        "int8-xnnpack: symmetric int8 activations; int8-dynamic: only products with constant "
        "weights, with ranges by call, for transformers; int8-weights and int4: only weights of "
        "large linear layers and embeddings, for size; fp16: float16, with what it cannot hold in "
        "float32",
    )

    ranges: Literal["auto", "minmax", "percentile", "entropy", "mse"] = Field(
        "auto",
        examples=["minmax"],
        description="how ranges of activations are made. minmax: all values of the calibration "
        "samples, and beyond where others are likely to exceed them; percentile, entropy, mse: "
        "rare extremes are clipped; auto: minmax, unless the outputs follow the float file "
        "better with another, or with the best one of each activation",
    )
    accuracy: (
        Literal["auto"]
        | tuple[
            Literal["bias-correction", "equalize", "smooth", "rounding", "layers-in-float"], ...
        ]
    ) = Field(
        "auto",
        examples=["auto"],
        description="repairs where the outputs of a static INT8 file follow the float file too "
        "loosely. auto: one after the other until its worst output has a signal-to-noise ratio of "
        "22 dB and the quality on the validation split is within the budget. A list: exactly "
        "these; []: none. bias-correction: the mean error of each channel goes into the bias; "
        "equalize, smooth: channels get like ranges, in convolutions and in transformers; "
        "rounding: weights are rounded for the least error of the output; layers-in-float: the "
        "fewest layers with which that is reached (of a list: 22 dB)",
    )
    keep_for: str | None = Field(
        None,
        exclude=True,
        pattern=r"\S",
        max_length=64,
        examples=["pixel-8"],
        description="name of a device that is not here: the variants are kept for it if their "
        "quality allows, whatever their speed on this one; reported as not measured on it",
    )

    @field_validator("variants")
    @classmethod
    def _distinct(cls, value: tuple[Variant, ...]) -> tuple[Variant, ...]:
        if not value:
            raise ValueError("no variant is named; give at least one, such as int8")
        if len(set(value)) < len(value):
            raise ValueError(f"a variant is named twice in {', '.join(value)}")
        return value

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        from edgekd.benchmarks.runtimes import version
        from edgekd.devices.local import processor_name

        found = {"calibrated by": version("onnxruntime"), "device": processor_name()}
        if "int8-tensorrt" in self.variants:
            from edgekd.exporters.tensorrt.rtx import installed

            found["TensorRT-RTX"] = installed()
        return found

    @property
    def other_device(self) -> str:
        return self.keep_for or ""

    @property
    def makes(self) -> tuple[Variant, ...]:
        return self.variants

    def promise_of(self, variant: Variant) -> Literal["faster", "smaller", "better"]:
        return "smaller" if variant in ("int8-weights", "int4") else self.promise

    @property
    def previews(self) -> tuple[Variant, ...]:
        return tuple(v for v in self.variants if v in _PREVIEWED)

    @property
    def calibration_samples(self) -> int:
        return self.samples

    def shorten(self, samples: int) -> Self:
        short = self.model_copy(update={"samples": min(samples, self.samples)})
        short.model_fields_set.discard("samples")  # nobody asked for so many: fewer will do
        return short

    def check_order(self, before: Sequence[Step]) -> str | None:
        done = any(step.makes != (FP32,) for step in before)
        return "quantizes, but its input is already quantized" if done else None

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        self._check(context.data)
        return None

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        fp32 = source.onnx(FP32)
        shutil.copyfile(fp32, folder / fp32.name)
        preprocess = read_preprocess(folder)
        judge = None
        if context.quality is not None:
            from edgekd.quantization.accuracy.judging import judge_graphs

            judge = judge_graphs(context.quality, source, folder)
        found, dropped = self._write(
            fp32, folder / "model", preprocess, context.data, self.variants, judge
        )
        write_json(
            folder / QUANTIZED,
            {
                variant: {**facts.to_json(), LINT: asdict(lint)}
                for variant, (facts, lint) in found.items()
            },
        )
        write_json(
            folder / SPENT, {variant: facts.repair_s for variant, (facts, _) in found.items()}
        )
        if dropped:
            write_json(folder / DROPPED, dropped)

    def write_previews(self, fp32: Path, folder: Path, preprocess: Preprocess, data: Data) -> None:
        if self.previews:
            self._write(fp32, folder / "preview", preprocess, data, self.previews)

    def _write(
        self,
        fp32: Path,
        stem: Path,
        preprocess: Preprocess,
        data: Data,
        variants: tuple[Variant, ...],
        judge: JudgeGraph | None = None,
    ) -> tuple[dict[Variant, tuple[QuantizedFacts, Brief]], dict[Variant, str]]:
        """Write `<stem>.<variant>.onnx` of each variant from one calibration.

        Returns:
            What was quantized, by variant, and what is found in it for the runtime that it is for;
            why a variant is not there.

        Raises:
            NothingToDo: not one of them is.
        """
        from edgekd.quantization.makers import calibrate_for, make

        self._check(data)
        cores = os.cpu_count() or 1
        size = 1 if preprocess.pads else 16  # padding must not enter the statistics

        def feeds() -> Iterator[dict[str, NDArray[Any]]]:
            left = self.samples
            for batch in data.batches("calibration", preprocess, size=size):
                yield {name: array[:left] for name, array in batch.inputs[0].items()}
                left -= len(batch.index)
                if left <= 0:
                    return

        calibrated = calibrate_for(
            variants, fp32, feeds, ranges=self.ranges, threads=min(_MOST_AT_ONCE, cores)
        )
        found: dict[Variant, tuple[QuantizedFacts, Brief]] = {}
        dropped: dict[Variant, str] = {}
        for v in variants:
            path = stem.with_name(f"{stem.name}.{v}.onnx")
            try:
                facts = make(
                    v,
                    calibrated,
                    path,
                    accuracy=self.accuracy,
                    work=stem.parent / WORK,
                    judge=judge,
                )
                found[v] = facts, _check_accepted(path, v)
            except NothingToDo as signal:
                dropped[v] = one_line(signal)
        if not found:
            raise NothingToDo("; ".join(dict.fromkeys(dropped.values())))
        return found, dropped

    def _check(self, data: Data) -> None:
        """Refuse more samples than there are, if so many were asked for."""
        have = data.count("calibration")
        if have < self.samples and "samples" in self.model_fields_set:
            raise DataError(
                f"quantize needs {self.samples} calibration samples, but the calibration split "
                f"has {have}; take as many ({option('quantize.samples', have)}), or set more "
                f"aside ({option('data.calibration', self.samples)}), if there are so many"
            )


def _check_accepted(path: Path, variant: Variant) -> Brief:
    """Return what is found in a file that was written, for the runtime that it is for.

    Raises:
        NothingToDo: that does not take it; then the file is removed.
    """
    from edgekd.exporters.lint.shipped import lint_variant, why_refused

    found = lint_variant(path, variant)
    if reason := why_refused(path, variant, found):
        path.unlink()
        raise NothingToDo(
            f"the file was written, and the runtime that it is for refuses it: {reason}"
        )
    return found
