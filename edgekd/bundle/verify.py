"""Verify a bundle: its files, its preprocessing, and the outputs of its models.

A bundle is untrusted: names stay inside the folder, arrays contain no pickles, damaged files
are not run, and a model's data lies in the bundle or is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact import FP32
from edgekd.benchmarks.feeds import Input, model_inputs, save_feeds
from edgekd.benchmarks.measurement import Candidate, Conditions, Setup, Timing
from edgekd.benchmarks.stats import Estimate, latency, noise_floor, speedup
from edgekd.bundle.golden import Arrays, compare, fit, read_arrays, without_filling
from edgekd.bundle.manifest import MANIFEST, Manifest, Model, Tolerance, read_manifest
from edgekd.bundle.samples import read_sample
from edgekd.bundle.sums import SUMS, check_sums
from edgekd.bundle.transport import UPDATE, Fault
from edgekd.data.preprocess import read_preprocess
from edgekd.data.tokenizers import FunctionPreprocess
from edgekd.devices import open_device
from edgekd.devices.device import Device
from edgekd.errors import BadInput, EdgekdError, ModelError, VerifyFailed
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.variants import find_home
from edgekd.progress import Share

_SHOWN_FAULTS = 20


@dataclass(frozen=True)
class Check:
    """One check."""

    what: str
    ok: bool | None
    """None: it was not checked."""
    detail: str
    advice: str = ""
    """What to do if it is not ok."""


@dataclass(frozen=True)
class Speed:
    """One file, timed again, with the manifest's figure; a bundle claims no speed elsewhere."""

    file: str
    then_s: Estimate | None
    now_s: Estimate
    speedup: Estimate | None
    """Now, against the FP32 file of the bundle."""


@dataclass(frozen=True)
class VerifyReport:
    """The checks, in order."""

    bundle: str
    device: str
    checks: tuple[Check, ...]
    speeds: tuple[Speed, ...] = ()
    measured_on: str = ""
    """Where the manifest's speeds come from."""
    device_is: str = ""
    """Where they were measured again."""

    @property
    def ok(self) -> bool:
        """Whether everything was checked and nothing is wrong."""
        return all(check.ok for check in self.checks)

    @property
    def faults(self) -> str:
        """What is wrong, in one line."""
        return "; ".join(f"{c.what}: {c.detail}" for c in self.checks if c.ok is False)

    @property
    def advice(self) -> str:
        """What to do about the faults, each advice once."""
        return "; ".join(dict.fromkeys(c.advice for c in self.checks if c.ok is False))

    def _repr_html_(self) -> str:
        words = {True: "ok", False: "wrong", None: "not checked"}
        rows = "".join(
            f"<tr><td>{escape(c.what)}</td><td>{words[c.ok]}</td><td>{escape(c.detail)}</td></tr>"
            for c in self.checks
        )
        return f"<table><tbody>{rows}</tbody></table>"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"ok": self.ok, **asdict(self)}


def verify(
    folder: Path,
    *,
    device: str = "local",
    latency: bool = False,
    timing: Timing | None = None,
    progress: Share | None = None,
) -> VerifyReport:
    """Check a bundle; a failed check is in the report and raises nothing.

    Args:
        folder: the bundle.
        device: device to run its files on.
        latency: also time them again, in one interleaved session.
        timing: how; as given, with as many threads as the manifest's figures.
        progress: called with the share of the timing that is done, 0 to 1.

    Raises:
        BadInput: the folder is not a bundle, or of another version; the device is not known.
        MeasureError: with `latency`, a file could not be timed.
    """
    target = open_device(device)
    if not any((folder / name).is_file() for name in (SUMS, MANIFEST)):
        raise BadInput(
            f"{folder} is not a bundle: it contains neither {SUMS} nor {MANIFEST}; give the "
            "folder `bundle` of a run, or the copy that you shipped"
        )
    hashes, faults, added = check_sums(folder)
    if not faults:
        manifest = read_manifest(folder)
        faults = _promised(manifest, hashes)
    if faults:
        return VerifyReport(folder.resolve().name, device, _broken(faults))
    passed = f"; passed over, added by the system: {', '.join(added)}" if added else ""
    checks = (
        Check("files", True, f"{len(hashes)} files, every sha256 is right{passed}"),
        _guarded("preprocessing", _preprocessing, folder, manifest),
        *(_guarded(m.file, _answers, folder, manifest, m, target) for m in manifest.models),
    )
    if not latency or not all(check.ok for check in checks):
        return VerifyReport(manifest.name, device, checks)
    how = timing or Timing()
    speeds, conditions = _timed(folder, manifest, target, how, progress=progress)
    then = manifest.conditions
    return VerifyReport(
        manifest.name,
        device,
        checks,
        speeds,
        f"{then.get('cpu', 'unknown')}, {then.get('runtime', 'unknown')}",
        f"{conditions.cpu}, {conditions.runtime}"
        + (", emulated: this is not a speed" if conditions.emulated else ""),
    )


def _broken(faults: Sequence[Fault]) -> tuple[Check, ...]:
    """Return the checks of a bundle whose files are not what they should be."""
    more = [f"and {len(faults) - _SHOWN_FAULTS} more"] if len(faults) > _SHOWN_FAULTS else []
    shown = "; ".join([*(fault.text for fault in faults[:_SHOWN_FAULTS]), *more])
    advice = "; ".join(dict.fromkeys(fault.advice for fault in faults))
    skipped = "not run, because the files differ from the manifest"
    return Check("files", False, shown, advice), Check("answers", None, skipped)


def _guarded(what: str, look: Callable[..., str], *arguments: object) -> Check:
    """Run a check; what cannot be read or run is a failed check, and the others go on."""
    try:
        return Check(what, True, look(*arguments))
    except EdgekdError as error:
        return Check(what, False, str(error), UPDATE)


def _promised(manifest: Manifest, hashes: Mapping[str, str]) -> list[Fault]:
    """Return where the manifest and the files of the bundle do not belong together."""
    faults = [f"{n!r} is named by {MANIFEST} and missing" for n in manifest.files - set(hashes)]
    faults += [
        f"{model.file!r} is not the file that {MANIFEST} describes: its sha256 differs"
        for model in manifest.models
        if model.file in hashes and hashes[model.file] != model.sha256
    ]
    golden = manifest.golden
    for model in manifest.models:
        if model.variant not in golden.outputs or not golden.output_tolerance.get(model.variant):
            faults.append(f"{MANIFEST} contains no golden outputs of {model.variant!r}")
    return [Fault(text) for text in sorted(set(faults))]


def _preprocessing(folder: Path, manifest: Manifest) -> str:
    """Encode the raw samples again."""
    golden, preprocess = manifest.golden, read_preprocess(folder)
    expected = read_arrays(folder / golden.inputs, len(golden.samples))
    if isinstance(preprocess, FunctionPreprocess) and not preprocess.is_known:
        return (
            f"the function {preprocess.function} of the model's author makes the tensors; it is "
            "not in the bundle, and nothing was encoded again"
        )
    worst = 0.0
    for i, files in enumerate(golden.samples):
        limits = golden.input_tolerance[i] if i < len(golden.input_tolerance) else {}
        got = preprocess.encode(read_sample(folder, files, preprocess))
        if set(got) != set(expected[i]):
            raise VerifyFailed(
                f"preprocess.json gives the inputs {sorted(got)} and {golden.inputs} contains "
                f"{sorted(expected[i])}"
            )
        for name, encoded in got.items():
            array, limit = encoded, Tolerance(absolute=limits.get(name, 0.0))
            wanted = expected[i][name]
            if len(array) == 1 and array.shape[1:] == wanted.shape[1:]:
                array = np.repeat(array, len(wanted), axis=0)  # the file takes several at once
            difference, fault = compare(wanted, array, limit)
            worst = max(worst, difference)
            if fault:
                raise VerifyFailed(
                    f"sample {i}, encoded as preprocess.json describes, is not the golden tensor: "
                    f"{name!r} {fault}"
                )
    made = "made-up" if golden.synthetic else "real"
    return f"{len(golden.samples)} {made} samples become their tensors (off by {worst:g} at most)"


def _answers(folder: Path, manifest: Manifest, model: Model, device: Device) -> str:
    """Run the golden inputs through one file."""
    golden, path = manifest.golden, folder / model.file
    load_onnx(path)  # refuses what is too large or reaches out of the bundle
    entries = model_inputs(path)
    count = len(golden.samples)
    fill = read_preprocess(folder).fill
    inputs = [fit(row, entries, fill) for row in read_arrays(folder / golden.inputs, count)]
    expected = read_arrays(folder / golden.outputs[model.variant], count)
    got = _run(device, path, inputs)
    limits = golden.output_tolerance[model.variant]
    share = 0.0
    for i, row in enumerate(expected):
        if set(row) - set(got[i]):
            raise VerifyFailed(f"it gives {sorted(got[i])}, and {sorted(row)} were expected")
        for name, array in row.items():
            if name not in limits:
                raise VerifyFailed(f"{MANIFEST} gives no tolerance for the output {name!r}")
            found = got[i][name]
            if model.batch is not None:
                found = without_filling(array, found)
            difference, fault = compare(array, found, limits[name])
            if fault:
                raise VerifyFailed(f"sample {i}: {name!r} {fault}")
            share = max(share, difference / limits[name].absolute if difference else 0.0)
    return (
        f"{count} outputs are equal to the golden ones, within {100 * share:.2g} % of the tolerance"
    )


def _run(device: Device, file: Path, inputs: Sequence[Arrays]) -> list[dict[str, NDArray[Any]]]:
    """Run samples on a device, those of equal shapes in one call; return outputs in their order."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(inputs):
        groups.setdefault(tuple(array.shape for array in row.values()), []).append(i)
    found: dict[int, dict[str, NDArray[Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        for rows in groups.values():
            feeds = Path(scratch) / "feeds.npz"
            save_feeds(feeds, _stacked([inputs[i] for i in rows]))
            outputs = device.run(file, feeds)
            for call, i in enumerate(rows):
                found[i] = {name: array[call] for name, array in outputs.items()}
    return [found[i] for i in range(len(inputs))]


def _stacked(rows: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _timed(
    folder: Path,
    manifest: Manifest,
    device: Device,
    timing: Timing,
    *,
    progress: Share | None,
) -> tuple[tuple[Speed, ...], Conditions]:
    """Time the files with a free batch again, FP32 first, on the golden inputs.

    Those for another runtime are not timed, as they were not when the bundle was made.
    """
    setup = Setup(threads=manifest.timing.threads)
    home = partial(find_home, runtime=setup.runtime, provider=setup.provider)
    models = sorted(
        (m for m in manifest.models if m.batch is None and not home(m.variant)),
        key=lambda m: m.variant != FP32,
    )
    if not models:
        raise ModelError(
            f"{MANIFEST} names no file with a free batch axis; there is nothing to time"
        )
    rows = read_arrays(folder / manifest.golden.inputs, len(manifest.golden.samples))
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        feeds = Path(scratch) / "feeds.npz"
        save_feeds(feeds, _stacked(_evened(rows, model_inputs(folder / models[0].file))))
        candidates = [Candidate(folder / model.file, feeds, setup) for model in models]
        session = device.measure(candidates, timing, progress=progress)
    first = session.measurements[0]
    speeds = tuple(
        Speed(
            model.file,
            _then(model),
            latency(now),
            None if now is first else speedup(first, now, floor=noise_floor(session)),
        )
        for model, now in zip(models, session.measurements, strict=True)
    )
    return speeds, first.conditions


def _then(model: Model) -> Estimate | None:
    then = model.measured.latency_s if model.measured else None
    return None if then is None else Estimate(then.value, then.low, then.high, then.n)


def _evened(rows: Sequence[Arrays], entries: Sequence[Input]) -> list[dict[str, NDArray[Any]]]:
    """Pad texts with zeros to the longest: the calls of one timing have one shape."""
    longest = [
        Input(e.name, e.dtype, tuple(np.max([row[e.name].shape for row in rows], axis=0).tolist()))
        for e in entries
    ]
    return [fit(row, longest) for row in rows]
