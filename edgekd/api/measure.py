"""Measure and verify files, as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.api.commands import listener
from edgekd.arguments import as_flag, as_number, as_path, as_texts, as_whole, in_python
from edgekd.errors import RecipeError
from edgekd.progress import Silent, track_share

if TYPE_CHECKING:
    from edgekd.benchmarks.result import BenchResult
    from edgekd.bundle import VerifyReport
    from edgekd.progress import Progress


@in_python
def benchmark(  # noqa: PLR0913  # each argument is a flag of the command
    *models: str | Path,
    vs: str | Path | None = None,
    device: str = "local",
    threads: int | str | Sequence[int] = 1,
    runtime: str | Sequence[str] = "onnxruntime",
    provider: str | Sequence[str] = "",
    option: str | Sequence[str] = (),
    streams: int | str | Sequence[int] = 1,
    batch: int | str | Sequence[int] = "",
    per_sample: bool = False,
    feeds: str | Path | None = None,
    shape: str | Sequence[str] | Mapping[str, Sequence[int] | int] = (),
    end_to_end: bool = False,
    pipeline: str | Path | None = None,
    rate: float | None = None,
    precision: str | float = "2%",
    time: str | float = "30s",
    rounds: int = 6,
    progress: Progress | bool = True,
) -> BenchResult:
    """Time ONNX files side by side, in one session: which is faster, and how sure is that.

    Args:
        *models: at least one ONNX file.
        vs: file that the others are compared with; default: the first of several.
        device: device to measure on.
        threads: threads of one inference; several numbers are compared.
        runtime: "onnxruntime", "openvino", ...; each file is run by each runtime that accepts it.
        provider: execution provider of ONNX Runtime, such as "cuda".
        option: session options of the runtime, as texts KEY=VALUE.
        streams: number of inferences at the same time.
        batch: samples per call of random inputs; several numbers are compared.
        per_sample: compare the time of one sample, even if input shapes or batches differ.
        feeds: an .npz of real inputs, calls first; default: random.
        shape: shape of random inputs, "x=1x3x224x224" or {"x": (1, 3, 224, 224)}, or length of a
            free axis, "n=64".
        end_to_end: also time copying inputs and outputs, separately.
        pipeline: a file with inputs(), preprocess(raw), postprocess(outputs), to time end to end.
        rate: calls per second at a fixed rate, like the frames of a camera.
        precision: stop when all 95 % intervals are within this share of their value.
        time: stop after this much time, even if the precision is not reached; seconds, or a unit.
        rounds: least number of fresh processes per file.
        progress: show a bar or lines on stderr, or your own listener.

    Raises:
        BadInput: a file cannot be used, or the feeds do not fit.
        MeasureError: a file could not be run.
    """
    from edgekd.benchmarks.bench import bench
    from edgekd.cli import bench_flags as read
    from edgekd.devices import open_device

    listed = models[0] if len(models) == 1 and isinstance(models[0], (list, tuple)) else models
    paths = [path for file in listed if (path := as_path(file, "a file")) is not None]
    if not paths:
        raise RecipeError("edgekd.benchmark needs at least one ONNX file, benchmark('net.onnx')")
    with track_share(listener(progress) or Silent(), "bench") as share:
        return bench(
            paths,
            device=open_device(device),
            vs=as_path(vs, "vs"),
            setups=read.parse_setups(
                as_flag(runtime, "runtime"),
                as_flag(provider, "provider"),
                as_flag(threads, "threads"),
                as_flag(streams, "streams"),
                as_texts(option, "option"),
            ),
            timing=read.parse_timing(
                None if rate is None else as_number(rate, "rate"),
                as_flag(precision, "precision"),
                as_flag(time, "time"),
                as_whole(rounds, "rounds"),
                parts=end_to_end or pipeline is not None,
            ),
            inputs=read.parse_inputs(
                as_path(feeds, "feeds"),
                _shapes(shape),
                as_flag(batch, "batch"),
                as_path(pipeline, "pipeline"),
                per_sample=per_sample,
            ),
            progress=share,
        )


@in_python
def verify(bundle: str | Path, *, device: str = "local", latency: bool = False) -> VerifyReport:
    """Check every byte of a bundle and the outputs of every model in it.

    Args:
        bundle: its folder.
        device: device to run its files on.
        latency: also time them again.

    Raises:
        BadInput: it is not a readable bundle. Failed checks are in the report.
    """
    from edgekd.bundle import verify as work

    path = as_path(bundle, "bundle")
    if path is None:
        raise RecipeError("bundle is None; give the folder of a bundle, such as result.bundle")
    return work(path, device=device, latency=latency)


def _shapes(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return as_texts(value, "shape")
    return [f"{name}={as_flag(lengths, 'shape')}" for name, lengths in value.items()]
