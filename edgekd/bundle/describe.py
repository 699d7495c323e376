"""The contents of a bundle and all its measured numbers, for the manifest and the card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.stats import Estimate
from edgekd.bundle.manifest import FORMAT, Golden
from edgekd.data.preprocess import FILE, Preprocess
from edgekd.evaluation.evidence import find_other_type
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import Calibration
from edgekd.exporters.file_facts import Entry, OnnxFacts
from edgekd.exporters.variants import TABLE
from edgekd.store import file_sha256

MEASURED = "measured"
"""How well a file is known for the runtime of the run itself."""
LABELS = "labels.json"


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """The ONNX files of a bundle and how they are called."""

    preprocess: Preprocess
    signals: Mapping[str, str]
    """The task's outputs with their kinds, in the order of the files' outputs."""
    variant: Variant
    """The chosen file; the other files are the reference and variants for other runtimes."""
    dynamic: Mapping[Variant, str]
    """Variant -> file, any batch."""
    fixed: Mapping[Variant, str]
    """Variant -> file with batch 1 fixed."""
    from_files: bool
    """Whether samples were decoded by edgekd: else what was before the arrays is not known."""
    left_out: Mapping[str, str]
    """File that was not written -> why."""
    boards: tuple[str, ...] = ()
    """Scripts that build and time engines on a board."""
    settings: tuple[str, ...] = ()
    """Files of a model of transformers, which optimum reads."""
    loads: str = ""
    """The class of optimum that loads the files."""

    @property
    def file(self) -> str:
        """The file that was chosen to ship."""
        return self.dynamic[self.variant]


@dataclass(frozen=True)
class Output(Entry):
    """An output of the files, and what the task calls it."""

    signal: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The measurements of exactly this file; None if it was not measured."""

    validation: Mapping[str, Estimate] | None = None
    validation_gain: Estimate | None = None
    test: Mapping[str, Estimate] | None = None
    test_gain: Estimate | None = None
    latency_s: Estimate | None = None
    p90_s: Estimate | None = None
    speedup: Estimate | None = None
    load_s: float | None = None
    first_s: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One ONNX file of the bundle."""

    file: str
    variant: Variant
    batch: int | None
    """The batch that is fixed in it, or None."""
    sha256: str
    ir_version: int
    oldest_runtime: str | None
    """The oldest ONNX Runtime that loads it; None where that is not known."""
    facts: OnnxFacts
    measured: Measured | None

    @property
    def shown(self) -> str:
        """Its name, and the true type of a reference that is no float32 file, as Markdown."""
        kind = find_other_type(self.variant, self.facts)
        return f"`{self.file}`" + (f" ({kind})" if kind else "")


@dataclass(frozen=True, kw_only=True)
class RuntimeFile:
    """Which file a runtime should load, and how well that is known."""

    runtime: str
    provider: str
    best_variant: Variant
    file: str
    in_bundle: bool
    """Whether the best variant is; else it is FP32, which every runtime computes."""
    known: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """Everything that the manifest and the card of a bundle state."""

    record: Record
    """Of the run, nothing private in it."""
    shipped: Shipped
    opset: int
    inputs: tuple[Entry, ...]
    outputs: tuple[Output, ...]
    models: tuple[ModelFile, ...]
    runtimes: tuple[RuntimeFile, ...]
    golden: Golden

    @property
    def calibrations(self) -> dict[Variant, Calibration]:
        """The calibration data of each variant that is not FP32."""
        known = [rung.calibration for rung in self.record.rungs if rung.kept]
        found = {v: [c[v] for c in known if v in c] for v in self.shipped.dynamic}
        return {variant: last[-1] for variant, last in found.items() if last}

    @property
    def licences(self) -> dict[str, str]:
        """The licences of the data and of the teacher."""
        teacher = self.record.teacher_licence or "not stated"
        return {"data": self.record.data.licence, "teacher": teacher}


def describe(folder: Path, shipped: Shipped, record: Record, golden: Golden) -> Description:
    """Describe a bundle.

    Args:
        folder: the bundle, its ONNX files in place.
        shipped: these files.
        record: of the run, nothing private in it.
        golden: the part about golden samples.
    """
    from edgekd.exporters.model_stats import facts

    reference = facts(folder / shipped.dynamic[FP32])
    pairs = zip(reference.outputs, shipped.signals.items(), strict=True)
    return Description(
        record=record,
        shipped=shipped,
        opset=reference.opset,
        inputs=reference.inputs,
        outputs=tuple(Output(**vars(o), signal=signal, kind=kind) for o, (signal, kind) in pairs),
        models=tuple(_models(folder, shipped, record)),
        runtimes=tuple(runtimes(shipped, record)),
        golden=golden,
    )


def _models(folder: Path, shipped: Shipped, record: Record) -> Iterator[ModelFile]:
    from edgekd.exporters.model_stats import facts
    from edgekd.exporters.onnx_files import load_onnx
    from edgekd.exporters.onnx_versions import oldest_runtime

    lengths = {"sequence": getattr(shipped.preprocess, "max_length", 1)}
    for batch, files in ((None, shipped.dynamic), (1, shipped.fixed)):
        for variant, name in files.items():
            sha256, model = file_sha256(folder / name), load_onnx(folder / name)
            yield ModelFile(
                file=name,
                variant=variant,
                batch=batch,
                sha256=sha256,
                ir_version=model.ir_version,
                oldest_runtime=oldest_runtime(model),
                facts=facts(folder / name, lengths=lengths),
                measured=_measured(record, sha256),
            )


def _measured(record: Record, sha256: str) -> Measured | None:
    """Return what was measured of these very bytes, or None."""
    found, names = Measured(), set()
    for rung in record.rungs:
        for file in rung.files:
            if file.sha256 == sha256 and not file.preview:
                names.add((rung.title, file.label))
                found = replace(
                    found,
                    validation=file.metrics,
                    validation_gain=file.gain,
                    load_s=file.load_s,
                    first_s=file.first_s,
                    peak_memory_bytes=file.peak_memory_bytes,
                )
    for final in record.final.files:
        if final.sha256 == sha256:
            names.add((final.title, final.label))
            found = replace(
                found, latency_s=final.latency_s, p90_s=final.p90_s, speedup=final.speedup
            )
    for tested in record.test.files:
        if (tested.title, tested.label) in names:
            found = replace(found, test=tested.metrics, test_gain=tested.gain)
    return found if names else None


def runtimes(shipped: Shipped, record: Record) -> Iterator[RuntimeFile]:
    """Yield which file each runtime should load.

    The runtime in which the run timed its files gets the one that ships there. Another whose best
    variant is not in the bundle gets FP32, which every one of them computes.
    """
    here = record.final.conditions
    timed = record.ships.latency_s is not None and not record.ships.only_for
    for row in TABLE:
        if timed and (here.runtime.split(" ")[0], here.provider) == (row.runtime, row.provider):
            yield RuntimeFile(
                runtime=row.runtime,
                provider=row.provider,
                best_variant=shipped.variant,
                file=shipped.file,
                in_bundle=True,
                known=MEASURED,
                reason=f"chosen among all kept files, which were timed on {record.devices[0]}",
            )
            continue
        has = row.variant in shipped.dynamic
        variant = row.variant if has else FP32
        fixed = row.fixed_shape and variant in shipped.fixed
        yield RuntimeFile(
            runtime=row.runtime,
            provider=row.provider,
            best_variant=row.variant,
            file=(shipped.fixed if fixed else shipped.dynamic)[variant],
            in_bundle=has,
            known=row.known,
            reason=row.reason,
        )


@cache
def _models_adapter() -> TypeAdapter[tuple[ModelFile, ...]]:
    return TypeAdapter(tuple[ModelFile, ...])


def manifest_of(found: Description) -> dict[str, Any]:
    """Return the content of manifest.json."""
    shipped, record = found.shipped, found.record
    plain = record.to_json()
    skipped = len(record.data.skipped)  # their names are private
    return {
        "format": FORMAT,
        "name": record.name,
        "shipped": {
            "title": record.ships.title,
            "variant": shipped.variant,
            "file": shipped.file,
        },
        "opset": found.opset,
        "preprocess": {
            "file": FILE,
            "kind": shipped.preprocess.kind,
            "files": list(shipped.preprocess.files().values()),
        },
        "labels": LABELS if record.task.labels else None,
        "transformers": shipped.loads and {"loads": shipped.loads, "files": list(shipped.settings)},
        "inputs": [asdict(entry) for entry in found.inputs],
        "outputs": [asdict(entry) for entry in found.outputs],
        "models": _models_adapter().dump_python(found.models, mode="json"),
        "left_out": dict(shipped.left_out),
        "runtimes": [asdict(row) for row in found.runtimes],
        "boards": list(shipped.boards),
        "golden": found.golden.model_dump(mode="json"),
        "calibration": {
            variant: {"data_fingerprint": record.data.fingerprint, **asdict(one)}
            for variant, one in found.calibrations.items()
        },
        "data": {**plain["data"], "skipped": skipped},
        "licences": found.licences,
        "device": record.devices[0],
        "conditions": plain["final"]["conditions"],
        "timing": {**plain["timing"], "threads": record.final.conditions.threads},
        "metrics": plain["task"]["metrics"],
        "measured": {key: plain[key] for key in ("rungs", "final", "test", "changes")},
        "over_budget": record.over_budget,
        "recipe": plain["recipe"],
        "command": record.command,
        "versions": plain["versions"],
    }
